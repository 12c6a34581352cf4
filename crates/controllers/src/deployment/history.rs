//! Revisions: each template that was ever current has a number, and the last few can be gone back to.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt;

use super::plan::{Action, Annotations, DESIRED, MAX, Sets, replicas};

/// The annotation with the revision of a ReplicaSet and, on the Deployment, the current one.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// The revisions a ReplicaSet had before it became current again.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// What a Deployment's annotations say about the Deployment alone.
const NOT_INHERITED: [&str; 5] =
    ["kubectl.kubernetes.io/last-applied-configuration", REVISION, REVISION_HISTORY, DESIRED, MAX];

fn revision(set: &ReplicaSet) -> i64 {
    set.annotations().get(REVISION).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The revision after all that the old sets had.
pub(super) fn next(sets: &Sets) -> i64 {
    sets.old.iter().map(|set| revision(set)).max().unwrap_or_default() + 1
}

/// The Deployment's annotations that its sets carry too.
pub(super) fn inherited(deployment: &Deployment) -> Annotations {
    let own = |key: &str| NOT_INHERITED.contains(&key);
    deployment.annotations().iter().filter(|(key, _)| !own(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// Gives the current set its revision if another was current in between, and the Deployment the same.
pub(super) fn revisions(deployment: &Deployment, sets: &Sets) -> Vec<Action> {
    let mut actions = Vec::new();
    let Some(new) = &sets.new else { return actions };
    let wanted = next(sets).max(revision(new));
    let mut changed: Annotations = inherited(deployment);
    changed.retain(|key, value| new.annotations().get(key) != Some(value));
    if revision(new) < wanted {
        changed.insert(REVISION.to_owned(), wanted.to_string());
        if let Some(before) = new.annotations().get(REVISION) {
            let history = match new.annotations().get(REVISION_HISTORY) {
                Some(earlier) if !earlier.is_empty() => format!("{earlier},{before}"),
                _ => before.clone(),
            };
            changed.insert(REVISION_HISTORY.to_owned(), history);
        }
    }
    if !changed.is_empty() {
        actions.push(Action::Annotate { set: Arc::clone(new), annotations: changed });
    }
    if deployment.annotations().get(REVISION) != Some(&wanted.to_string()) {
        actions.push(Action::AnnotateDeployment(Annotations::from([(REVISION.to_owned(), wanted.to_string())])));
    }
    actions
}

/// Deletes the oldest sets beyond the limit, once nothing of them runs.
pub(super) fn forget(deployment: &Deployment, sets: &Sets) -> Vec<Action> {
    let limit = deployment.spec.revision_history_limit.unwrap_or(10);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let unused = |set: &&Arc<ReplicaSet>| {
        let status = set.status.as_ref();
        replicas(set) == 0
            && set.metadata.deletion_timestamp.is_none()
            && status.is_some_and(|s| s.replicas == 0 && s.observed_generation >= set.metadata.generation)
    };
    let alive = sets.old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).count();
    let mut candidates: Vec<_> = sets.old.iter().filter(unused).cloned().collect();
    candidates.sort_by_key(|set| revision(set));
    candidates.into_iter().take(alive.saturating_sub(limit)).map(Action::Delete).collect()
}
