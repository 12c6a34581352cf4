//! The second half of the machine: bring a Pod to its end and clean up after it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};

use super::{Action, Ending, Outcome, Slot, Steps, View, restart, restart_all, run, status_patch};
use crate::seen::Instance;
use crate::spec::{self, Role};

/// What a sidecar gets at least, when the others have used up the Pod's grace.
const LEAST_GRACE_S: i64 = 2;

/// Whether and why the Pod is on its way out.
pub(super) fn ending(view: &View<'_>) -> Option<Ending> {
    if view.removed || view.pod.metadata.deletion_timestamp.is_some() {
        return Some(Ending::Deleted);
    }
    match spec::status(view.pod).phase.as_deref() {
        Some("Succeeded") => return Some(Ending::Finished(Outcome::Succeeded)),
        Some("Failed") => return Some(Ending::Finished(Outcome::Failed)),
        _ => {}
    }
    if view.memory.rejected.is_some() {
        return Some(Ending::Rejected);
    }
    if view.memory.cut.is_some() {
        return Some(Ending::Cut);
    }
    if is_past_deadline(view) {
        return Some(Ending::PastDeadline);
    }
    outcome(view).map(Ending::Finished)
}

/// Whether the Pod is ended from outside, whatever its containers do.
pub(super) fn is_ended_by_others(view: &View<'_>) -> bool {
    let is_deleted = view.removed || view.pod.metadata.deletion_timestamp.is_some();
    is_deleted || view.memory.cut.is_some() || is_past_deadline(view)
}

fn is_past_deadline(view: &View<'_>) -> bool {
    deadline(view.pod).is_some_and(|deadline| deadline <= view.now)
}

/// When `activeDeadlineSeconds` have passed since the Pod's start.
pub(super) fn deadline(pod: &Pod) -> Option<Timestamp> {
    let allowed = SignedDuration::from_secs(spec::of(pod).active_deadline_seconds?);
    spec::status(pod).start_time.as_ref()?.0.checked_add(allowed).ok()
}

/// How the Pod ended, if no container of it will run again.
fn outcome(view: &View<'_>) -> Option<Outcome> {
    let ends = |role: Role| {
        let of_role = spec::containers(view.pod).filter(move |(of, _)| *of == role);
        of_role.map(move |(_, container)| for_good(view, role, container))
    };
    if ends(Role::Init).flatten().any(|code| code != 0) {
        return Some(Outcome::Failed);
    }
    let codes: Vec<i32> = ends(Role::App).collect::<Option<_>>()?;
    Some(if codes.iter().all(|code| *code == 0) { Outcome::Succeeded } else { Outcome::Failed })
}

/// The exit code of a container that has ended and is not started again.
fn for_good(view: &View<'_>, role: Role, container: &Container) -> Option<i32> {
    let idle = !view.starting(&container.name);
    let newest = view.seen.newest(&container.name).filter(|newest| idle && restart_all::is_current(view, newest));
    let exit = newest.and_then(Instance::exit)?;
    (!restart::wanted(view.pod, role, container, exit)).then_some(exit.code)
}

pub(super) fn steps(view: &View<'_>, ending: Ending, status: &PodStatus, steps: &mut Steps) {
    if !stop_containers(view, steps) || !stop_sandboxes(view, steps) {
        return;
    }
    if !view.memory.volumes_released {
        if !view.busy(&Slot::Volumes) && view.may_try(&Slot::Volumes, steps) {
            steps.push(Action::Release { everything: false });
        }
        return;
    }
    if ending != Ending::Deleted {
        return;
    }
    if view.removed {
        clean_up(view, steps);
    } else if status_patch(view.pod, status).is_none() && !view.busy(&Slot::Api) && view.may_try(&Slot::Api, steps) {
        steps.push(Action::DeleteFromApi);
    }
}

