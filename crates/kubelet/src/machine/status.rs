//! The status that is published for a Pod.

use k8s_openapi::api::core::v1::{ContainerStatus, HostIP, PodIP, PodStatus};

use super::conditions::{Statuses, conditions};
use super::container_status::{self, seconds};
use super::{Ending, Outcome, View, resource_status};
use crate::spec::{self, Role};

pub(super) fn status(view: &View<'_>, ending: Option<Ending>) -> PodStatus {
    let published = spec::status(view.pod);
    let of_role = |app: bool| -> Vec<ContainerStatus> {
        let chosen = spec::containers(view.pod).filter(|(role, _)| (*role == Role::App) == app);
        chosen.map(|(role, container)| container_status::status(view, role, container, ending)).collect()
    };
    let ephemeral = spec::ephemeral(view.pod);
    let ephemeral = ephemeral.map(|c| container_status::status(view, Role::Ephemeral, &c, ending)).collect();
    let (init, app) = (of_role(false), of_role(true));
    let (phase, outcome) = phase(view, ending, &app);
    let (reason, message) = reason(view, ending);
    let conditions = conditions(view, &Statuses { init: &init, app: &app, outcome });
    let pod_ips = pod_ips(view);
    let taken_at = view.memory.taken_at.unwrap_or(view.now);
    // Upstream lists these by name, and init containers as they run.
    let mut app = app;
    app.sort_by(|one, other| one.name.cmp(&other.name));
    let refused = refused(view);
    let (init, app) = if refused { (Vec::new(), Vec::new()) } else { (init, app) };
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions),
        reason,
        message,
        host_ip: view.node.ips.first().cloned(),
        host_ips: Some(view.node.ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        pod_ip: pod_ips.first().cloned(),
        pod_ips: Some(pod_ips.into_iter().map(|ip| PodIP { ip }).collect()).filter(|ips: &Vec<PodIP>| !ips.is_empty()),
        start_time: Some(published.start_time.clone().unwrap_or_else(|| seconds(taken_at))),
        qos_class: Some(spec::qos_class(view.pod).to_owned()),
        init_container_statuses: Some(init).filter(|statuses| !statuses.is_empty()),
        container_statuses: Some(app).filter(|_| !refused),
        ephemeral_container_statuses: Some(ephemeral).filter(|statuses: &Vec<_>| !statuses.is_empty()),
        allocated_resources: resource_status::allocated(view).filter(|_| !refused),
        resources: (!refused).then(|| resource_status::of_pod(view, phase == "Running")),
        observed_generation: view.pod.metadata.generation,
        ..published.clone()
    }
}

/// Whether the Pod is one that was not taken: nothing is ever told of its containers.
fn refused(view: &View<'_>) -> bool {
    let published = spec::status(view.pod);
    let was = published.phase.as_deref() == Some("Failed") && published.container_statuses.is_none();
    (view.memory.rejected.is_some() || was) && view.seen.containers.is_empty()
}

/// The Pod's addresses: the sandbox's, the node's if it shares the network, the last known ones once it is over.
fn pod_ips(view: &View<'_>) -> Vec<String> {
    let sandbox = view.seen.sandboxes.first();
    if spec::host_network(view.pod) {
        return if sandbox.is_some() { view.node.ips.clone() } else { Vec::new() };
    }
    match sandbox {
        Some(sandbox) if sandbox.ready && !sandbox.ips.is_empty() => sandbox.ips.clone(),
        _ => spec::status(view.pod).pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect(),
    }
}

fn phase(view: &View<'_>, ending: Option<Ending>, app: &[ContainerStatus]) -> (&'static str, Option<Outcome>) {
    let outcome = outcome(view, ending, app);
    let phase = match outcome {
        Some(Outcome::Succeeded) => "Succeeded",
        Some(Outcome::Failed) => "Failed",
        None if began(app) => "Running",
        None => "Pending",
    };
    (phase, outcome)
}

/// How the Pod ended, once nothing of it runs any more.
fn outcome(view: &View<'_>, ending: Option<Ending>, app: &[ContainerStatus]) -> Option<Outcome> {
    if view.seen.containers.iter().any(crate::seen::Instance::alive) {
        return None;
    }
    match ending? {
        Ending::Finished(outcome) => Some(outcome),
        Ending::PastDeadline | Ending::Rejected | Ending::Cut => Some(Outcome::Failed),
        Ending::Deleted => match spec::status(view.pod).phase.as_deref() {
            Some("Succeeded") => Some(Outcome::Succeeded),
            Some("Failed") => Some(Outcome::Failed),
            _ => exits(app),
        },
    }
}

/// How a Pod that was told to end has ended; nothing if a container never ran.
fn exits(app: &[ContainerStatus]) -> Option<Outcome> {
    let exit = |status: &ContainerStatus| Some(status.state.as_ref()?.terminated.as_ref()?.exit_code);
    let codes: Vec<i32> = app.iter().map(exit).collect::<Option<_>>()?;
    Some(if codes.iter().all(|code| *code == 0) { Outcome::Succeeded } else { Outcome::Failed })
}

/// Whether every app container has run at least once.
fn began(app: &[ContainerStatus]) -> bool {
    let has_run = |status: &ContainerStatus| {
        let ended_before = status.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
        let now = status.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some());
        now || ended_before
    };
    app.iter().all(has_run)
}

fn reason(view: &View<'_>, ending: Option<Ending>) -> (Option<String>, Option<String>) {
    if let Some((reason, message)) = &view.memory.rejected {
        return (Some(reason.clone()), Some(message.clone()));
    }
    if let Some(cut) = &view.memory.cut {
        return (Some(cut.reason.clone()), Some(cut.message.clone()));
    }
    if ending == Some(Ending::PastDeadline) {
        let message = "Pod was active on the node longer than the specified deadline";
        return (Some("DeadlineExceeded".to_owned()), Some(message.to_owned()));
    }
    let published = spec::status(view.pod);
    (published.reason.clone(), published.message.clone())
}
