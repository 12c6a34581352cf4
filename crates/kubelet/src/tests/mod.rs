//! The whole kubelet between a container runtime and an API server that are both made of values: real gRPC over an
//! in-memory connection, real HTTP requests and watches, time that jumps.

mod admission;
mod eviction;
mod fake_api;
mod fake_runtime;
mod hooks;
mod life;
mod log_rotation;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cgroups::Mounts;
use crate::cri::Runtime;
use crate::{Handle, Kubelet, Options};
use fake_api::FakeApi;
use fake_runtime::FakeRuntime;

/// How long a condition may take to come true, in the time of the test.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A client of an API server that has nothing.
pub(crate) fn client() -> kube::Client {
    FakeApi::new().client()
}

/// A node with everything around it.
struct World {
    api: FakeApi,
    runtime: Arc<FakeRuntime>,
    dir: tempfile::TempDir,
    kubelet: Option<Handle>,
    /// When the kubelet ends Pods: whatever the machine that tests run on is short of, they stay, unless a test says so.
    eviction: crate::Thresholds,
}

impl World {
    async fn new() -> Self {
        let mut world = Self::without_kubelet();
        world.start().await;
        world
    }

    /// One in which no kubelet has started yet.
    fn without_kubelet() -> Self {
        let dir = tempfile::Builder::new().prefix("sampan-t").tempdir().unwrap();
        Self {
            api: FakeApi::new(),
            runtime: FakeRuntime::new(),
            dir,
            kubelet: None,
            eviction: crate::Thresholds::none(),
        }
    }

    async fn start(&mut self) {
        let ip = IpAddr::from([192, 0, 2, 1]);
        let mut options = Options::new("n1", ip, self.api.client(), "/nonexistent".into());
        options.root_dir = self.dir.path().join("kubelet");
        options.log_dir = self.dir.path().join("logs");
        options.log_links = self.dir.path().join("log-links");
        options.eviction = self.eviction.clone();
        options.image_gc_percent = (100, 100);
        options.static_pod_dir = Some(self.manifests());
        options.resolv_conf = self.dir.path().join("resolv.conf");
        let runtime = Runtime::over(self.runtime.connect().await);
        // The machine's own control groups are none of these tests' business: a cluster may run on it.
        let cgroups = Mounts::default();
        self.kubelet = Some(Kubelet::start_over(options, runtime, cgroups).await.unwrap());
    }

    /// Where the node's static Pods are described.
    fn manifests(&self) -> std::path::PathBuf {
        self.dir.path().join("manifests")
    }

    /// Stops the kubelet and starts another one on the same node.
    async fn restart(&mut self) {
        self.kubelet.take().unwrap().shutdown().await;
        self.start().await;
    }

    /// Creates a Pod bound to the node.
    fn pod(&self, name: &str, mut spec: Value) {
        spec["nodeName"] = json!("n1");
        self.api.put("v1", "pods", json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec}));
    }

    /// Creates a Pod bound to the node, so many seconds after the Pods that are created without a time.
    fn younger_pod(&self, name: &str, age_s: u32, mut spec: Value) {
        spec["nodeName"] = json!("n1");
        let created = format!("2026-01-01T00:00:{age_s:02}Z");
        let metadata =
            json!({"name": name, "namespace": "ns", "uid": format!("uid-of-{name}"), "creationTimestamp": created});
        self.api.put("v1", "pods", json!({"metadata": metadata, "spec": spec}));
    }

    /// Waits until the Pod's status is as `is` wants.
    async fn until(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let wait = self.api.until("pods", "ns", name, |pod| pod.is_some_and(&is));
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(pod) => pod.unwrap(),
            Err(_) => panic!("{name} is not {what}: {:#}", self.api.get("pods", "ns", name).unwrap_or_default()),
        }
    }

    async fn running(&self, name: &str) -> Value {
        self.until(name, "ready", |pod| condition(pod, "Ready") == "True").await
    }

    async fn gone(&self, name: &str) {
        let wait = self.api.until("pods", "ns", name, |pod| pod.is_none());
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{name} is still there"));
    }

    async fn event(&self, reason: &str) -> String {
        let is = |event: Option<&Value>| event.is_some_and(|event| event["reason"] == reason);
        let wait = self.api.until_any("events", is);
        let event = tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("no event {reason}"));
        event["message"].as_str().unwrap().to_owned()
    }

    async fn end(mut self) {
        self.kubelet.take().unwrap().shutdown().await;
    }
}

/// The status of one of the Pod's conditions.
fn condition(pod: &Value, kind: &str) -> String {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or_default().to_owned()
}

/// The first app container's status.
fn first(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}
