//! The conditions of a Pod: PodReadyToStartContainers, Initialized, Ready, ContainersReady, PodScheduled, and those of
//! a resize and of a restart of all containers.

use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition};

use super::{Outcome, View, container_status::seconds, resize, restart_all};
use crate::spec::{self, Role};

const RESIZE_PENDING: &str = "PodResizePending";
const ALL_RESTARTING: &str = "AllContainersRestarting";
pub(crate) const RESIZE_IN_PROGRESS: &str = "PodResizeInProgress";

/// What a condition says, without its times.
struct Verdict {
    status: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

/// The container statuses that conditions are made from.
pub(super) struct Statuses<'a> {
    pub(super) init: &'a [ContainerStatus],
    pub(super) app: &'a [ContainerStatus],
    /// How the Pod ended, if it did.
    pub(super) outcome: Option<Outcome>,
}

/// All conditions: ours, and those that others have put there.
pub(super) fn conditions(view: &View<'_>, statuses: &Statuses<'_>) -> Vec<PodCondition> {
    let containers_ready = containers_ready(view, statuses);
    let ready = ready(view, &containers_ready);
    let mut ours = vec![
        ("PodReadyToStartContainers", yes(view.seen.ready_sandbox().is_some())),
        ("Initialized", initialized(view, statuses)),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
    ];
    ours.extend(resize(view));
    ours.extend(restarting(view, statuses));
    let published = spec::status(view.pod).conditions.as_deref().unwrap_or_default();
    let mut all: Vec<PodCondition> = ours.into_iter().map(|(kind, v)| condition(view, kind, v, published)).collect();
    if !published.iter().any(|condition| condition.type_ == "PodScheduled") {
        all.push(condition(view, "PodScheduled", yes(true), published));
    }
    if let Some(cut) = view.memory.cut.as_ref().filter(|cut| cut.disrupted) {
        let verdict =
            Verdict { status: true, reason: Some("TerminationByKubelet"), message: Some(cut.message.clone()) };
        all.push(condition(view, "DisruptionTarget", verdict, published));
    }
    let gone = |kind: &str| matches!(kind, RESIZE_PENDING | RESIZE_IN_PROGRESS);
    let others = published.iter().filter(|condition| !gone(&condition.type_));
    let others = others.filter(|condition| !all.iter().any(|ours| ours.type_ == condition.type_));
    let others: Vec<PodCondition> = others.cloned().collect();
    all.extend(others);
    all
}

/// What there is to say of a resize: nothing once the Pod has what it wishes.
fn resize(view: &View<'_>) -> Vec<(&'static str, Verdict)> {
    let pending = view.memory.resize.as_ref().map(|pending| {
        let (reason, message) = (Some(pending.reason), Some(pending.message.clone()));
        (RESIZE_PENDING, Verdict { status: true, reason, message })
    });
    let under_way = resize::in_progress(view).map(|under_way| {
        let reason = under_way.error.is_some().then_some("Error");
        (RESIZE_IN_PROGRESS, Verdict { status: true, reason, message: under_way.error })
    });
    pending.into_iter().chain(under_way).collect()
}

/// Whether all containers are being restarted, if that may happen to the Pod.
fn restarting(view: &View<'_>, statuses: &Statuses<'_>) -> Option<(&'static str, Verdict)> {
    let (status, reason, message) = match statuses.outcome {
        Some(Outcome::Succeeded) => (false, Some("PodCompleted"), None),
        Some(Outcome::Failed) => (false, Some("PodFailed"), None),
        None if restart_all::under_way(view) => {
            (true, Some("RestartAllContainersStarted"), Some("container exited with restart policy rule".to_owned()))
        }
        None => (false, None, None),
    };
    restart_all::possible(view.pod).then_some((ALL_RESTARTING, Verdict { status, reason, message }))
}

fn yes(status: bool) -> Verdict {
    Verdict { status, reason: None, message: None }
}

fn condition(view: &View<'_>, kind: &str, verdict: Verdict, published: &[PodCondition]) -> PodCondition {
    let status = if verdict.status { "True" } else { "False" };
    let before = published.iter().find(|condition| condition.type_ == kind);
    let since = before.filter(|before| before.status == status).and_then(|before| before.last_transition_time.clone());
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message,
        last_probe_time: None,
        last_transition_time: Some(since.unwrap_or_else(|| seconds(view.now))),
        observed_generation: view.pod.metadata.generation,
    }
}

fn initialized(view: &View<'_>, statuses: &Statuses<'_>) -> Verdict {
    if statuses.outcome == Some(Outcome::Succeeded) {
        return Verdict { status: true, reason: Some("PodCompleted"), message: None };
    }
    let is_begun = |app: &ContainerStatus| {
        let newest = view.seen.newest(&app.name);
        app.container_id.is_some() && newest.is_none_or(|newest| restart_all::is_current(view, newest))
    };
    if statuses.app.iter().any(is_begun) {
        return yes(true);
    }
    let incomplete: Vec<&str> = statuses.init.iter().filter(|s| !init_done(view, s)).map(|s| s.name.as_str()).collect();
    match incomplete.is_empty() {
        true => yes(true),
        false => Verdict {
            status: false,
            reason: Some("ContainersNotInitialized"),
            message: Some(format!("containers with incomplete status: [{}]", incomplete.join(" "))),
        },
    }
}

fn init_done(view: &View<'_>, status: &ContainerStatus) -> bool {
    match spec::container(view.pod, &status.name) {
        Some((Role::Sidecar, _)) => status.started == Some(true),
        _ => status.ready,
    }
}

/// Whether app containers and sidecars are ready.
fn containers_ready(view: &View<'_>, statuses: &Statuses<'_>) -> Verdict {
    match statuses.outcome {
        Some(Outcome::Succeeded) => return Verdict { status: false, reason: Some("PodCompleted"), message: None },
        Some(Outcome::Failed) => return Verdict { status: false, reason: Some("PodFailed"), message: None },
        None => {}
    }
    let stays =
        |s: &&ContainerStatus| spec::container(view.pod, &s.name).is_some_and(|(role, _)| role == Role::Sidecar);
    let all = statuses.init.iter().filter(stays).chain(statuses.app);
    let unready: Vec<&str> = all.filter(|s| !s.ready).map(|s| s.name.as_str()).collect();
    match unready.is_empty() {
        true => yes(true),
        false => Verdict {
            status: false,
            reason: Some("ContainersNotReady"),
            message: Some(format!("containers with unready status: [{}]", unready.join(" "))),
        },
    }
}

/// Ready is ContainersReady and every readiness gate.
fn ready(view: &View<'_>, containers: &Verdict) -> Verdict {
    if !containers.status {
        return Verdict { status: false, reason: containers.reason, message: containers.message.clone() };
    }
    let published = spec::status(view.pod).conditions.as_deref().unwrap_or_default();
    let mut open = Vec::new();
    for gate in spec::of(view.pod).readiness_gates.iter().flatten() {
        let kind = &gate.condition_type;
        match published.iter().find(|condition| condition.type_ == *kind) {
            None => open.push(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist.")),
            Some(condition) if condition.status != "True" => {
                let status = &condition.status;
                open.push(format!("the status of pod readiness gate \"{kind}\" is not \"True\", but {status}"));
            }
            Some(_) => {}
        }
    }
    match open.is_empty() {
        true => yes(true),
        false => Verdict { status: false, reason: Some("ReadinessGatesNotReady"), message: Some(open.join(", ")) },
    }
}
