//! What is to be done about a node, from its conditions, its lease and its Pods: pure.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sampan_api::placement::covers;

/// A node that has not renewed its lease for so long is unknown.
const GRACE: SignedDuration = SignedDuration::from_secs(50);
/// What is said of it.
const SILENT: &str = "Kubelet stopped posting node status.";
/// The node's Ready condition is False.
const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// The node's Ready condition is Unknown.
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// Conditions that taint a node while they hold, with their taints.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
/// `kubectl cordon` sets spec.unschedulable; this taint tells the scheduler.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// What the plan is made from.
pub(super) struct Seen<'a> {
    pub(super) node: &'a Node,
    /// When the node last renewed its lease.
    pub(super) renewed: Option<Timestamp>,
    /// The Pods on it.
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) now: Timestamp,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Conditions to write, if they change.
    pub(super) conditions: Option<Vec<NodeCondition>>,
    /// All taints of the node, if they change.
    pub(super) taints: Option<Vec<Taint>>,
    /// Pods that are no longer to be relied on.
    pub(super) not_ready: Vec<Arc<Pod>>,
    /// Pods that do not tolerate the node any longer.
    pub(super) evict: Vec<Arc<Pod>>,
    /// When to look again.
    pub(super) wake: Option<Duration>,
}

/// Decides it.
pub(super) fn plan(seen: &Seen<'_>) -> Plan {
    let mut plan = Plan::default();
    let heard = seen.renewed.or_else(|| seen.node.metadata.creation_timestamp.as_ref().map(|time| time.0));
    let silent_from = heard.map_or(seen.now, |heard| heard + GRACE);
    let silent = silent_from <= seen.now;
    let mut due = vec![];
    if !silent {
        due.push(silent_from);
    } else if status(seen.node, "Ready") != Some("Unknown") {
        plan.conditions = Some(unknown(seen));
    }
    let ready = if silent { Some("Unknown") } else { status(seen.node, "Ready") };
    let taints = taints(seen, ready);
    if seen.node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default() != taints {
        plan.taints = Some(taints.clone());
    }
    if ready != Some("True") {
        plan.not_ready = seen.pods.iter().filter(|pod| is_ready(pod)).cloned().collect();
    }
    for pod in seen.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        match leaves(pod, &taints, seen.now) {
            Some(at) if at <= seen.now => plan.evict.push(Arc::clone(pod)),
            Some(at) => due.push(at),
            None => {}
        }
    }
    plan.wake = due.into_iter().min().and_then(|at| at.duration_since(seen.now).try_into().ok());
    plan
}

fn status<'a>(node: &'a Node, type_: &str) -> Option<&'a str> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_).map(|condition| condition.status.as_str())
}

fn unknown(seen: &Seen<'_>) -> Vec<NodeCondition> {
    let conditions = seen.node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let ours = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
    let silenced = |mut condition: NodeCondition| {
        condition.status = "Unknown".to_owned();
        condition.reason = Some("NodeStatusUnknown".to_owned());
        condition.message = Some(SILENT.to_owned());
        condition.last_transition_time = Some(Time(seen.now));
        condition
    };
    conditions.into_iter().filter(|c| ours.contains(&c.type_.as_str())).map(silenced).collect()
}

/// All taints of the node: others' as they are, ours as its conditions ask.
fn taints(seen: &Seen<'_>, ready: Option<&str>) -> Vec<Taint> {
    let existing = seen.node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    match ready {
        Some("True") => {}
        Some("Unknown") => wanted.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
        _ => wanted.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
    }
    wanted.extend(
        PRESSURES
            .into_iter()
            .filter(|(type_, _)| status(seen.node, type_) == Some("True"))
            .map(|(_, key)| (key, "NoSchedule")),
    );
    if seen.node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let ours = |key: &str| {
        [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&key) || PRESSURES.iter().any(|(_, taint)| *taint == key)
    };
    let is_wanted = |taint: &Taint| wanted.iter().any(|(key, effect)| taint.key == *key && taint.effect == *effect);
    let mut taints: Vec<Taint> =
        existing.iter().filter(|taint| !ours(&taint.key) || is_wanted(taint)).cloned().collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            taints.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                value: None,
                time_added: Some(Time(seen.now)),
            });
        }
    }
    taints
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// When the Pod has to leave because of `taints`; `None` when it may stay.
fn leaves(pod: &Pod, taints: &[Taint], now: Timestamp) -> Option<Timestamp> {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let leaves_for = |taint: &Taint| -> Option<Timestamp> {
        let added = taint.time_added.as_ref().map_or(now, |time| time.0);
        let mut tolerating = tolerations.iter().filter(|toleration| covers(toleration, taint)).peekable();
        if tolerating.peek().is_none() {
            return Some(now);
        }
        // Without seconds it is tolerated for ever.
        let shortest = tolerating.map(|t| t.toleration_seconds.unwrap_or(i64::MAX)).min()?;
        (shortest != i64::MAX).then(|| added + SignedDuration::from_secs(shortest.max(0)))
    };
    taints.iter().filter(|taint| taint.effect == "NoExecute").filter_map(leaves_for).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn node(ready: &str, taints: &serde_json::Value) -> Node {
        from_value(json!({"metadata": {"name": "n", "creationTimestamp": at(0)}, "spec": {"taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
        .unwrap()
    }

    fn pod(tolerations: &serde_json::Value) -> Arc<Pod> {
        Arc::new(
            from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": [], "tolerations": tolerations},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]}}))
            .unwrap(),
        )
    }

    #[test]
    fn a_node_that_renews_is_left_alone_until_its_grace_ends() {
        let plan = plan(&Seen { node: &node("True", &json!([])), renewed: Some(at(0)), pods: &[], now: at(20) });
        assert!(plan.conditions.is_none() && plan.taints.is_none());
        assert_eq!(plan.wake, Some(Duration::from_secs(30)));
    }

    #[test]
    fn a_silent_node_is_unknown_and_its_pods_leave_when_their_toleration_ends() {
        let tolerant =
            json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]);
        let pods = [pod(&tolerant), pod(&json!([{"operator": "Exists"}])), pod(&json!([]))];
        let first = plan(&Seen { node: &node("True", &json!([])), renewed: Some(at(0)), pods: &pods, now: at(50) });
        assert_eq!(first.conditions.unwrap()[0].message.as_deref(), Some(SILENT));
        let taints = first.taints.unwrap();
        assert_eq!(taints.iter().map(|t| t.effect.as_str()).collect::<Vec<_>>(), ["NoSchedule", "NoExecute"]);
        assert_eq!((first.not_ready.len(), first.evict.len()), (3, 1));
        assert_eq!(first.wake, Some(Duration::from_secs(300)));

        let tainted = node("Unknown", &json!(taints));
        let later = plan(&Seen { node: &tainted, renewed: Some(at(0)), pods: &pods, now: at(350) });
        assert!(later.conditions.is_none() && later.taints.is_none(), "already so");
        assert_eq!(later.evict.len(), 2, "one tolerates it for ever");
    }

    #[test]
    fn taints_go_when_the_node_is_back_and_others_stay() {
        let taints = json!([{"key": UNREACHABLE, "effect": "NoExecute"}, {"key": "mine", "effect": "NoSchedule"}]);
        let plan = plan(&Seen { node: &node("True", &taints), renewed: Some(at(99)), pods: &[], now: at(100) });
        assert_eq!(plan.taints.unwrap().iter().map(|t| t.key.as_str()).collect::<Vec<_>>(), ["mine"]);
    }
}