/// Whether no container runs and none is being started; kills what does, sidecars after all others and in reverse.
fn stop_containers(view: &View<'_>, steps: &mut Steps) -> bool {
    let is_sidecar = |name: &str| spec::container(view.pod, name).is_some_and(|(role, _)| role == Role::Sidecar);
    let alive: Vec<&Instance> = view.seen.containers.iter().filter(|c| c.alive()).collect();
    let (sidecars, others): (Vec<&Instance>, Vec<&Instance>) = alive.iter().partition(|c| is_sidecar(&c.name));
    for instance in &others {
        run::kill(view, instance, &stopping(&instance.name), grace_s(view), steps);
    }
    if others.is_empty() {
        let order = |c: &Instance| spec::containers(view.pod).position(|(_, spec)| spec.name == c.name);
        if let Some(last) = sidecars.iter().max_by_key(|c| order(c)) {
            // Another kill takes the place of one under way only if the whole grace has become shorter.
            let under_way = view.busy(&Slot::Instance(last.id.clone()));
            let grace_s = if under_way { grace_s(view) } else { remaining_grace_s(view) };
            run::kill(view, last, &stopping(&last.name), grace_s, steps);
        }
    }
    alive.is_empty() && !view.memory.busy.keys().any(|slot| matches!(slot, Slot::Container(_)))
}

/// The grace of the Pod: a cut's own, else what the Pod says.
pub(super) fn grace_s(view: &View<'_>) -> i64 {
    let cut = view.memory.cut.as_ref().filter(|_| view.pod.metadata.deletion_timestamp.is_none());
    cut.map_or_else(|| spec::grace_s(view.pod), |cut| cut.grace_s.max(1))
}

fn stopping(name: &str) -> String {
    format!("Stopping container {name}")
}

/// What is left of the grace when it is a sidecar's turn. The API server says when a deletion's ends; any other began when
/// the Pod was first seen on its way out.
fn remaining_grace_s(view: &View<'_>) -> i64 {
    let grace = grace_s(view);
    let left = match (view.pod.metadata.deletion_timestamp.as_ref(), view.memory.grace) {
        (Some(deadline), _) => deadline.0.duration_since(view.now).as_secs(),
        (None, Some((known, since))) if known == grace => grace - view.now.duration_since(since).as_secs(),
        (None, _) => grace,
    };
    left.clamp(LEAST_GRACE_S.min(grace), grace)
}

/// Whether no sandbox is up; stops those that are.
fn stop_sandboxes(view: &View<'_>, steps: &mut Steps) -> bool {
    if view.busy(&Slot::Sandbox) {
        return false;
    }
    let up: Vec<_> = view.seen.sandboxes.iter().filter(|sandbox| sandbox.ready).collect();
    if let Some(sandbox) = up.first()
        && view.may_try(&Slot::Sandbox, steps)
    {
        steps.push(Action::StopSandbox { id: sandbox.id.clone() });
    }
    up.is_empty()
}

/// Removes what the runtime and the disk still have of a Pod that the API server has no more.
fn clean_up(view: &View<'_>, steps: &mut Steps) {
    for instance in &view.seen.containers {
        run::remove(view, instance, steps);
    }
    if !view.seen.containers.is_empty() {
        return;
    }
    if let Some(sandbox) = view.seen.sandboxes.first() {
        if !view.busy(&Slot::Sandbox) && view.may_try(&Slot::Sandbox, steps) {
            steps.push(Action::RemoveSandbox { id: sandbox.id.clone() });
        }
    } else if !view.memory.all_released && !view.busy(&Slot::Volumes) && view.may_try(&Slot::Volumes, steps) {
        steps.push(Action::Release { everything: true });
    }
}

/// Whether neither the runtime nor the disk has anything of the Pod.
pub(super) fn nothing_left(view: &View<'_>) -> bool {
    let seen = view.seen;
    seen.containers.is_empty() && seen.sandboxes.is_empty() && view.memory.all_released && view.memory.busy.is_empty()
}
