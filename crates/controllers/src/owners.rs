//! Who owns what: controller references, and adoption of what matches a selector and has no controller.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::Resource;
use sampan_client::Key;

/// The reference to the controller of an object, if it has one.
pub(crate) fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The key of an object's controller, if that is of `kind`.
pub(crate) fn controller_key(meta: &ObjectMeta, kind: &str) -> Option<Key> {
    let owner = controller(meta).filter(|owner| owner.kind == kind)?;
    Some(Key::new(meta.namespace.as_deref().unwrap_or_default(), &owner.name))
}

/// Whether the object of `meta` is controlled by the one with `uid`.
pub(crate) fn is_controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    controller(meta).is_some_and(|owner| owner.uid == uid)
}

/// A controller reference to `owner`, which also holds back the owner's foreground deletion.
pub(crate) fn reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference { block_owner_deletion: Some(true), ..owner.controller_owner_ref(&()).unwrap_or_default() }
}

/// What a controller does about an object that its selector concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is ours.
    Mine,
    /// It matches and has no controller: take it.
    Adopt,
    /// It is ours and no longer matches: let it go.
    Release,
    /// It does not concern us.
    Foreign,
}

/// Decides the claim of the controller `uid` with `selector` on the object of `meta`.
pub(crate) fn claim(meta: &ObjectMeta, uid: &str, owner_deleting: bool, selector: &LabelSelector) -> Claim {
    let matching = matches(selector, meta.labels.as_ref());
    match controller(meta) {
        Some(owner) if owner.uid != uid => Claim::Foreign,
        Some(_) if matching || owner_deleting => Claim::Mine,
        Some(_) => Claim::Release,
        None if matching && !owner_deleting && meta.deletion_timestamp.is_none() => Claim::Adopt,
        None => Claim::Foreign,
    }
}

/// Whether `selector` selects `labels`. An empty selector selects nothing here: no controller owns everything.
pub(crate) fn matches(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let equal = selector.match_labels.iter().flatten();
    let expressions = selector.match_expressions.iter().flatten();
    if equal.clone().next().is_none() && expressions.clone().next().is_none() {
        return false;
    }
    let get = |key: &str| labels.and_then(|labels| labels.get(key));
    equal.into_iter().all(|(key, value)| get(key) == Some(value))
        && expressions.into_iter().all(|expression| {
            let values = expression.values.as_deref().unwrap_or_default();
            let found = get(&expression.key);
            match expression.operator.as_str() {
                "In" => found.is_some_and(|value| values.contains(value)),
                "NotIn" => found.is_none_or(|value| !values.contains(value)),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}
