//! A Pod as the scheduler sees it: everything that decisions need, worked out once when the Pod arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, PodSpec, WeightedPodAffinityTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use sampan_api::placement::{HostPort, host_ports};
use sampan_api::selector::Selector;
use sampan_client::Key;

use crate::resources::{Resources, Unasked};

/// The labels of an object.
pub(crate) type Labels = BTreeMap<String, String>;

/// Labels of an object that has none.
pub(crate) static NO_LABELS: Labels = BTreeMap::new();

/// A Pod with what follows from its specification.
#[derive(Debug)]
pub struct PodInfo {
    pub(crate) pod: Arc<Pod>,
    pub(crate) key: Key,
    pub(crate) uid: String,
    /// Its node; empty while it has none.
    pub(crate) node: String,
    pub(crate) priority: i32,
    /// What must fit.
    pub(crate) requests: Resources,
    /// What is scored: a little for containers that ask for nothing.
    pub(crate) scored: Resources,
    pub(crate) ports: Vec<HostPort>,
    /// Which Pods it wants near.
    pub(crate) affinity: Terms,
    /// Which Pods it wants away.
    pub(crate) anti_affinity: Terms,
}

/// Terms about other Pods.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    pub(crate) required: Vec<Term>,
    /// With their weights.
    pub(crate) preferred: Vec<(i64, Term)>,
}

/// Some Pods, and the node label whose value says what is near.
#[derive(Debug)]
pub(crate) struct Term {
    namespaces: BTreeSet<String>,
    namespace_selector: Selector,
    selector: Selector,
    pub(crate) topology_key: String,
}

impl PodInfo {
    /// Reads `pod`.
    pub fn new(pod: Arc<Pod>) -> Self {
        let absent = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&absent);
        let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.pod_affinity.as_ref());
        let anti_affinity = spec.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.as_ref());
        Self {
            key: Key::of(&*pod),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            node: spec.node_name.clone().unwrap_or_default(),
            priority: spec.priority.unwrap_or_default(),
            requests: Resources::of_pod(spec, Unasked::Nothing),
            scored: Resources::of_pod(spec, Unasked::Little),
            ports: host_ports(spec),
            affinity: Terms::new(
                &pod,
                affinity.and_then(|terms| terms.required_during_scheduling_ignored_during_execution.as_deref()),
                affinity.and_then(|terms| terms.preferred_during_scheduling_ignored_during_execution.as_deref()),
            ),
            anti_affinity: Terms::new(
                &pod,
                anti_affinity.and_then(|terms| terms.required_during_scheduling_ignored_during_execution.as_deref()),
                anti_affinity.and_then(|terms| terms.preferred_during_scheduling_ignored_during_execution.as_deref()),
            ),
            pod,
        }
    }

    /// Its specification.
    pub(crate) fn spec(&self) -> &PodSpec {
        static ABSENT: OnceLock<PodSpec> = OnceLock::new();
        self.pod.spec.as_ref().unwrap_or_else(|| ABSENT.get_or_init(PodSpec::default))
    }

    /// Its labels.
    pub(crate) fn labels(&self) -> &Labels {
        self.pod.metadata.labels.as_ref().unwrap_or(&NO_LABELS)
    }

    /// The node it has pushed other Pods from and waits for.
    pub(crate) fn nominated_node(&self) -> Option<&str> {
        let status = self.pod.status.as_ref()?;
        status.nominated_node_name.as_deref().filter(|name| !name.is_empty())
    }

    /// Whether it is being deleted.
    pub(crate) fn is_terminating(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Whether it says anything about other Pods.
    pub(crate) fn has_terms(&self) -> bool {
        !self.affinity.is_empty() || !self.anti_affinity.is_empty()
    }
}

impl Terms {
    fn new(pod: &Pod, required: Option<&[PodAffinityTerm]>, preferred: Option<&[WeightedPodAffinityTerm]>) -> Self {
        Self {
            required: required.into_iter().flatten().map(|term| Term::new(pod, term)).collect(),
            preferred: preferred
                .into_iter()
                .flatten()
                .map(|weighted| (i64::from(weighted.weight), Term::new(pod, &weighted.pod_affinity_term)))
                .collect(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.required.is_empty() && self.preferred.is_empty()
    }
}

impl Term {
    fn new(pod: &Pod, term: &PodAffinityTerm) -> Self {
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.extend(pod.metadata.namespace.clone());
        }
        let same = term.match_label_keys.iter().flatten().map(|key| (key, "In"));
        let different = term.mismatch_label_keys.iter().flatten().map(|key| (key, "NotIn"));
        Self {
            namespaces,
            namespace_selector: selector(term.namespace_selector.as_ref()),
            selector: selector_with_own(term.label_selector.as_ref(), pod, same.chain(different)),
            topology_key: term.topology_key.clone(),
        }
    }

    /// Whether `pod` is one of the Pods meant; `namespace` are the labels of its namespace.
    pub(crate) fn selects(&self, pod: &PodInfo, namespace: &Labels) -> bool {
        (self.namespaces.contains(&pod.key.namespace) || self.namespace_selector.matches(namespace))
            && self.selector.matches(pod.labels())
    }
}

/// Reads a selector; none selects nothing, and so does one that the API server should not have let pass.
fn selector(selector: Option<&LabelSelector>) -> Selector {
    let value = serde_json::to_value(selector).unwrap_or_default();
    Selector::from_object(&value).unwrap_or_else(|_| Selector::nothing())
}

/// Reads a selector, narrowed by the labels that `pod` itself has under the given keys.
pub(crate) fn selector_with_own<'a>(
    selector: Option<&LabelSelector>,
    pod: &Pod,
    own: impl Iterator<Item = (&'a String, &'a str)>,
) -> Selector {
    let Some(mut narrowed) = selector.cloned() else { return Selector::nothing() };
    for (key, operator) in own {
        if let Some(value) = pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)) {
            narrowed.match_expressions.get_or_insert_default().push(LabelSelectorRequirement {
                key: key.clone(),
                operator: operator.to_owned(),
                values: Some(vec![value.clone()]),
            });
        }
    }
    self::selector(Some(&narrowed))
}
