//! What becomes of an object, given its owners: pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PropagationPolicy;

/// The finalizer of an owner that waits for its dependents.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner that leaves its dependents behind.
pub(super) const ORPHAN: &str = "orphan";

/// An owner, and what became of it.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    /// It is there.
    There,
    /// The one of this UID is being deleted, and waits for its dependents to go first.
    WaitingForDependents(String),
    /// The one of this UID is gone.
    Gone(String),
}

/// What else hangs on an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dependents {
    /// Nothing.
    None,
    /// Something.
    Some,
    /// Something that itself waits for its dependents: perhaps, around a circle, for this object.
    Waiting,
}

/// What is to be done with an object.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing.
    Keep,
    /// It has another owner: it forgets these.
    Forget(Vec<String>),
    /// It has no owner left.
    Delete(PropagationPolicy),
    /// It has no owner left and may be part of a circle: it holds its owners back no longer, and goes after its
    /// dependents.
    LeaveCircle,
}

/// Decides it.
pub(super) fn decide(owners: &[Owner], object: &ObjectMeta, dependents: Dependents) -> Verdict {
    if owners.is_empty() {
        return Verdict::Keep;
    }
    let mut lost = Vec::new();
    let mut waiting = false;
    for owner in owners {
        match owner {
            Owner::There => {}
            Owner::WaitingForDependents(uid) => {
                waiting = true;
                lost.push(uid.clone());
            }
            Owner::Gone(uid) => lost.push(uid.clone()),
        }
    }
    match (lost.len(), waiting) {
        (0, _) => Verdict::Keep,
        (count, _) if count < owners.len() => Verdict::Forget(lost),
        (_, true) if dependents == Dependents::Waiting => Verdict::LeaveCircle,
        (_, true) if dependents == Dependents::Some => Verdict::Delete(PropagationPolicy::Foreground),
        _ => Verdict::Delete(own_policy(object)),
    }
}

/// What the object's finalizers say about its dependents.
fn own_policy(object: &ObjectMeta) -> PropagationPolicy {
    let has = |name: &str| object.finalizers.iter().flatten().any(|finalizer| finalizer == name);
    if has(ORPHAN) {
        PropagationPolicy::Orphan
    } else if has(FOREGROUND) {
        PropagationPolicy::Foreground
    } else {
        PropagationPolicy::Background
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `owners`: `+` is there, `w` waits, `-` is gone.
    fn check(owners: &str, dependents: Dependents, want: &Verdict) {
        let owner = |(at, mark): (usize, char)| match mark {
            '+' => Owner::There,
            'w' => Owner::WaitingForDependents(at.to_string()),
            _ => Owner::Gone(at.to_string()),
        };
        let owners: Vec<_> = owners.chars().enumerate().map(owner).collect();
        assert_eq!(decide(&owners, &ObjectMeta::default(), dependents), *want);
    }

    #[test]
    fn an_object_goes_with_its_last_owner() {
        check("", Dependents::None, &Verdict::Keep);
        check("+", Dependents::None, &Verdict::Keep);
        check("-", Dependents::None, &Verdict::Delete(PropagationPolicy::Background));
        check("+-", Dependents::None, &Verdict::Forget(vec!["1".to_owned()]));
        check("w", Dependents::None, &Verdict::Delete(PropagationPolicy::Background));
        check("w", Dependents::Some, &Verdict::Delete(PropagationPolicy::Foreground));
        check("w", Dependents::Waiting, &Verdict::LeaveCircle);
        check("-", Dependents::Waiting, &Verdict::Delete(PropagationPolicy::Background));
        check("w+-", Dependents::Some, &Verdict::Forget(vec!["0".to_owned(), "2".to_owned()]));
    }
}
