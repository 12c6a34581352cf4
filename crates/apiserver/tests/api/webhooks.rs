//! Admission webhooks: a real server behind them, asked by a real API server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::remote::Remote;
use crate::support::{Cluster, in_process, read};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

type Seen = Arc<Mutex<Vec<(String, Value)>>>;

/// What the webhook at a path says.
async fn answer(seen: Seen, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    seen.lock().unwrap().push((path.clone(), review.clone()));
    let uid = review["request"]["uid"].clone();
    let patch = |operations: Value| json!({ "uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string()) });
    let data = |key: &str| json!([{ "op": "add", "path": format!("/data/{key}"), "value": "yes" }]);
    let response = match path.as_str() {
        "/allow" => json!({ "uid": uid, "allowed": true }),
        "/deny" => json!({ "uid": uid, "allowed": false, "status": { "message": "not today" } }),
        "/warn" => json!({ "uid": uid, "allowed": true, "warnings": ["beware"] }),
        "/first" => patch(data("first")),
        "/second" => patch(data("second")),
        "/wrong-uid" => json!({ "uid": "x", "allowed": true }),
        "/never" => std::future::pending().await,
        "/endless" => {
            let pieces = futures::stream::repeat_with(|| Ok::<_, std::convert::Infallible>(vec![b' '; 64 << 10]));
            return Response::new(Body::from_stream(pieces));
        }
        _ => return Response::builder().status(500).body(Body::from("boom")).unwrap(),
    };
    let answer = json!({ "apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response });
    Response::new(Body::from(answer.to_string()))
}

struct Site {
    cluster: Cluster,
    remote: Remote,
    seen: Seen,
}

impl Site {
    async fn open() -> Self {
        let seen = Seen::default();
        let told = Arc::clone(&seen);
        let remote = Remote::start(&["hook.default.svc"], move |request| answer(Arc::clone(&told), request)).await;
        Self { cluster: Cluster::start().await, remote, seen }
    }

    /// A webhook for ConfigMaps at `path`.
    fn webhook(&self, path: &str, more: Value) -> Value {
        let mut webhook = json!({
            "name": format!("{}.example.com", path.trim_start_matches('/')),
            "clientConfig": {
                "url": format!("https://localhost:{}{path}", self.remote.address.port()),
                "caBundle": self.remote.bundle,
            },
            "rules": [{
                "operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
            }],
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
        });
        webhook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        webhook
    }

    async fn configure(&self, sort: &str, name: &str, webhooks: Vec<Value>) {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{sort}webhookconfigurations");
        let object = json!({ "metadata": { "name": name }, "webhooks": webhooks });
        let (code, answer) = self.cluster.admin("POST", &path, &object.to_string()).await;
        assert_eq!(code, 201, "{answer:#}");
    }

    async fn create(&self, object: Value) -> (u16, Value) {
        self.cluster.admin("POST", MAPS, &object.to_string()).await
    }

    /// The paths that were asked so far, and forgets them.
    fn asked(&self) -> Vec<String> {
        self.seen.lock().unwrap().drain(..).map(|(path, _)| path).collect()
    }

    fn last_review(&self) -> Value {
        self.seen.lock().unwrap().last().unwrap().1.clone()
    }
}

fn map(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "data": { "k": "v" } })
}

fn told(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn validating_webhooks_see_and_refuse() {
    let site = Site::open().await;
    site.configure("validating", "v", vec![site.webhook("/deny", json!({}))]).await;
    let (code, answer) = site.create(map("a")).await;
    assert_eq!(code, 400);
    assert_eq!(told(&answer), "admission webhook \"deny.example.com\" denied the request: not today");
    let request = &site.last_review()["request"];
    let want = json!({
        "kind": { "group": "", "version": "v1", "kind": "ConfigMap" },
        "resource": { "group": "", "version": "v1", "resource": "configmaps" },
        "requestKind": { "group": "", "version": "v1", "kind": "ConfigMap" },
        "requestResource": { "group": "", "version": "v1", "resource": "configmaps" },
        "name": "a", "namespace": "default", "operation": "CREATE", "dryRun": false, "oldObject": null,
        "userInfo": { "username": "admin", "groups": ["system:masters", "system:authenticated"] },
        "options": { "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1" },
    });
    for (field, value) in want.as_object().unwrap() {
        assert_eq!(&request[field], value, "{field}");
    }
    assert!(request["object"]["metadata"]["uid"].is_string());
    assert_eq!(request["object"]["data"]["k"], "v");
}

#[tokio::test]
async fn mutating_webhooks_change_in_order_and_are_asked_again() {
    let site = Site::open().await;
    let again = json!({ "reinvocationPolicy": "IfNeeded" });
    site.configure("mutating", "b", vec![site.webhook("/second", json!({}))]).await;
    site.configure("mutating", "a", vec![site.webhook("/first", again)]).await;
    let (code, answer) = site.create(map("a")).await;
    assert_eq!(code, 201, "{answer:#}");
    assert_eq!(answer["data"], json!({ "k": "v", "first": "yes", "second": "yes" }));
    assert_eq!(site.asked(), ["/first", "/second", "/first"]);
    let (_, answer) = site.cluster.merge(&format!("{MAPS}/a"), r#"{"data":{"k":"w"}}"#).await;
    assert_eq!(answer["data"]["k"], "w");
    assert_eq!(site.asked(), ["/first", "/second"]);
}

#[tokio::test]
async fn what_a_webhook_adds_to_a_custom_object_must_be_in_its_schema() {
    let site = Site::open().await;
    let field = json!({ "type": "string" });
    let data = json!({ "type": "object", "properties": { "k": field, "first": field } });
    let schema = json!({ "type": "object", "properties": { "data": data } });
    let version = json!({ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } });
    let definition = json!({ "metadata": { "name": "bags.example.com" }, "spec": {
        "group": "example.com", "scope": "Namespaced", "versions": [version],
        "names": { "plural": "bags", "singular": "bag", "kind": "Bag", "listKind": "BagList" },
    } });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(site.cluster.admin("POST", definitions, &definition.to_string()).await.0, 201);
    let bags = "/apis/example.com/v1/namespaces/default/bags";
    let served = async {
        while site.cluster.admin("GET", bags, "").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), served).await.unwrap();
    let rules = json!({ "rules": [{
        "operations": ["CREATE"], "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["bags"],
    }] });
    let hooks = vec![site.webhook("/first", rules.clone()), site.webhook("/second", rules)];
    site.configure("mutating", "m", hooks).await;
    let bag =
        json!({ "apiVersion": "example.com/v1", "kind": "Bag", "metadata": { "name": "b" }, "data": { "k": "v" } });
    let (code, answer) = site.cluster.admin("POST", bags, &bag.to_string()).await;
    assert_eq!((code, &answer["data"]), (201, &json!({ "k": "v", "first": "yes" })), "{answer:#}");
}

#[tokio::test]
async fn generated_names_are_not_shown() {
    let site = Site::open().await;
    site.configure("mutating", "m", vec![site.webhook("/first", json!({}))]).await;
    let (code, answer) = site.create(json!({ "metadata": { "generateName": "g-" }, "data": { "k": "v" } })).await;
    assert_eq!((code, &answer["data"]["first"]), (201, &json!("yes")), "{answer:#}");
    let request = &site.last_review()["request"];
    assert!(request["name"].is_null() && request["object"]["metadata"]["name"].is_null());
    assert!(answer["metadata"]["name"].as_str().unwrap().starts_with("g-"));
}

#[tokio::test]
async fn webhooks_that_fail() {
    let site = Site::open().await;
    let url = |path: &str| format!("https://localhost:{}{path}?timeout=1s", site.remote.address.port());
    let failed = |path: &str, why: &str| {
        let name = path.trim_start_matches('/');
        format!("Internal error occurred: failed calling webhook \"{name}.example.com\": {why}")
    };
    let timeout =
        failed("/never", &format!("failed to call webhook: Post {:?}: context deadline exceeded", url("/never")));
    let unknown = "failed to call webhook: an error on the server (\"boom\") has prevented the request from succeeding";
    let table = [("/never", timeout), ("/nowhere", failed("/nowhere", unknown))];
    for (path, want) in table {
        let webhook = site.webhook(path, json!({ "timeoutSeconds": 1 }));
        site.configure("validating", "v", vec![webhook]).await;
        let (code, answer) = site.create(map("a")).await;
        assert_eq!((code, told(&answer)), (500, want.as_str()));
        site.cluster
            .merge(
                "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/v",
                &json!({
                    "webhooks": [site.webhook(path, json!({ "timeoutSeconds": 1, "failurePolicy": "Ignore" }))],
                })
                .to_string(),
            )
            .await;
        assert_eq!(site.create(map(&path[1..])).await.0, 201);
        let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/v";
        assert_eq!(site.cluster.admin("DELETE", path, "").await.0, 200);
    }
    site.configure("mutating", "m", vec![site.webhook("/wrong-uid", json!({}))]).await;
    let (code, answer) = site.create(map("b")).await;
    assert_eq!(code, 500);
    assert!(told(&answer).contains("received invalid webhook response: expected response.uid="), "{answer}");
}

#[tokio::test]
async fn whom_to_believe() {
    let site = Site::open().await;
    let elsewhere = Remote::start(&[], |_| async { Response::new(Body::empty()) }).await;
    let mut webhook = site.webhook("/allow", json!({}));
    webhook["clientConfig"]["caBundle"] = elsewhere.bundle.into();
    site.configure("validating", "v", vec![webhook]).await;
    let (_, answer) = site.create(map("a")).await;
    let want = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert!(told(&answer).ends_with(want), "{answer}");
}

#[tokio::test]
async fn selectors_rules_and_dry_run() {
    let site = Site::open().await;
    site.configure(
        "validating",
        "v",
        vec![
            site.webhook("/allow", json!({ "objectSelector": { "matchLabels": { "watch": "me" } } })),
            site.webhook("/warn", json!({ "namespaceSelector": { "matchLabels": { "none": "such" } } })),
        ],
    )
    .await;
    assert_eq!(site.create(map("a")).await.0, 201);
    assert!(site.asked().is_empty());
    let mut labelled = map("b");
    labelled["metadata"]["labels"]["watch"] = "me".into();
    assert_eq!(site.cluster.admin("POST", &format!("{MAPS}?dryRun=All"), &labelled.to_string()).await.0, 201);
    assert_eq!(site.last_review()["request"]["dryRun"], true);
    assert_eq!(site.asked(), ["/allow"]);
    // Taking the label away is seen, since the object had it.
    assert_eq!(site.create(labelled).await.0, 201);
    let (code, _) = site.cluster.merge(&format!("{MAPS}/b"), r#"{"metadata":{"labels":null}}"#).await;
    assert_eq!((code, site.asked().len()), (200, 2));
}

#[tokio::test]
async fn warnings_reach_the_client() {
    let site = Site::open().await;
    site.configure("validating", "v", vec![site.webhook("/warn", json!({}))]).await;
    let request = Request::post(MAPS).header("content-type", "application/json").extension(in_process("admin"));
    let response = site.cluster.send(request.body(Body::from(map("a").to_string())).unwrap()).await;
    assert_eq!(response.headers()["warning"], "299 - \"beware\"");
    assert_eq!(read(response).await.0, 201);
}

#[tokio::test]
async fn deletions_subresources_and_connections() {
    let site = Site::open().await;
    let rules = |operations: Value, resources: Value| json!({ "rules": [{ "operations": operations, "apiGroups": ["*"], "apiVersions": ["*"], "resources": resources }] });
    site.configure(
        "validating",
        "v",
        vec![
            site.webhook(
                "/deny",
                rules(json!(["DELETE", "CONNECT"]), json!(["configmaps", "pods/exec", "pods/attach"])),
            ),
            {
                let mut webhook =
                    site.webhook("/deny", rules(json!(["CREATE"]), json!(["serviceaccounts/token", "pods/binding"])));
                webhook["name"] = "sub.example.com".into();
                webhook
            },
        ],
    )
    .await;
    assert_eq!(site.create(map("a")).await.0, 201);
    let mut asked = BTreeMap::new();
    let requests = [
        ("DELETE", format!("{MAPS}/a"), "{}"),
        ("DELETE", MAPS.to_owned(), "{}"),
        ("POST", "/api/v1/namespaces/default/serviceaccounts/s/token".to_owned(), r#"{"spec":{}}"#),
        ("POST", "/api/v1/namespaces/default/pods/p/binding".to_owned(), r#"{"target":{"name":"n"}}"#),
        ("POST", "/api/v1/namespaces/default/pods/p/exec?command=sh".to_owned(), ""),
    ];
    for (method, path, body) in requests {
        let (code, answer) = site.cluster.admin(method, &path, body).await;
        assert_eq!(code, 400, "{path} {answer}");
        let request = site.last_review()["request"].clone();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        asked.insert(
            format!("{method} {path}"),
            [
                text(&request["operation"]),
                text(&request["kind"]["kind"]),
                text(&request["subResource"]),
                request["object"].is_null().to_string(),
                request["oldObject"].is_null().to_string(),
            ]
            .join(" "),
        );
    }
    let want = [
        "DELETE ConfigMap  true false",
        "DELETE ConfigMap  true false",
        "CREATE Binding binding false true",
        "CONNECT PodExecOptions exec false true",
        "CREATE TokenRequest token false true",
    ];
    assert_eq!(asked.into_values().collect::<Vec<_>>(), want);
}

#[tokio::test]
async fn nobody_stands_in_the_way_of_mending() {
    let site = Site::open().await;
    let everything = json!({ "rules": [{
        "operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"],
    }] });
    site.configure("validating", "v", vec![site.webhook("/deny", everything.clone())]).await;
    site.configure("mutating", "m", vec![site.webhook("/nowhere", everything)]).await;
    for path in ["validatingwebhookconfigurations/v", "mutatingwebhookconfigurations/m"] {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{path}");
        assert_eq!(site.cluster.admin("DELETE", &path, "").await.0, 200);
    }
    assert_eq!(site.create(map("a")).await.0, 201);
}

#[tokio::test]
async fn services_are_found() {
    let site = Site::open().await;
    let mut webhook = site.webhook("/first", json!({}));
    let port = site.remote.address.port();
    webhook["clientConfig"] = json!({
        "service": { "namespace": "default", "name": "hook", "path": "/first", "port": port }, "caBundle": site.remote.bundle,
    });
    site.configure("mutating", "m", vec![webhook]).await;
    let (_, answer) = site.create(map("a")).await;
    assert!(
        told(&answer).ends_with(&format!(
            "Post \"https://hook.default.svc:{port}/first?timeout=10s\": service \"hook\" not found"
        )),
        "{answer}"
    );
    let service =
        json!({ "metadata": { "name": "hook" }, "spec": { "type": "ExternalName", "externalName": "localhost" } });
    let (code, answer) = site.cluster.admin("POST", "/api/v1/namespaces/default/services", &service.to_string()).await;
    assert_eq!(code, 201, "{answer}");
    let (code, answer) = site.create(map("a")).await;
    assert_eq!((code, &answer["data"]["first"]), (201, &json!("yes")), "{answer}");
}

#[tokio::test]
async fn an_answer_without_end_is_no_answer() {
    let site = Site::open().await;
    site.configure("validating", "v", vec![site.webhook("/endless", json!({ "failurePolicy": "Fail" }))]).await;
    let (code, answer) = site.create(map("a")).await;
    assert_eq!(code, 500, "{answer:#}");
    assert!(told(&answer).contains("failed calling webhook \"endless.example.com\""), "{answer:#}");
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/v";
    assert_eq!(site.cluster.admin("DELETE", path, "").await.0, 200);
    site.configure("validating", "w", vec![site.webhook("/endless", json!({ "failurePolicy": "Ignore" }))]).await;
    assert_eq!(site.create(map("b")).await.0, 201);
}
