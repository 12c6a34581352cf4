//! Priority and fairness, asked through the API: where requests belong, who waits, who is turned away, and what metrics say.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{Cluster, in_process, read};

const FLOW_CONTROL: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// So few that a level with one share has one seat.
const SEATS: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(20);

struct Site {
    cluster: Arc<Cluster>,
}

impl Site {
    /// A server with a level of one seat for `bob` and `carol`, who may do anything.
    async fn open(response: Value) -> Self {
        let site = Self { cluster: Arc::new(Cluster::configured(|options| options.max_in_flight = SEATS).await) };
        let level = json!({ "metadata": { "name": "narrow" }, "spec": {
            "type": "Limited", "limited": { "nominalConcurrencyShares": 1, "limitResponse": response },
        } });
        site.make(&format!("{FLOW_CONTROL}/prioritylevelconfigurations"), &level).await;
        let user = |name: &str| json!({ "kind": "User", "user": { "name": name } });
        let everything = json!({
            "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true,
        });
        let schema = json!({ "metadata": { "name": "people" }, "spec": {
            "priorityLevelConfiguration": { "name": "narrow" }, "matchingPrecedence": 700,
            "distinguisherMethod": { "type": "ByUser" },
            "rules": [{ "subjects": [user("bob"), user("carol")], "resourceRules": [everything] }],
        } });
        site.make(&format!("{FLOW_CONTROL}/flowschemas"), &schema).await;
        let subject = |name| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name });
        let binding = json!({
            "metadata": { "name": "people" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [subject("bob"), subject("carol"), subject("dave")],
        });
        site.make("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await;
        site.until_metric("apiserver_flowcontrol_nominal_limit_seats{priority_level=\"narrow\"}", "1").await;
        site
    }

    async fn make(&self, path: &str, object: &Value) -> Value {
        let (code, made) = self.cluster.admin("POST", path, &object.to_string()).await;
        assert_eq!(code, 201, "{made:#}");
        made
    }

    async fn get(&self, user: &str, path: &str) -> Response<Body> {
        self.cluster.send(Request::get(path).extension(in_process(user)).body(Body::empty()).unwrap()).await
    }

    /// A request that takes its seat until [`Site::release`]: it waits for a revision that is still to come.
    async fn hold(&self, user: &str) -> JoinHandle<u16> {
        let (_, list) = self.cluster.admin("GET", MAPS, "").await;
        let now: u64 = list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        let path = format!("{MAPS}?resourceVersion={}&resourceVersionMatch=NotOlderThan", now + 20);
        let (cluster, user) = (Arc::clone(&self.cluster), user.to_owned());
        tokio::spawn(async move {
            let request = Request::get(path).extension(in_process(&user)).body(Body::empty()).unwrap();
            cluster.send(request).await.status().as_u16()
        })
    }

    async fn release(&self) {
        for _ in 0..25 {
            self.make(MAPS, &json!({ "metadata": { "generateName": "m-" } })).await;
        }
    }

    async fn metrics(&self) -> String {
        let body = self.get("admin", "/metrics").await.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    async fn until_metric(&self, name: &str, value: &str) {
        let line = format!("{name} {value}");
        let there = async {
            while !self.metrics().await.lines().any(|seen| seen == line) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, there).await.expect(&line);
    }

    async fn uid(&self, path: &str) -> String {
        let (_, object) = self.cluster.admin("GET", &format!("{FLOW_CONTROL}/{path}"), "").await;
        object["metadata"]["uid"].as_str().unwrap().to_owned()
    }
}

fn header<'r>(response: &'r Response<Body>, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn people(metric: &str) -> String {
    format!("apiserver_flowcontrol_{metric}{{flow_schema=\"people\",priority_level=\"narrow\"}}")
}

#[tokio::test]
async fn requests_are_told_where_they_belong() {
    let site = Site::open(json!({ "type": "Reject" })).await;
    for (user, schema, level) in
        [("bob", "people", "narrow"), ("dave", "global-default", "global-default"), ("admin", "exempt", "exempt")]
    {
        let response = site.get(user, MAPS).await;
        assert_eq!(response.status(), 200);
        let (schema, level) = (format!("flowschemas/{schema}"), format!("prioritylevelconfigurations/{level}"));
        assert_eq!(header(&response, "x-kubernetes-pf-flowschema-uid"), site.uid(&schema).await, "{user}");
        assert_eq!(header(&response, "x-kubernetes-pf-prioritylevel-uid"), site.uid(&level).await, "{user}");
    }
    // Also who may not do it at all.
    let refused = site.get("eve", MAPS).await;
    assert_eq!(refused.status(), 403);
    assert!(!header(&refused, "x-kubernetes-pf-flowschema-uid").is_empty());
    // A watch has its seat only while it begins.
    let watch = site.get("bob", &format!("{MAPS}?watch=1")).await;
    assert_eq!((watch.status().as_u16(), site.get("bob", MAPS).await.status().as_u16()), (200, 200));
    site.until_metric(&people("dispatched_requests_total"), "3").await;
    site.until_metric("apiserver_registered_watchers{group=\"\",kind=\"ConfigMap\",version=\"v1\"}", "1").await;
    drop(watch);
    let longrunning = "apiserver_longrunning_requests{component=\"apiserver\",group=\"\",resource=\"configmaps\",\
        scope=\"namespace\",subresource=\"\",verb=\"WATCH\",version=\"v1\"}";
    site.until_metric(longrunning, "0").await;
}

#[tokio::test]
async fn a_level_without_queues_turns_requests_away() {
    let site = Site::open(json!({ "type": "Reject" })).await;
    let held = site.hold("bob").await;
    site.until_metric(&people("current_executing_requests"), "1").await;
    let refused = site.get("carol", MAPS).await;
    assert_eq!(header(&refused, "retry-after"), "1");
    assert_eq!(header(&refused, "x-kubernetes-pf-flowschema-uid"), site.uid("flowschemas/people").await);
    let (code, status) = read(refused).await;
    assert_eq!((code, status["reason"].as_str()), (429, Some("TooManyRequests")));
    assert_eq!(status["message"], "Too many requests, please try again later.");
    assert_eq!(status["details"]["retryAfterSeconds"], 1);
    let rejected = "apiserver_flowcontrol_rejected_requests_total{flow_schema=\"people\",priority_level=\"narrow\",\
        reason=\"concurrency-limit\"}";
    site.until_metric(rejected, "1").await;
    // Others do not notice.
    assert_eq!(site.get("dave", MAPS).await.status(), 200);
    site.release().await;
    assert_eq!(held.await.unwrap(), 200);
    assert_eq!(site.get("carol", MAPS).await.status(), 200);
}

#[tokio::test]
async fn a_level_with_queues_lets_requests_wait() {
    let queuing = json!({ "queues": 1, "handSize": 1, "queueLengthLimit": 1 });
    let site = Site::open(json!({ "type": "Queue", "queuing": queuing })).await;
    let held = site.hold("bob").await;
    site.until_metric(&people("current_executing_requests"), "1").await;
    let waiting = site.hold("carol").await;
    site.until_metric(&people("current_inqueue_requests"), "1").await;
    site.until_metric("apiserver_current_inqueue_requests{request_kind=\"readOnly\"}", "1").await;
    assert_eq!(site.get("bob", MAPS).await.status(), 429, "the queue is full");
    let metrics = site.metrics().await;
    let value = |series: &str| -> f64 {
        let series = format!("apiserver_flowcontrol_{series} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
        value.unwrap_or_else(|| panic!("{series}")).parse().unwrap()
    };
    for bound in ["min", "max"] {
        let [start, discounted] = ["next_s_bounds", "next_discounted_s_bounds"]
            .map(|series| value(&format!("{series}{{bound=\"{bound}\",priority_level=\"narrow\"}}")));
        assert!(discounted < start, "one runs in its queue: {discounted} {start}");
    }
    for phase in ["executing", "waiting"] {
        let labels = format!("{{phase=\"{phase}\",request_kind=\"readOnly\"}}");
        let sum = value(&format!("read_vs_write_current_requests_sum{labels}"));
        assert!(sum > 0.0 && sum < value(&format!("read_vs_write_current_requests_count{labels}")), "{phase}: {sum}");
    }
    assert!(metrics.contains(&people("request_dispatch_no_accommodation_total")));
    assert!(metrics.contains("# TYPE apiserver_flowcontrol_epoch_advance_total counter"));
    let dump = site.get("admin", "/debug/api_priority_and_fairness/dump_priority_levels").await;
    let dump = String::from_utf8(dump.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let row: Vec<&str> = dump.lines().find(|line| line.starts_with("narrow,")).unwrap().split_whitespace().collect();
    assert_eq!(row, ["narrow,", "1,", "false,", "false,", "1,", "1,", "1,", "1,", "0,", "0"]);
    // Who goes away leaves the queue.
    waiting.abort();
    site.until_metric(&people("current_inqueue_requests"), "0").await;
    let waiting = site.hold("carol").await;
    site.until_metric(&people("current_inqueue_requests"), "1").await;
    site.release().await;
    assert_eq!((held.await.unwrap(), waiting.await.unwrap()), (200, 200));
    site.until_metric(&people("dispatched_requests_total"), "2").await;
    site.until_metric(&people("current_executing_seats"), "0").await;
    site.until_metric(&people("request_queue_length_after_enqueue_count"), "2").await;
    let metrics = site.metrics().await;
    for series in [
        "apiserver_flowcontrol_demand_seats_count{",
        "apiserver_flowcontrol_priority_level_seat_utilization_count{phase=\"executing\",",
        "apiserver_flowcontrol_priority_level_request_utilization_count{phase=\"executing\",",
        "apiserver_flowcontrol_priority_level_request_utilization_count{phase=\"waiting\",",
    ] {
        let line = format!("{series}priority_level=\"narrow\"}} ");
        let ns = metrics.lines().find_map(|seen| seen.strip_prefix(&line)).unwrap_or_else(|| panic!("{line}"));
        assert!(ns.parse::<u64>().unwrap() > 0, "{line}{ns}");
    }
    let busy =
        "apiserver_flowcontrol_priority_level_seat_utilization_sum{phase=\"executing\",priority_level=\"narrow\"} ";
    let busy = metrics.lines().find_map(|seen| seen.strip_prefix(busy)).unwrap();
    assert!(busy.parse::<f64>().unwrap() > 0.0, "its seat was in use for a while: {busy}");
    for gauge in ["dispatch_r", "latest_s", "demand_seats_average", "demand_seats_stdev", "target_seats"] {
        let line = format!("apiserver_flowcontrol_{gauge}{{priority_level=\"narrow\"}} ");
        assert!(metrics.contains(&line), "{line}");
    }
    let clients = "rest_client_requests_total{code=\"429\",host=\"192.0.2.1:6443\",method=\"GET\"} 1\n";
    assert!(metrics.contains(clients), "{metrics}");
}

#[tokio::test]
async fn writes_count_who_watches() {
    let site = Site::open(json!({ "type": "Reject" })).await;
    let _watch = site.get("dave", &format!("{MAPS}?watch=1")).await;
    let map = json!({ "metadata": { "name": "a" } }).to_string();
    let request = Request::post(MAPS).header("content-type", "application/json").extension(in_process("bob"));
    assert_eq!(site.cluster.send(request.body(Body::from(map)).unwrap()).await.status(), 201);
    site.until_metric(&people("watch_count_samples_count"), "1").await;
    site.until_metric(&people("watch_count_samples_sum"), "1").await;
}

#[tokio::test]
async fn a_large_answer_keeps_its_seat_until_it_is_taken() {
    let site = Site::open(json!({ "type": "Reject" })).await;
    for name in ["a", "b"] {
        let map = json!({ "metadata": { "name": name }, "data": { "k": "x".repeat(800 << 10) } });
        site.make(MAPS, &map).await;
    }
    let large = site.get("bob", MAPS).await;
    assert_eq!(large.status(), 200);
    assert_eq!(site.get("bob", MAPS).await.status(), 429);
    let (_, list) = read(large).await;
    assert_eq!(list["items"][1]["data"]["k"].as_str().unwrap().len(), 800 << 10);
    let small = site.get("bob", &format!("{MAPS}/a")).await;
    assert_eq!((small.status().as_u16(), site.get("bob", MAPS).await.status().as_u16()), (200, 200));
}
