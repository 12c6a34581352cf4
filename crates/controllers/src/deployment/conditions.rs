//! The status of a Deployment: counts, and the conditions `Available`, `Progressing` and `ReplicaFailure`.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::plan::{Action, Seen, Sets, replicas, wanted};
use super::rollout;

/// The deadline that means "none".
const NO_DEADLINE: i32 = i32::MAX;

/// The status, and when it will change by the passing of time alone.
pub(super) fn status(seen: &Seen<'_>, sets: &Sets, actions: &[Action]) -> (DeploymentStatus, Option<Duration>) {
    let mut status = counts(seen.deployment, sets);
    let mut conditions = seen.deployment.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    set(&mut conditions, available(seen, &status));
    if let Some(progress) = progress(seen, sets, &status, actions) {
        set(&mut conditions, progress);
    }
    let wake = deadline_in(seen, &conditions);
    match failure(seen, sets) {
        Some(failure) => set(&mut conditions, failure),
        None => conditions.retain(|condition| condition.type_.as_deref() != Some("ReplicaFailure")),
    }
    status.conditions = Some(conditions);
    (status, wake)
}

fn counts(deployment: &Deployment, sets: &Sets) -> DeploymentStatus {
    let sum = |count: fn(&ReplicaSet) -> i32| sets.all().map(|set| count(set)).sum::<i32>();
    let total = sum(|set| set.status.as_ref().map_or(0, |status| status.replicas));
    let available = sum(|set| set.status.as_ref().and_then(|s| s.available_replicas).unwrap_or_default());
    let ready = sum(|set| set.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or_default());
    let terminating = sum(|set| set.status.as_ref().and_then(|s| s.terminating_replicas).unwrap_or_default());
    let updated = sets.new.as_ref().and_then(|set| set.status.as_ref()).map_or(0, |status| status.replicas);
    let some = |count: i32| Some(count).filter(|count| *count != 0);
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(total),
        updated_replicas: some(updated),
        ready_replicas: some(ready),
        available_replicas: some(available),
        unavailable_replicas: some((sum(replicas) - available).max(0)),
        terminating_replicas: Some(terminating),
        collision_count: deployment.status.as_ref().and_then(|status| status.collision_count),
        conditions: None,
    }
}

/// A condition as it is decided now.
struct Verdict {
    type_: &'static str,
    holds: bool,
    reason: String,
    message: String,
    /// The same words count as news: each sign of progress begins the deadline anew.
    renewed: bool,
    now: jiff::Timestamp,
}

fn set(conditions: &mut Vec<DeploymentCondition>, verdict: Verdict) {
    let status = if verdict.holds { "True" } else { "False" };
    let now = Some(Time(verdict.now));
    let before = conditions.iter().find(|c| c.type_.as_deref() == Some(verdict.type_)).cloned();
    if let Some(before) = &before
        && !verdict.renewed
        && before.status.as_deref() == Some(status)
        && before.reason.as_ref() == Some(&verdict.reason)
        && before.message.as_ref() == Some(&verdict.message)
    {
        return;
    }
    let same_status = before.filter(|before| before.status.as_deref() == Some(status));
    conditions.retain(|condition| condition.type_.as_deref() != Some(verdict.type_));
    conditions.push(DeploymentCondition {
        type_: Some(verdict.type_.to_owned()),
        status: Some(status.to_owned()),
        reason: Some(verdict.reason),
        message: Some(verdict.message),
        last_update_time: now.clone(),
        last_transition_time: same_status.map_or(now, |before| before.last_transition_time),
    });
}

fn available(seen: &Seen<'_>, status: &DeploymentStatus) -> Verdict {
    let minimum = wanted(seen.deployment) - rollout::max_unavailable(seen.deployment);
    let holds = status.available_replicas.unwrap_or_default() >= minimum;
    let (reason, does) =
        if holds { ("MinimumReplicasAvailable", "has") } else { ("MinimumReplicasUnavailable", "does not have") };
    Verdict {
        type_: "Available",
        holds,
        reason: reason.to_owned(),
        message: format!("Deployment {does} minimum availability."),
        renewed: false,
        now: seen.now,
    }
}

fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let total = wanted(deployment);
    [status.updated_replicas, status.replicas, status.available_replicas].iter().all(|n| n.unwrap_or_default() == total)
}

