//! The node's object: registered once, its status written when it changes and every five minutes.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node as NodeObject, NodeSpec, NodeStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use sampan_cri::v1::Image;
use serde_json::json;
use tokio::time::Instant;

use super::status::{Inputs, Readings, status};
use super::{Node, RuntimeFeatures, system};
use crate::{Error, Options};

/// An unchanged status is written this often.
const WRITE_ANYWAY: Duration = Duration::from_secs(300);
/// How often the node's own state is measured, beside the lease's renewal.
const MEASURE: Duration = Duration::from_secs(10);
/// While the runtime is not ready yet, it is asked this often: a node that starts should be Ready soon.
const MEASURE_SOON: Duration = Duration::from_millis(200);
/// A failed request is tried again after this long, up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(7);

/// Makes the node's object, or takes over the one that is there; tries until it succeeds.
pub(crate) async fn register(node: &Node, port: u16) -> NodeObject {
    let mut wait = FIRST_RETRY;
    loop {
        match try_register(node, port).await {
            Ok(object) => return object,
            Err(error) => tracing::warn!(node = %node.options.node_name, %error, "node not registered yet"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_RETRY);
    }
}

async fn try_register(node: &Node, port: u16) -> Result<NodeObject, Error> {
    let api = Api::<NodeObject>::all(node.client.clone());
    let runtime = runtime_status(node).await;
    let readings = Readings::new(node.pressures.borrow().clone(), runtime);
    let images = node.runtime.images().await.unwrap_or_default();
    let mut object = object(&node.options);
    let devices = node.devices.counts();
    let inputs = Inputs { readings: &readings, images: &images, devices: &devices, port };
    object.status = Some(status(node, &inputs, &NodeStatus::default(), sampan_clock::now()));
    match api.create(&PostParams::default(), &object).await {
        Ok(created) => return Ok(created),
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(Error::api("registering the node")(error)),
    }
    let labels = json!({"metadata": {"labels": object.metadata.labels}});
    let patched = api.patch(&node.options.node_name, &PatchParams::default(), &Patch::Merge(&labels)).await;
    patched.map_err(Error::api("updating the node's labels"))
}

/// The object that the node is registered with.
pub(super) fn object(options: &Options) -> NodeObject {
    let standard = [
        ("kubernetes.io/hostname", options.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", system::architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", system::architecture()),
    ];
    let standard = standard.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    NodeObject {
        metadata: ObjectMeta {
            name: Some(options.node_name.clone()),
            labels: Some(standard.chain(options.labels.clone()).collect()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            pod_cidr: options.pod_cidr.clone(),
            pod_cidrs: options.pod_cidr.clone().map(|cidr| vec![cidr]),
            taints: Some(options.taints.clone()).filter(|taints| !taints.is_empty()),
            ..NodeSpec::default()
        }),
        status: None,
    }
}

/// Asks the runtime how it is, and keeps what it says it can do.
async fn runtime_status(node: &Node) -> Result<sampan_cri::v1::StatusResponse, String> {
    let status = node.runtime.status().await.map_err(|error| error.to_string())?;
    node.runtime_features.send_replace(RuntimeFeatures::of(&status));
    Ok(status)
}

/// Writes the node's status.
pub(crate) struct Reporter {
    node: Arc<Node>,
    /// Where the kubelet's own API listens.
    port: u16,
    published: NodeStatus,
    written: Instant,
    images: Vec<Image>,
}

impl Reporter {
    /// A reporter for `node`, whose object is `object`.
    pub(crate) fn new(node: &Arc<Node>, port: u16, object: &NodeObject) -> Self {
        let published = object.status.clone().unwrap_or_default();
        Self { node: Arc::clone(node), port, published, written: Instant::now(), images: Vec::new() }
    }

    /// Measures and writes for as long as it is let.
    pub(crate) async fn run(mut self) {
        self.node.recorder.normal(&self.node.reference(), "Starting", "Starting kubelet.");
        self.read_images().await;
        let (mut devices, mut pressures) = (self.node.devices.changes(), self.node.pressures.subscribe());
        let mut shutting_down = self.node.shutting_down.subscribe();
        loop {
            let runtime = runtime_status(&self.node).await;
            let readings = Readings::new(pressures.borrow_and_update().clone(), runtime)
                .before_shutdown(*shutting_down.borrow_and_update());
            if self.written.elapsed() >= WRITE_ANYWAY {
                self.read_images().await;
            }
            if let Err(error) = self.write(&readings).await {
                tracing::warn!(%error, "node status not written");
            }
            let soon = !readings.ready() && !*shutting_down.borrow() && self.written.elapsed() < MEASURE;
            tokio::select! {
                () = tokio::time::sleep(if soon { MEASURE_SOON } else { MEASURE }) => {}
                () = self.node.images.wait_for_change() => self.read_images().await,
                Ok(()) = devices.changed() => {}
                Ok(()) = pressures.changed() => {}
                Ok(()) = shutting_down.changed() => {}
            }
        }
    }

    async fn read_images(&mut self) {
        self.images = self.node.runtime.images().await.unwrap_or_default();
    }

    async fn write(&mut self, readings: &Readings) -> Result<(), Error> {
        let devices = self.node.devices.counts();
        let inputs = Inputs { readings, images: &self.images, devices: &devices, port: self.port };
        let wanted = status(&self.node, &inputs, &self.published, sampan_clock::now());
        if same(&wanted, &self.published) && self.written.elapsed() < WRITE_ANYWAY {
            return Ok(());
        }
        let api = Api::<NodeObject>::all(self.node.client.clone());
        let patch = json!({"status": wanted});
        let name = &self.node.options.node_name;
        let answer = api.patch_status(name, &PatchParams::default(), &Patch::Strategic(&patch)).await;
        let published = answer.map_err(Error::api("updating the node's status"))?.status.unwrap_or_default();
        for now in turns(&self.published, &published) {
            let message = format!("Node {name} status is now: {now}");
            self.node.recorder.normal(&self.node.reference(), now, message);
        }
        self.published = published;
        self.written = Instant::now();
        Ok(())
    }
}

/// What the node's conditions have turned to, in the words of events.
fn turns(before: &NodeStatus, after: &NodeStatus) -> Vec<&'static str> {
    let of = |status: &NodeStatus, kind: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.find(|condition| condition.type_ == kind).map(|condition| condition.status.clone())
    };
    let names = [
        ("MemoryPressure", "NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
        ("DiskPressure", "NodeHasDiskPressure", "NodeHasNoDiskPressure"),
        ("PIDPressure", "NodeHasInsufficientPID", "NodeHasSufficientPID"),
        ("Ready", "NodeReady", "NodeNotReady"),
    ];
    let turned = names.into_iter().filter(|(kind, ..)| of(before, kind) != of(after, kind));
    turned.map(|(kind, yes, no)| if of(after, kind).as_deref() == Some("True") { yes } else { no }).collect()
}

