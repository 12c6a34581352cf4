//! In-place resize: running containers, and the Pod's own group, follow the resources that the Pod has been allocated.
//!
//! What a Pod *wishes* stands in its specification; whether the node can grant it is decided where all Pods are known
//! (`crate::pods`), and the machine sees the Pod with what is granted. Here that is compared with what the kernel has.

use k8s_openapi::api::core::v1::Container;

use super::{Action, Slot, Steps, View, run};
use crate::config::resources;
use crate::seen::{Instance, Limits};
use crate::spec;

/// A wish that is not granted: why, and in how many words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// `Deferred` (other Pods have it now) or `Infeasible` (the node never has it).
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// A resize that is under way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InProgress {
    /// What went wrong with it last.
    pub(super) error: Option<String>,
}

/// Brings a running container to its resources: in place, or by a restart where its policy says so.
pub(super) fn steps(view: &View<'_>, container: &Container, running: &Instance, steps: &mut Steps) {
    let Some((has, wanted)) = difference(view, container, running) else { return };
    if needs_restart(container, &has, &wanted) {
        let message = format!("Container {} resize requires restart", container.name);
        return run::kill(view, running, &message, spec::grace_s(view.pod), steps);
    }
    let slot = Slot::Resize(running.id.clone());
    if !view.busy(&slot) && view.may_try(&slot, steps) {
        steps.push(Action::ResizeContainer { id: running.id.clone(), name: container.name.clone() });
    }
}

/// Brings the Pod's own group to what the Pod has as a whole.
pub(super) fn group(view: &View<'_>, steps: &mut Steps) {
    let wanted = resources::group(view.pod);
    let follows = spec::of(view.pod).resources.is_none() || view.memory.group == Some(wanted);
    if !follows && !view.busy(&Slot::Group) && view.may_try(&Slot::Group, steps) {
        steps.push(Action::ResizePod(wanted));
    }
}

/// What the group had before the resize of the Pod as a whole that is under way.
fn group_before(view: &View<'_>) -> Option<Limits> {
    spec::of(view.pod).resources.as_ref()?;
    view.memory.group.filter(|has| *has != resources::group(view.pod))
}

/// What the kernel has for the container and what it should have, if they differ.
fn difference(view: &View<'_>, container: &Container, running: &Instance) -> Option<(Limits, Limits)> {
    let has = running.limits.filter(|_| running.running())?;
    let mut wanted = resources::of_container(view.pod, container, &view.node.machine);
    if view.memory.own_cpus.contains(&container.name) {
        wanted.cpu_quota = resources::NO_QUOTA;
    }
    let wanted = Limits::of(&wanted);
    (has != wanted).then_some((has, wanted))
}

fn needs_restart(container: &Container, has: &Limits, wanted: &Limits) -> bool {
    let changed = |resource: &str| match resource {
        "cpu" => (has.cpu_shares, has.cpu_quota_us) != (wanted.cpu_shares, wanted.cpu_quota_us),
        "memory" => has.memory_bytes != wanted.memory_bytes,
        _ => false,
    };
    let policies = container.resize_policy.iter().flatten();
    policies.into_iter().any(|policy| policy.restart_policy == "RestartContainer" && changed(&policy.resource_name))
}

/// Whether the Pod or a running container has not what it should have.
pub(super) fn in_progress(view: &View<'_>) -> Option<InProgress> {
    let error = |slot: &Slot| view.memory.failures.get(slot).map(|failure| failure.message.clone());
    if group_before(view).is_some() {
        return Some(InProgress { error: error(&Slot::Group) });
    }
    let unequal = |container: &&Container| {
        let newest = view.seen.newest(&container.name);
        newest.is_some_and(|running| is_under_way(view, container, running))
    };
    let first = spec::containers(view.pod).map(|(_, container)| container).find(unequal)?;
    let running = view.seen.newest(&first.name);
    Some(InProgress { error: running.and_then(|running| error(&Slot::Resize(running.id.clone()))) })
}

/// Whether the running container has not what it should have.
pub(super) fn is_under_way(view: &View<'_>, container: &Container, running: &Instance) -> bool {
    difference(view, container, running).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(policy: Value, has: (i64, i64, i64), wanted: (i64, i64, i64), restart: bool) {
        let container: Container = serde_json::from_value(json!({"name": "c", "resizePolicy": policy})).unwrap();
        let limits = |(cpu_shares, cpu_quota_us, memory_bytes)| Limits { cpu_shares, cpu_quota_us, memory_bytes };
        assert_eq!(needs_restart(&container, &limits(has), &limits(wanted)), restart, "{policy}");
    }

    #[test]
    fn the_policy_of_what_changes_decides() {
        let memory = json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"},
            {"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
        check(json!(null), (1, 1, 1), (2, 2, 2), false);
        check(memory.clone(), (1, 1, 1), (2, 2, 1), false);
        check(memory.clone(), (1, 1, 1), (1, 1, 2), true);
        check(memory, (1, 1, 1), (2, 2, 2), true);
        check(json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]), (1, 1, 1), (2, 1, 1), true);
    }
}
