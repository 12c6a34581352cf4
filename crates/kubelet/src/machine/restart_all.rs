//! Restarting all containers of a Pod because one of them ended so that it asks for this (the rule
//! `RestartAllContainers`): the others are stopped without their hooks, and the Pod begins anew in its sandbox, init
//! containers first.
//!
//! Every container carries the round in which it was started. One that asks for a restart of all ends its round; what is
//! of a round before the current one is as good as never started.

use k8s_openapi::api::core::v1::Pod;

use super::{Kill, Slot, Steps, View, restart, run, terminate};
use crate::seen::{Exit, Instance};
use crate::spec::{self, Role};

/// Whether any container of the Pod may ask for it.
pub(super) fn possible(pod: &Pod) -> bool {
    spec::containers(pod).any(|(_, container)| {
        let rules = container.restart_policy_rules.iter().flatten();
        rules.into_iter().any(|rule| rule.action == restart::RESTART_ALL)
    })
}

/// The round that containers are started in now, from 0.
pub(super) fn round(view: &View<'_>) -> u32 {
    let after = |instance: &Instance| instance.round + u32::from(asks(view, instance).is_some());
    view.seen.containers.iter().map(after).max().unwrap_or(0)
}

/// Whether `instance` is of the current round.
pub(super) fn is_current(view: &View<'_>, instance: &Instance) -> bool {
    instance.round == round(view)
}

/// Whether a round has ended, and nothing of the next one is there yet.
pub(super) fn under_way(view: &View<'_>) -> bool {
    let round = round(view);
    round > 0 && !of_pod(view).any(|instance| instance.round == round)
}

/// All but ephemeral containers, which are in no round.
fn of_pod<'a>(view: &View<'a>) -> impl Iterator<Item = &'a Instance> {
    let pod = view.pod;
    view.seen.containers.iter().filter(|instance| spec::containers(pod).any(|(_, own)| own.name == instance.name))
}

/// Brings the round before to its end; whether containers of the current one may be started.
pub(super) fn steps(view: &View<'_>, steps: &mut Steps) -> bool {
    let round = round(view);
    if round == 0 {
        return true;
    }
    let before = || of_pod(view).filter(|instance| instance.round < round);
    for running in before().filter(|instance| instance.alive()) {
        let message = format!("Stopping container {}: all containers of the Pod are restarted", running.name);
        let kill = Kill { pre_stop: false, ..Kill::of(running, message, spec::grace_s(view.pod)) };
        run::carry_out(view, kill, steps);
    }
    if before().any(Instance::alive) {
        return false;
    }
    // What is being started now may be of the round before.
    if under_way(view) && view.memory.busy.keys().any(|slot| matches!(slot, Slot::Container(_))) {
        return false;
    }
    let due = before().filter_map(|last| Some(restart::due(last, asks(view, last)?))).max();
    due.is_none_or(|due| {
        steps.wake_at(due, view.now);
        due <= view.now
    })
}

/// How `instance` ended, if it asks for a restart of all. In a Pod that is on its way out nobody does.
fn asks<'a>(view: &View<'_>, instance: &'a Instance) -> Option<&'a Exit> {
    if terminate::is_ended_by_others(view) {
        return None;
    }
    let exit = instance.exit()?;
    let (role, container) = spec::container(view.pod, &instance.name)?;
    (role != Role::Ephemeral && restart::rule(&container, exit.code) == Some(restart::RESTART_ALL)).then_some(exit)
}