/// Whether two statuses say the same, whenever they were measured.
fn same(a: &NodeStatus, b: &NodeStatus) -> bool {
    let plain = |status: &NodeStatus| {
        let conditions = status.conditions.iter().flatten().map(|condition| {
            (condition.type_.clone(), condition.status.clone(), condition.reason.clone(), condition.message.clone())
        });
        let conditions: Vec<_> = conditions.collect();
        (
            conditions,
            status.addresses.clone(),
            status.capacity.clone(),
            status.allocatable.clone(),
            status.images.clone(),
            status.declared_features.clone(),
        )
    };
    let of_runtime = |status: &NodeStatus| (status.runtime_handlers.clone(), status.features.clone());
    plain(a) == plain(b)
        && of_runtime(a) == of_runtime(b)
        && a.node_info == b.node_info
        && a.daemon_endpoints == b.daemon_endpoints
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::NodeCondition;

    use super::*;

    #[test]
    fn only_what_turns_is_an_event() {
        let status = |memory: &str, ready: &str| {
            let condition = |kind: &str, status: &str| NodeCondition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                ..NodeCondition::default()
            };
            let conditions = vec![condition("MemoryPressure", memory), condition("Ready", ready)];
            NodeStatus { conditions: Some(conditions), ..NodeStatus::default() }
        };
        let check = |before: (&str, &str), after: (&str, &str), want: &[&str]| {
            assert_eq!(turns(&status(before.0, before.1), &status(after.0, after.1)), want);
        };
        check(("False", "True"), ("False", "True"), &[]);
        check(("False", "False"), ("True", "True"), &["NodeHasInsufficientMemory", "NodeReady"]);
        check(("True", "Unknown"), ("False", "False"), &["NodeHasSufficientMemory", "NodeNotReady"]);
    }
}
