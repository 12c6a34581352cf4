//! What a ReplicaSet wants done: a pure function of the set and its Pods.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::ResourceExt;

use super::{is_active, rank};

/// Pods created or deleted in one go; the rest follows in the next round.
const BURST: usize = 500;

/// What the plan is made from.
pub(super) struct Seen<'a> {
    pub(super) set: &'a ReplicaSet,
    /// The set's Pods.
    pub(super) pods: &'a [Arc<Pod>],
    /// Whether the cache has caught up with our own writes.
    pub(super) settled: bool,
    pub(super) now: Timestamp,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// So many Pods are missing.
    pub(super) create: usize,
    /// These are too many.
    pub(super) delete: Vec<Arc<Pod>>,
    pub(super) status: ReplicaSetStatus,
    /// When to look again: a Pod becomes available by the passing of time alone.
    pub(super) wake: Option<Duration>,
}

/// Decides what is to be done.
pub(super) fn plan(seen: &Seen<'_>) -> Plan {
    let active: Vec<_> = seen.pods.iter().filter(|pod| is_active(pod)).cloned().collect();
    let mut plan = Plan { status: status(seen, &active), wake: next_available(seen, &active), ..Plan::default() };
    if !seen.settled || seen.set.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let wanted = wanted(seen.set);
    if active.len() < wanted {
        plan.create = (wanted - active.len()).min(BURST);
    } else {
        let surplus = (active.len() - wanted).min(BURST);
        let mut ranked = active;
        rank::rank(&mut ranked);
        ranked.truncate(surplus);
        plan.delete = ranked;
    }
    plan
}

fn wanted(set: &ReplicaSet) -> usize {
    let replicas = set.spec.replicas.unwrap_or(1);
    usize::try_from(replicas).unwrap_or_default()
}

fn min_ready(set: &ReplicaSet) -> SignedDuration {
    let seconds = set.spec.min_ready_seconds.unwrap_or_default();
    SignedDuration::from_secs(seconds.into())
}

fn is_available(pod: &Pod, min_ready: SignedDuration, now: Timestamp) -> bool {
    rank::ready_since(pod).is_some_and(|since| since + min_ready <= now)
}

fn status(seen: &Seen<'_>, active: &[Arc<Pod>]) -> ReplicaSetStatus {
    let min_ready = min_ready(seen.set);
    let template = seen.set.spec.template.as_ref();
    let labels = template.and_then(|t| t.metadata.as_ref()).and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let fully_labelled = |pod: &Pod| labels.iter().all(|(key, value)| pod.labels().get(key) == Some(value));
    let count = |matching: &dyn Fn(&Pod) -> bool| Some(to_i32(active.iter().filter(|pod| matching(pod)).count()));
    let terminating = seen.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some()).count();
    ReplicaSetStatus {
        replicas: to_i32(active.len()),
        fully_labeled_replicas: count(&fully_labelled).filter(|n| *n > 0),
        ready_replicas: count(&|pod| rank::ready_since(pod).is_some()).filter(|n| *n > 0),
        available_replicas: count(&|pod| is_available(pod, min_ready, seen.now)).filter(|n| *n > 0),
        terminating_replicas: Some(to_i32(terminating)),
        observed_generation: seen.set.metadata.generation,
        conditions: seen.set.status.as_ref().and_then(|status| status.conditions.clone()),
    }
}

fn next_available(seen: &Seen<'_>, active: &[Arc<Pod>]) -> Option<Duration> {
    let min_ready = min_ready(seen.set);
    let due = active.iter().filter_map(|pod| rank::ready_since(pod)).map(|since| since + min_ready);
    let next = due.filter(|due| *due > seen.now).min()?;
    next.duration_since(seen.now).try_into().ok()
}

