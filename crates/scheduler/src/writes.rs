//! What the scheduler writes: bindings, the PodScheduled condition, nominations, and the end of victims.

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::pod::PodInfo;

/// A condition that a Pod is to have.
pub(crate) struct Condition<'a> {
    pub(crate) kind: &'static str,
    pub(crate) status: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) message: &'a str,
}

impl Condition<'_> {
    /// `pod` as it says of itself has no node, and the reason.
    pub(crate) fn unscheduled<'a>(reason: &'static str, message: &'a str) -> Condition<'a> {
        Condition { kind: "PodScheduled", status: "False", reason, message }
    }

    /// The patch that gives `pod` this condition; `None` if it has it.
    fn patch(&self, pod: &Pod, now: jiff::Timestamp) -> Option<Value> {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let current = conditions.iter().find(|condition| condition.type_ == self.kind);
        if current.is_some_and(|current| self.is(current)) {
            return None;
        }
        let unchanged = current.filter(|current| current.status == self.status);
        let since = unchanged.and_then(|current| current.last_transition_time.clone()).unwrap_or(Time(now));
        Some(json!({
            "type": self.kind,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "lastProbeTime": null,
            "lastTransitionTime": since,
            "observedGeneration": pod.metadata.generation,
        }))
    }

    fn is(&self, current: &PodCondition) -> bool {
        current.status == self.status
            && current.reason.as_deref() == Some(self.reason)
            && current.message.as_deref() == Some(self.message)
    }
}

/// What happens to `nominatedNodeName`.
pub(crate) enum NominatedNode<'a> {
    Keep,
    Clear,
    Set(&'a str),
}

fn pods(client: &Client, pod: &PodInfo) -> Api<Pod> {
    Api::namespaced(client.clone(), &pod.key.namespace)
}

/// Puts `pod` on `node`.
pub(crate) async fn bind(client: &Client, pod: &PodInfo, node: &str) -> Result<(), kube::Error> {
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": pod.key.name, "namespace": pod.key.namespace, "uid": pod.uid},
        "target": {"kind": "Node", "name": node},
    });
    let params = PostParams::default();
    let _: Value = pods(client, pod).create_subresource("binding", &pod.key.name, &params, &binding).await?;
    Ok(())
}

/// Says in the Pod's status what `condition` says, and which node it waits for. Nothing is sent if it says so already.
pub(crate) async fn write_status(
    client: &Client,
    pod: &PodInfo,
    condition: &Condition<'_>,
    nominated: NominatedNode<'_>,
) -> Result<(), kube::Error> {
    let mut status = json!({});
    if let Some(condition) = condition.patch(&pod.pod, sampan_clock::now()) {
        status["conditions"] = json!([condition]);
    }
    match nominated {
        NominatedNode::Set(node) if pod.nominated_node() != Some(node) => status["nominatedNodeName"] = node.into(),
        NominatedNode::Clear if pod.nominated_node().is_some() => status["nominatedNodeName"] = Value::Null,
        NominatedNode::Set(_) | NominatedNode::Clear | NominatedNode::Keep => {}
    }
    if status.as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(());
    }
    // The uid keeps the patch from a newer Pod of the same name.
    let patch = json!({"metadata": {"uid": pod.uid}, "status": status});
    let params = PatchParams::default();
    pods(client, pod).patch_status(&pod.key.name, &params, &Patch::Strategic(&patch)).await.map(drop)
}

/// Deletes `victim`, gracefully.
pub(crate) async fn delete(client: &Client, victim: &PodInfo) -> Result<(), kube::Error> {
    let preconditions = Preconditions { uid: Some(victim.uid.clone()), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    pods(client, victim).delete(&victim.key.name, &params).await.map(drop)
}
