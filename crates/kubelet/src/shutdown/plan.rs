//! Which Pods end when, and how long they have. Pure.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::ShutdownPhase;
use crate::spec;

/// Pods that end together.
pub(super) struct Group {
    pub(super) grace: Duration,
    pub(super) pods: Vec<Arc<Pod>>,
}

/// `pods` by phase, the least important first. Those below the first phase end with it. Phases without Pods are left out.
pub(super) fn groups(phases: &[ShutdownPhase], pods: Vec<Arc<Pod>>) -> Vec<Group> {
    let mut phases = phases.to_vec();
    phases.sort_by_key(|phase| phase.priority);
    let mut groups: Vec<Group> = phases.iter().map(|phase| Group { grace: phase.grace, pods: Vec::new() }).collect();
    for pod in pods {
        let priority = spec::of(&pod).priority.unwrap_or(0);
        let at = phases.partition_point(|phase| phase.priority <= priority).saturating_sub(1);
        if let Some(group) = groups.get_mut(at) {
            group.pods.push(pod);
        }
    }
    groups.retain(|group| !group.pods.is_empty());
    groups
}

/// What a Pod gets in a phase of `grace`: no more than it asks for.
pub(super) fn grace_s(pod: &Pod, grace: Duration) -> i64 {
    spec::grace_s(pod).min(i64::try_from(grace.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_least_important_end_first() {
        let phases = [(2_000_000_000, 10), (0, 20), (1000, 5)];
        let phases = phases.map(|(priority, s)| ShutdownPhase { priority, grace: Duration::from_secs(s) });
        let pod = |(name, priority): (&str, Option<i32>)| {
            let pod = json!({"metadata": {"name": name}, "spec": {"containers": [], "priority": priority}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        let check = |pods: &[(&str, Option<i32>)], want: &[(u64, &[&str])]| {
            let groups = groups(&phases, pods.iter().copied().map(pod).collect());
            let got: Vec<(u64, Vec<&str>)> = groups
                .iter()
                .map(|group| (group.grace.as_secs(), group.pods.iter().map(|pod| spec::name(pod)).collect()))
                .collect();
            let want: Vec<(u64, Vec<&str>)> = want.iter().map(|(s, names)| (*s, names.to_vec())).collect();
            assert_eq!(got, want);
        };
        check(&[], &[]);
        check(&[("critical", Some(2_000_001_000)), ("plain", None)], &[(20, &["plain"]), (10, &["critical"])]);
        check(
            &[("a", Some(999)), ("b", Some(1000)), ("c", Some(-5)), ("d", Some(1_999_999_999))],
            &[(20, &["a", "c"]), (5, &["b", "d"])],
        );
    }

    #[test]
    fn nobody_gets_more_than_it_asks_for() {
        let pod = |grace: i64| -> Pod {
            serde_json::from_value(json!({"spec": {"containers": [], "terminationGracePeriodSeconds": grace}})).unwrap()
        };
        assert_eq!([grace_s(&pod(5), Duration::from_secs(20)), grace_s(&pod(60), Duration::from_secs(20))], [5, 20]);
    }
}