/// Whether the counts are nearer to the end than those written last.
fn has_progressed(deployment: &Deployment, now: &DeploymentStatus) -> bool {
    let none = DeploymentStatus::default();
    let before = deployment.status.as_ref().unwrap_or(&none);
    let old =
        |status: &DeploymentStatus| status.replicas.unwrap_or_default() - status.updated_replicas.unwrap_or_default();
    now.updated_replicas > before.updated_replicas
        || old(now) < old(before)
        || now.ready_replicas > before.ready_replicas
        || now.available_replicas > before.available_replicas
}

fn progress(seen: &Seen<'_>, sets: &Sets, status: &DeploymentStatus, actions: &[Action]) -> Option<Verdict> {
    let deployment = seen.deployment;
    let spec = &deployment.spec;
    if spec.progress_deadline_seconds == Some(NO_DEADLINE) {
        return None;
    }
    let verdict = |holds: bool, reason: &str, message: String| {
        Some(Verdict { type_: "Progressing", holds, reason: reason.to_owned(), message, renewed: false, now: seen.now })
    };
    let created = actions.iter().find_map(|action| match action {
        Action::Create(set) => Some(set.name_any()),
        _ => None,
    });
    if let Some(name) = created {
        return verdict(true, "NewReplicaSetCreated", format!("Created new replica set \"{name}\""));
    }
    let subject = sets.new.as_ref().map_or_else(
        || format!("Deployment \"{}\"", deployment.name_any()),
        |set| format!("ReplicaSet \"{}\"", set.name_any()),
    );
    let before = condition(deployment);
    if spec.paused == Some(true) {
        return verdict(true, "DeploymentPaused", "Deployment is paused".to_owned());
    }
    if is_complete(deployment, status) {
        return verdict(true, "NewReplicaSetAvailable", format!("{subject} has successfully progressed."));
    }
    // A finished rollout stays finished when a Pod is lost later: only a new template begins another.
    if before.is_some_and(|c| c.reason.as_deref() == Some("NewReplicaSetAvailable")) && !is_new(deployment) {
        return None;
    }
    if has_progressed(deployment, status) || before.is_none() {
        let news = verdict(true, "ReplicaSetUpdated", format!("{subject} is progressing."));
        return news.map(|news| Verdict { renewed: true, ..news });
    }
    let late = before.is_some_and(|c| overdue(seen, c));
    if late {
        verdict(false, "ProgressDeadlineExceeded", format!("{subject} has timed out progressing."))
    } else {
        None
    }
}

fn is_new(deployment: &Deployment) -> bool {
    deployment.status.as_ref().and_then(|status| status.observed_generation) != deployment.metadata.generation
}

fn condition(deployment: &Deployment) -> Option<&DeploymentCondition> {
    deployment
        .status
        .as_ref()?
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_.as_deref() == Some("Progressing"))
}

fn deadline(seen: &Seen<'_>, since: jiff::Timestamp) -> Option<jiff::Timestamp> {
    let seconds = seen.deployment.spec.progress_deadline_seconds?;
    Some(since + SignedDuration::from_secs(seconds.into()))
}

fn overdue(seen: &Seen<'_>, before: &DeploymentCondition) -> bool {
    let since = before.last_update_time.as_ref().map(|time| time.0);
    since.and_then(|since| deadline(seen, since)).is_some_and(|deadline| deadline <= seen.now)
}

/// How long until an unfinished rollout is late.
fn deadline_in(seen: &Seen<'_>, conditions: &[DeploymentCondition]) -> Option<Duration> {
    let progress = conditions.iter().find(|condition| {
        condition.type_.as_deref() == Some("Progressing") && condition.status.as_deref() == Some("True")
    })?;
    if matches!(progress.reason.as_deref(), Some("NewReplicaSetAvailable" | "DeploymentPaused")) {
        return None;
    }
    let deadline = deadline(seen, progress.last_update_time.as_ref()?.0)?;
    (deadline.duration_since(seen.now) + SignedDuration::from_secs(1)).try_into().ok()
}

fn failure(seen: &Seen<'_>, sets: &Sets) -> Option<Verdict> {
    let failing = |set: &Arc<ReplicaSet>| {
        let conditions = set.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        conditions.into_iter().find(|condition| condition.type_.as_deref() == Some("ReplicaFailure"))
    };
    let found = sets.new.iter().chain(&sets.old).find_map(failing)?;
    Some(Verdict {
        type_: "ReplicaFailure",
        holds: found.status.as_deref() == Some("True"),
        reason: found.reason.unwrap_or_default(),
        message: found.message.unwrap_or_default(),
        renewed: false,
        now: seen.now,
    })
}
