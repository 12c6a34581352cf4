//! The first half of the machine: bring a Pod to life and keep it there.

use k8s_openapi::api::core::v1::Container;

use super::{Action, Kill, Slot, Start, Steps, View, Work, next_delay_s, probing, resize, restart, restart_all};
use crate::config::labels;
use crate::seen::{Instance, Sandbox, State};
use crate::spec::{self, Role};
use jiff::{SignedDuration, Timestamp};

/// The longest wait between two sandboxes of a Pod whose sandboxes die.
const LONGEST_SANDBOX_WAIT_S: i64 = 60;

pub(super) fn steps(view: &View<'_>, steps: &mut Steps) {
    if !volumes(view, steps) {
        return;
    }
    kill_strays(view, steps);
    let Some(sandbox) = view.seen.ready_sandbox() else {
        create_sandbox(view, steps);
        return;
    };
    ephemeral_containers(view, sandbox, steps);
    if !restart_all::steps(view, steps) {
        return;
    }
    resize::group(view, steps);
    if init_containers(view, sandbox, steps) {
        for container in &spec::of(view.pod).containers {
            keep_running(view, Role::App, container, sandbox, steps);
        }
    }
}

/// Whether volumes are there; asks for them if they are missing or out of date.
fn volumes(view: &View<'_>, steps: &mut Steps) -> bool {
    let memory = view.memory;
    let renew = memory.volumes_renew_at.is_some_and(|at| at <= view.now);
    if let Some(at) = memory.volumes_renew_at {
        steps.wake_at(at, view.now);
    }
    let wanted = !memory.volumes_ready || memory.volumes_stale || renew;
    if wanted && !view.busy(&Slot::Volumes) && view.may_try(&Slot::Volumes, steps) {
        steps.push(Action::SetUpVolumes);
    }
    memory.volumes_ready
}

/// Kills containers outside of the sandbox that is used, and stops other sandboxes.
fn kill_strays(view: &View<'_>, steps: &mut Steps) {
    let used = view.seen.ready_sandbox().map(|sandbox| sandbox.id.as_str());
    for stray in view.seen.containers.iter().filter(|c| c.alive() && Some(c.sandbox.as_str()) != used) {
        kill(view, stray, &format!("Stopping container {}", stray.name), spec::grace_s(view.pod), steps);
    }
    for old in view.seen.sandboxes.iter().filter(|s| s.ready && Some(s.id.as_str()) != used) {
        if !view.busy(&Slot::Sandbox) {
            steps.push(Action::StopSandbox { id: old.id.clone() });
        }
    }
}

fn create_sandbox(view: &View<'_>, steps: &mut Steps) {
    let strays = view.seen.containers.iter().any(Instance::alive);
    if strays || view.busy(&Slot::Sandbox) || !view.may_try(&Slot::Sandbox, steps) {
        return;
    }
    let attempt = match view.seen.sandboxes.first() {
        None => 0,
        Some(last) => {
            let wait = (1i64 << last.attempt.min(10)).min(LONGEST_SANDBOX_WAIT_S);
            let due = last.created_at.checked_add(SignedDuration::from_secs(wait)).unwrap_or(Timestamp::MIN);
            if due > view.now {
                steps.wake_at(due, view.now);
                return;
            }
            last.attempt + 1
        }
    };
    steps.push(Action::CreateSandbox { attempt });
}

/// Starts ephemeral containers, each once, whatever the others do: they are there to find out what is wrong.
fn ephemeral_containers(view: &View<'_>, sandbox: &Sandbox, steps: &mut Steps) {
    let published = spec::status(view.pod).ephemeral_container_statuses.as_deref().unwrap_or_default();
    for container in spec::ephemeral(view.pod).filter(|container| !view.starting(&container.name)) {
        match view.seen.newest(&container.name) {
            Some(made) if made.state == State::Created => remove(view, made, steps),
            Some(_) => {}
            None if published.iter().any(|known| known.name == container.name && known.container_id.is_some()) => {}
            None => start(view, &container, sandbox, steps),
        }
    }
}

/// Takes the init containers forward; whether all of them have done their part.
fn init_containers(view: &View<'_>, sandbox: &Sandbox, steps: &mut Steps) -> bool {
    let initialized = initialized(view, sandbox);
    for (role, container) in spec::containers(view.pod).filter(|(role, _)| *role != Role::App) {
        let instance = newest_in(view, sandbox, &container.name);
        let done = match role {
            Role::Sidecar => {
                keep_running(view, role, container, sandbox, steps);
                instance.is_some_and(|instance| probing::started(view, container, instance))
            }
            _ => initialized || instance.and_then(Instance::exit).is_some_and(|exit| exit.code == 0),
        };
        if !done && !initialized {
            if role == Role::Init {
                keep_running(view, role, container, sandbox, steps);
            }
            return false;
        }
    }
    true
}

/// Whether app containers have been started in `sandbox`: its init containers are not run again.
pub(super) fn initialized(view: &View<'_>, sandbox: &Sandbox) -> bool {
    let apps = &spec::of(view.pod).containers;
    apps.iter().any(|app| newest_in(view, sandbox, &app.name).is_some())
}

/// The newest container called `name` of `sandbox`, if it is of the current round.
fn newest_in<'a>(view: &View<'a>, sandbox: &Sandbox, name: &str) -> Option<&'a Instance> {
    view.seen.newest_in(&sandbox.id, name).filter(|instance| restart_all::is_current(view, instance))
}