/// The status with the condition `ReplicaFailure` set or cleared.
pub(super) fn with_failure(
    set: &ReplicaSet,
    status: &ReplicaSetStatus,
    failure: Option<String>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let mut status = status.clone();
    let mut conditions = set.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let failing = conditions.iter().any(|condition| condition.type_.as_deref() == Some("ReplicaFailure"));
    match failure {
        Some(message) if !failing => conditions.push(ReplicaSetCondition {
            type_: Some("ReplicaFailure".to_owned()),
            status: Some("True".to_owned()),
            reason: Some("FailedCreate".to_owned()),
            message: Some(message),
            last_transition_time: Some(Time(now)),
        }),
        Some(_) => {}
        None => conditions.retain(|condition| condition.type_.as_deref() != Some("ReplicaFailure")),
    }
    status.conditions = Some(conditions).filter(|conditions| !conditions.is_empty());
    status
}

/// A Pod of the set's template, which is `owner`'s.
pub(super) fn pod(set: &ReplicaSet, owner: OwnerReference) -> Pod {
    let template = set.spec.template.clone();
    let PodTemplateSpec { metadata, spec } = template.unwrap_or_default();
    let template = metadata.unwrap_or_default();
    // 63 characters hold the random end that the server adds.
    let prefix: String = format!("{}-", set.name_any()).chars().take(58).collect();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix),
            namespace: set.namespace(),
            labels: template.labels,
            annotations: template.annotations,
            finalizers: template.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

fn to_i32(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    fn now() -> Timestamp {
        "2026-01-01T00:10:00Z".parse().unwrap()
    }

    /// `words` is the state of a Pod: `pending`, `running`, `ready`, `ended`, `going`, with `@minute` of its creation.
    fn a_pod(name: usize, words: &str) -> Arc<Pod> {
        let (state, minute) = words.split_once('@').unwrap_or((words, "0"));
        let ready = if state == "ready" { "True" } else { "False" };
        let phase = match state {
            "ended" => "Failed",
            "pending" => "Pending",
            _ => "Running",
        };
        let at = format!("2026-01-01T00:0{minute}:00Z");
        let going = (state == "going").then(|| at.clone());
        Arc::new(
            from_value(json!({
                "metadata": {"name": format!("p{name}"), "creationTimestamp": at, "deletionTimestamp": going},
                "spec": {"nodeName": "n", "containers": []},
                "status": {"phase": phase,
                    "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": at}]}
            }))
            .unwrap(),
        )
    }

    /// Returns `+n` or the names of the Pods to delete.
    fn check(replicas: i32, pods: &str, want: &str) {
        let set: ReplicaSet = from_value(json!({"metadata": {"name": "s"},
            "spec": {"replicas": replicas, "selector": {}}}))
        .unwrap();
        let pods: Vec<_> = pods.split_whitespace().enumerate().map(|(i, words)| a_pod(i, words)).collect();
        let plan = plan(&Seen { set: &set, pods: &pods, settled: true, now: now() });
        let got = if plan.create > 0 {
            format!("+{}", plan.create)
        } else {
            plan.delete.iter().map(|pod| pod.name_any()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(got, want);
    }

    #[test]
    fn missing_pods_are_made_and_ended_ones_replaced() {
        check(3, "", "+3");
        check(3, "ready running pending", "");
        check(3, "ready ended going", "+2");
        check(1000, "", "+500");
    }

    #[test]
    fn the_least_missed_go_first() {
        check(1, "ready pending running", "p1 p2");
        check(1, "ready@1 ready@2", "p1");
        check(0, "ready going ended", "p0");
    }

    #[test]
    fn nothing_is_done_before_the_cache_has_caught_up() {
        let set: ReplicaSet =
            from_value(json!({"metadata": {"name": "s"}, "spec": {"replicas": 3, "selector": {}}})).unwrap();
        let plan = plan(&Seen { set: &set, pods: &[], settled: false, now: now() });
        assert_eq!(plan.create, 0);
    }

    #[test]
    fn availability_comes_with_time() {
        let set: ReplicaSet = from_value(json!({"metadata": {"name": "s"},
            "spec": {"replicas": 1, "minReadySeconds": 120, "selector": {}}}))
        .unwrap();
        let pods = [a_pod(0, "ready@9")];
        let plan = plan(&Seen { set: &set, pods: &pods, settled: true, now: now() });
        assert_eq!((plan.status.ready_replicas, plan.status.available_replicas), (Some(1), None));
        assert_eq!(plan.wake, Some(Duration::from_secs(60)));
    }
}
