//! The kinds that keep so many Pods of one template. A ReplicationController is the ReplicaSet of former days: the same
//! rules hold for both, so it is looked at as the ReplicaSet that it would be.

use std::borrow::Cow;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    ReplicationController, ReplicationControllerCondition, ReplicationControllerSpec, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What differs between the kinds.
pub(super) trait Keeper:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// The controller's name.
    const CONTROLLER: &'static str;

    /// The object as a ReplicaSet.
    fn set(&self) -> Cow<'_, ReplicaSet>;

    /// What the kind has a place for of a status.
    fn kept(status: ReplicaSetStatus) -> ReplicaSetStatus;

    /// The object with this status.
    fn with_status(&self, status: ReplicaSetStatus) -> Self;
}

impl Keeper for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset-controller";

    fn set(&self) -> Cow<'_, ReplicaSet> {
        Cow::Borrowed(self)
    }

    fn kept(status: ReplicaSetStatus) -> ReplicaSetStatus {
        status
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        Self { status: Some(status), ..self.clone() }
    }
}

impl Keeper for ReplicationController {
    const CONTROLLER: &'static str = "replication-controller";

    fn set(&self) -> Cow<'_, ReplicaSet> {
        Cow::Owned(ReplicaSet {
            metadata: self.metadata.clone(),
            spec: self.spec.as_ref().map(spec).unwrap_or_default(),
            status: self.status.as_ref().map(status),
        })
    }

    fn kept(status: ReplicaSetStatus) -> ReplicaSetStatus {
        ReplicaSetStatus { terminating_replicas: None, ..status }
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        let conditions = status.conditions.map(|conditions| conditions.into_iter().map(former_condition).collect());
        let status = ReplicationControllerStatus {
            replicas: status.replicas,
            fully_labeled_replicas: status.fully_labeled_replicas,
            ready_replicas: status.ready_replicas,
            available_replicas: status.available_replicas,
            observed_generation: status.observed_generation,
            conditions,
        };
        Self { status: Some(status), ..self.clone() }
    }
}

fn spec(spec: &ReplicationControllerSpec) -> ReplicaSetSpec {
    ReplicaSetSpec {
        min_ready_seconds: spec.min_ready_seconds,
        replicas: spec.replicas,
        selector: LabelSelector { match_labels: spec.selector.clone(), match_expressions: None },
        template: spec.template.clone(),
    }
}

fn status(status: &ReplicationControllerStatus) -> ReplicaSetStatus {
    let conditions = status.conditions.as_ref();
    ReplicaSetStatus {
        replicas: status.replicas,
        fully_labeled_replicas: status.fully_labeled_replicas,
        ready_replicas: status.ready_replicas,
        available_replicas: status.available_replicas,
        // See `kept`.
        terminating_replicas: None,
        observed_generation: status.observed_generation,
        conditions: conditions.map(|conditions| conditions.iter().map(condition).collect()),
    }
}

fn condition(condition: &ReplicationControllerCondition) -> ReplicaSetCondition {
    ReplicaSetCondition {
        type_: Some(condition.type_.clone()),
        status: Some(condition.status.clone()),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        last_transition_time: condition.last_transition_time.clone(),
    }
}

fn former_condition(condition: ReplicaSetCondition) -> ReplicationControllerCondition {
    ReplicationControllerCondition {
        type_: condition.type_.unwrap_or_default(),
        status: condition.status.unwrap_or_default(),
        reason: condition.reason,
        message: condition.message,
        last_transition_time: condition.last_transition_time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn a_replication_controller_loses_nothing_on_its_way_through_a_set() {
        let former: ReplicationController = from_value(json!({
            "metadata": {"name": "r", "namespace": "n", "uid": "1"},
            "spec": {"replicas": 3, "minReadySeconds": 5, "selector": {"a": "b"}, "template": {"metadata": {"labels": {"a": "b"}}}},
            "status": {"replicas": 2, "readyReplicas": 1, "availableReplicas": 1, "observedGeneration": 4,
                "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "m"}]}
        }))
        .unwrap();
        let set = former.set();
        assert_eq!((set.spec.replicas, set.spec.min_ready_seconds), (Some(3), Some(5)));
        assert_eq!(set.spec.selector.match_labels, former.spec.as_ref().unwrap().selector);
        assert_eq!(former.with_status(set.status.clone().unwrap()), former);
    }

    #[test]
    fn what_is_kept_of_a_status_is_what_comes_back() {
        fn check<K: Keeper>(object: &K) {
            let known = ReplicaSetStatus { replicas: 2, terminating_replicas: Some(1), ..ReplicaSetStatus::default() };
            let written = object.with_status(known.clone());
            assert_eq!(written.set().status, Some(K::kept(known)));
        }
        check(&ReplicaSet::default());
        check(&ReplicationController::default());
    }
}