fn keep_running(view: &View<'_>, role: Role, container: &Container, sandbox: &Sandbox, steps: &mut Steps) {
    if view.starting(&container.name) {
        return;
    }
    let Some(last) = newest_in(view, sandbox, &container.name) else {
        // What ended for good in a sandbox before this one stays ended; init containers prepare every sandbox anew.
        let before = view.seen.newest(&container.name).filter(|before| restart_all::is_current(view, before));
        let before = before.and_then(Instance::exit);
        if role == Role::App && before.is_some_and(|exit| !restart::wanted(view.pod, role, container, exit)) {
            return;
        }
        return start(view, container, sandbox, steps);
    };
    match &last.state {
        State::Running { .. } => {
            if let Some(message) = must_restart(view, role, container, last) {
                kill(view, last, &message, restart_grace_s(view, container, last), steps);
            } else {
                resize::steps(view, container, last, steps);
            }
        }
        State::Unknown => {
            let message = format!("Container {} is in unknown state, try killing it before restart", last.name);
            kill(view, last, &message, spec::grace_s(view.pod), steps);
        }
        State::Created => remove(view, last, steps),
        State::Exited(exit) if restart::wanted(view.pod, role, container, exit) => {
            let due = restart::due(last, exit);
            steps.wake_at(due, view.now);
            if due <= view.now {
                start(view, container, sandbox, steps);
            }
        }
        State::Exited(_) => {}
    }
}

fn start(view: &View<'_>, container: &Container, sandbox: &Sandbox, steps: &mut Steps) {
    if !view.may_try(&Slot::Container(container.name.clone()), steps) {
        return;
    }
    let last = view.seen.newest(&container.name);
    steps.push(Action::StartContainer(Start {
        name: container.name.clone(),
        sandbox: sandbox.id.clone(),
        attempt: last.map_or_else(|| attempt_by_status(view, &container.name), |last| last.attempt + 1),
        restart_delay_s: next_delay_s(last),
        round: restart_all::round(view),
        target: target(view, &container.name),
    }));
}

/// The running container whose processes the ephemeral container `name` wants to see.
fn target(view: &View<'_>, name: &str) -> Option<String> {
    let target = view.seen.newest(spec::target(view.pod, name)?)?;
    target.running().then(|| target.id.clone())
}

/// The runtime has no trace of the container (its data was wiped): go on counting where the status stopped.
fn attempt_by_status(view: &View<'_>, name: &str) -> u32 {
    let status = spec::status(view.pod);
    let mut known = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let known = known.find(|known| known.name == name && known.container_id.is_some());
    known.map_or(0, |known| u32::try_from(known.restart_count).unwrap_or(0) + 1)
}

/// Why a running container must be killed and started again, as its event says.
pub(super) fn must_restart(view: &View<'_>, role: Role, container: &Container, running: &Instance) -> Option<String> {
    let name = &container.name;
    if let Some(reason) = view.memory.condemned.get(&running.id) {
        return Some(reason.clone());
    }
    if role != Role::Init && !running.hash.is_empty() && running.hash != labels::hash(container) {
        return Some(format!("Container {name} definition changed, will be restarted"));
    }
    let verdict = view.verdicts.of(&running.id);
    if container.startup_probe.is_some() && verdict.startup == Some(false) {
        return Some(format!("Container {name} failed startup probe, will be restarted"));
    }
    if container.liveness_probe.is_some() && verdict.liveness == Some(false) {
        return Some(format!("Container {name} failed liveness probe, will be restarted"));
    }
    None
}

/// The grace of a kill for a failed probe is the probe's, if it has one.
fn restart_grace_s(view: &View<'_>, container: &Container, running: &Instance) -> i64 {
    let verdict = view.verdicts.of(&running.id);
    let probe = match (verdict.startup, verdict.liveness) {
        (Some(false), _) => container.startup_probe.as_ref(),
        (_, Some(false)) => container.liveness_probe.as_ref(),
        _ => None,
    };
    let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
    own.unwrap_or_else(|| spec::grace_s(view.pod)).max(1)
}

/// Kills `instance`, unless that is under way with the same or a shorter grace.
pub(super) fn kill(view: &View<'_>, instance: &Instance, message: &str, grace_s: i64, steps: &mut Steps) {
    carry_out(view, Kill::of(instance, message.to_owned(), grace_s), steps);
}

/// See [`kill`].
pub(super) fn carry_out(view: &View<'_>, kill: Kill, steps: &mut Steps) {
    let slot = Slot::Instance(kill.id.clone());
    let under_way = match view.memory.busy.get(&slot) {
        Some(Work::Kill { grace_s: running }) => *running <= kill.grace_s,
        Some(Work::Other) => true,
        None => !view.may_try(&slot, steps),
    };
    if !under_way {
        steps.push(Action::KillContainer(kill));
    }
}

/// Removes an ended or never started container.
pub(super) fn remove(view: &View<'_>, instance: &Instance, steps: &mut Steps) {
    let slot = Slot::Instance(instance.id.clone());
    if !view.busy(&slot) && !view.starting(&instance.name) && view.may_try(&slot, steps) {
        steps.push(Action::RemoveContainer { id: instance.id.clone() });
    }
}
