//! Pods that come to the node past the scheduler.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{World, first};

fn pod(more: &Value) -> Value {
    let container = json!({"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent"});
    let mut spec = json!({"terminationGracePeriodSeconds": 1, "containers": [container]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

fn with_port(port: i32) -> Value {
    let mut spec = pod(&json!({}));
    spec["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": port, "protocol": "TCP"}]);
    spec
}

impl World {
    /// Describes a static Pod in a file.
    fn static_pod(&self, name: &str, spec: &Value) {
        let metadata = json!({"name": name, "namespace": "ns"});
        let manifest = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        std::fs::create_dir_all(self.manifests()).unwrap();
        std::fs::write(self.manifests().join(format!("{name}.json")), manifest.to_string()).unwrap();
    }

    /// Waits until the Pod is refused, and checks why.
    async fn refused(&self, name: &str, reason: &str, message: &str) {
        let pod = self.until(name, "refused", |pod| pod["status"]["phase"] == "Failed").await;
        assert_eq!((&pod["status"]["reason"], &pod["status"]["message"]), (&json!(reason), &json!(message)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_of_the_node_is_one_pods() {
    let world = World::new().await;
    world.pod("a", with_port(8080));
    world.running("a").await;
    world.pod("b", with_port(8080));
    let why =
        "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
    world.refused("b", "NodePorts", why).await;
    world.pod("c", with_port(8081));
    world.running("c").await;
    world.api.delete("ns", "a", 1);
    world.gone("a").await;
    world.pod("d", with_port(8080));
    world.running("d").await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_wants_another_node_does_not_run() {
    let world = World::new().await;
    let spec = || pod(&json!({"nodeSelector": {"disk": "fast"}}));
    world.pod("a", spec());
    let why = "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
    world.refused("a", "NodeAffinity", why).await;
    // Who labels the node and sends a Pod at once is understood.
    let mut node = world.api.until("nodes", "", "n1", |node| node.is_some()).await.unwrap();
    node["metadata"]["labels"]["disk"] = json!("fast");
    world.api.put("v1", "nodes", node);
    world.pod("b", spec());
    world.running("b").await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_silent_does_not_hold_up_a_refusal() {
    let world = World::new().await;
    world.api.silence("nodes");
    let begun = Instant::now();
    world.pod("a", pod(&json!({"nodeSelector": {"disk": "fast"}})));
    world.until("a", "refused", |pod| pod["status"]["reason"] == "NodeAffinity").await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    world.api.delete("ns", "a", 1);
    world.gone("a").await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_tainted_node_takes_what_tolerates_it_and_its_own() {
    let world = World::new().await;
    world.pod("before", pod(&json!({})));
    world.running("before").await;
    let mut node = world.api.get("nodes", "", "n1").unwrap();
    node["spec"]["taints"] = json!([{"key": "broken", "effect": "NoExecute"}]);
    world.api.put("v1", "nodes", node);
    world.pod("tolerant", pod(&json!({"tolerations": [{"key": "broken", "operator": "Exists"}]})));
    world.running("tolerant").await;
    world.static_pod("own", &pod(&json!({})));
    world.running("own-n1").await;
    world.pod("plain", pod(&json!({})));
    let why = "Pod was rejected: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate";
    world.refused("plain", "TaintToleration", why).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_refused_pod_asks_for_is_for_others() {
    let mut world = World::without_kubelet();
    let asks = |cpu: &str| {
        let mut spec = pod(&json!({}));
        spec["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
        spec
    };
    // The kubelet hears of all of these at once, and of the older one first.
    let mut elsewhere = with_port(8080);
    elsewhere["nodeSelector"] = json!({"disk": "fast"});
    world.younger_pod("elsewhere", 1, elsewhere);
    world.younger_pod("port", 2, with_port(8080));
    world.younger_pod("huge", 3, asks("100000"));
    world.younger_pod("small", 4, asks("100m"));
    world.start().await;
    world.until("elsewhere", "refused", |pod| pod["status"]["reason"] == "NodeAffinity").await;
    world.until("huge", "refused", |pod| pod["status"]["reason"] == "OutOfcpu").await;
    world.running("port").await;
    world.running("small").await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_static_pod_that_runs_is_not_judged_again() {
    let mut world = World::new().await;
    let mut spec = with_port(8080);
    spec["containers"][0]["ports"].as_array_mut().unwrap().push(json!({"containerPort": 81, "hostPort": 8081}));
    world.static_pod("own", &spec);
    let before = world.running("own-n1").await;
    world.kubelet.take().unwrap().shutdown().await;
    world.younger_pod("late", 1, with_port(8080));
    // One that was taken in spite of the static Pod.
    world.younger_pod("twin", 2, with_port(8081));
    let mut twin = world.api.get("pods", "ns", "twin").unwrap();
    twin["status"] = json!({"phase": "Running", "startTime": "2026-01-01T00:00:02Z"});
    world.api.put("v1", "pods", twin);
    world.start().await;
    world.until("late", "refused", |pod| pod["status"]["reason"] == "NodePorts").await;
    // Whatever is held against it is told by then.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let after = world.running("own-n1").await;
    assert_eq!(first(&before)["containerID"], first(&after)["containerID"]);
    assert_eq!((first(&after)["restartCount"].as_i64(), &after["status"]["reason"]), (Some(0), &Value::Null));
    world.end().await;
}
