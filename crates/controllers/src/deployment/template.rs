//! The Pod template of a Deployment and of its ReplicaSets: equality, and the hash in their names.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

/// The label that tells the Pods of one template from those of another.
pub(super) const HASH_LABEL: &str = "pod-template-hash";
/// Letters and digits that spell no words: no vowels, and nothing that looks like another.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Whether a ReplicaSet's template is the Deployment's, apart from the hash label.
pub(super) fn equal(of_set: Option<&PodTemplateSpec>, deployment: &Deployment) -> bool {
    of_set.is_some_and(|of_set| without_hash(of_set) == without_hash(&deployment.spec.template))
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    let metadata = template.metadata.get_or_insert_default();
    if let Some(labels) = &mut metadata.labels {
        labels.remove(HASH_LABEL);
    }
    metadata.labels = metadata.labels.take().filter(|labels| !labels.is_empty());
    template
}

/// The hash of the Deployment's template, made different by its collision count.
pub(super) fn hash(deployment: &Deployment) -> String {
    let template = without_hash(&deployment.spec.template);
    // A map of sorted keys: the same template gives the same bytes.
    let canonical = serde_json::to_value(template).unwrap_or(Value::Null).to_string();
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let mut hash = fnv1a(0x811c_9dc5, canonical.as_bytes());
    if let Some(count) = collisions {
        hash = fnv1a(hash, &count.to_le_bytes());
    }
    hash.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

fn fnv1a(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The Deployment's template with the hash label.
pub(super) fn with_hash(template: &PodTemplateSpec, hash: &str) -> PodTemplateSpec {
    let mut template = template.clone();
    insert(&mut template.metadata.get_or_insert_default().labels, hash);
    template
}

/// The Deployment's selector with the hash label.
pub(super) fn selector(selector: &LabelSelector, hash: &str) -> LabelSelector {
    let mut selector = selector.clone();
    insert(&mut selector.match_labels, hash);
    selector
}

fn insert(labels: &mut Option<BTreeMap<String, String>>, hash: &str) {
    labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.to_owned());
}
