//! What a Deployment wants done: a pure function of it, its ReplicaSets and their Pods.
//!
//! ```text
//! being deleted ─> only the status
//! new template  ─> create its ReplicaSet (or find the old one that has it), with the next revision
//! paused        ─> only scaling
//! scaled        ─> spread the change over the ReplicaSets
//! otherwise     ─> one step of the rollout; then, when it is complete, forget old revisions
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::{conditions, history, rollout, template};
use crate::owners;

/// Annotations to write.
pub(super) type Annotations = BTreeMap<String, String>;

/// How many replicas the Deployment wanted when the set was last scaled.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// How many replicas it may have at most, surge included.
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// What the plan is made from.
pub(super) struct Seen<'a> {
    pub(super) deployment: &'a Deployment,
    /// The Deployment's sets.
    pub(super) sets: &'a [Arc<ReplicaSet>],
    /// Their Pods that have not ended.
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) now: Timestamp,
}

/// One write.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Create(Box<ReplicaSet>),
    Scale { set: Arc<ReplicaSet>, to: i32, annotations: Annotations },
    Annotate { set: Arc<ReplicaSet>, annotations: Annotations },
    AnnotateDeployment(Annotations),
    Delete(Arc<ReplicaSet>),
}

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    pub(super) status: DeploymentStatus,
    /// When to look again: a rollout that makes no progress fails by the passing of time alone.
    pub(super) wake: Option<Duration>,
}

/// The Deployment's sets, told apart.
pub(super) struct Sets {
    /// The set of the current template.
    pub(super) new: Option<Arc<ReplicaSet>>,
    /// The others, oldest first.
    pub(super) old: Vec<Arc<ReplicaSet>>,
}

impl Sets {
    fn sort(seen: &Seen<'_>) -> Self {
        let mut old: Vec<_> = seen.sets.to_vec();
        old.sort_by_key(|set| (set.metadata.creation_timestamp.as_ref().map(|time| time.0), set.name_any()));
        let current = |set: &Arc<ReplicaSet>| template::equal(set.spec.template.as_ref(), seen.deployment);
        let new = old.iter().position(current).map(|at| old.remove(at));
        Self { new, old }
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new)
    }
}

/// How many replicas a set is to have.
pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

/// How many replicas the Deployment is to have.
pub(super) fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.replicas.unwrap_or(1)
}

/// Decides what is to be done.
pub(super) fn plan(seen: &Seen<'_>) -> Plan {
    let sets = Sets::sort(seen);
    let actions = actions(seen, &sets);
    let (status, wake) = conditions::status(seen, &sets, &actions);
    Plan { actions, status, wake }
}

fn actions(seen: &Seen<'_>, sets: &Sets) -> Vec<Action> {
    let deployment = seen.deployment;
    let spec = &deployment.spec;
    if deployment.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let paused = spec.paused == Some(true);
    let mut actions = history::revisions(deployment, sets);
    // That write changes the set's version: what else is to be done to it is decided on the next look.
    if actions.iter().any(|action| matches!(action, Action::Annotate { .. })) {
        return actions;
    }
    if paused || rollout::was_scaled(deployment, sets) {
        actions.extend(rollout::spread(deployment, sets));
        return actions;
    }
    let recreate = spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate");
    let steps = if recreate { rollout::recreate(seen, sets) } else { rollout::rolling(seen, sets) };
    let idle = steps.is_empty();
    actions.extend(steps);
    if idle {
        actions.extend(history::forget(deployment, sets));
    }
    actions
}

/// The set of the current template, to be created with so many replicas.
pub(super) fn new_set(deployment: &Deployment, sets: &Sets, replicas: i32) -> Option<ReplicaSet> {
    let spec = &deployment.spec;
    let hash = template::hash(deployment);
    let pod_template = template::with_hash(&spec.template, &hash);
    let mut annotations = history::inherited(deployment);
    annotations.insert(history::REVISION.to_owned(), history::next(sets).to_string());
    annotations.extend(rollout::size_annotations(deployment));
    Some(ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            namespace: deployment.namespace(),
            labels: pod_template.metadata.as_ref().and_then(|meta| meta.labels.clone()),
            annotations: Some(annotations),
            owner_references: Some(vec![owners::reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            min_ready_seconds: spec.min_ready_seconds,
            replicas: Some(replicas),
            selector: template::selector(&spec.selector, &hash),
            template: Some(pod_template),
        },
        status: None,
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
