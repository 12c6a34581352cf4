//! SubjectAccessReview: may that user do this?

use serde_json::Value;

use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check};

/// `subjectaccessreviews.authorization.k8s.io`, create only.
pub static SUBJECT_ACCESS_REVIEW: Kind = Kind {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "SubjectAccessReview",
    plural: "subjectaccessreviews",
    singular: "subjectaccessreview",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::CreateOnly,
    names: NameRule::PathSegment,
    subresources: &[],
    schema: "io.k8s.api.authorization.v1.SubjectAccessReview",
    storage: "subjectaccessreviews",
    columns: &[],
    rules: &Reviews,
};

struct Reviews;

impl Rules for Reviews {
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |review| {
            attributes(&review.get("spec"));
            subject(&review.get("spec"));
        })
    }
}

/// A review asks about a resource or about a path.
pub(super) fn attributes(spec: &Cursor<'_>) {
    let (resource, path) = (spec.get("resourceAttributes"), spec.get("nonResourceAttributes"));
    match (resource.is_set(), path.is_set()) {
        (true, true) => path.invalid("cannot be specified in combination with resourceAttributes"),
        (false, false) => {
            resource.invalid("exactly one of nonResourceAttributes or resourceAttributes must be specified");
        }
        _ => {}
    }
}

/// A review asks about someone.
pub(super) fn subject(spec: &Cursor<'_>) {
    if spec.get("user").is_empty() && spec.get("groups").is_empty() {
        spec.get("user").invalid_as("", "at least one of user or group must be specified");
    }
}

#[cfg(test)]
mod tests {
    use super::SUBJECT_ACCESS_REVIEW;
    use crate::kinds::testing::check;
    use crate::kinds::{LOCAL_SUBJECT_ACCESS_REVIEW, SELF_SUBJECT_ACCESS_REVIEW};

    #[test]
    fn reviews_ask_one_thing_about_someone() {
        check(&SUBJECT_ACCESS_REVIEW, "{spec: {user: u, resourceAttributes: {verb: get}}}", &[]);
        check(
            &SUBJECT_ACCESS_REVIEW,
            "{spec: {}}",
            &[
                "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or \
                 resourceAttributes must be specified",
                "spec.user: Invalid value: \"\": at least one of user or group must be specified",
            ],
        );
        check(&SELF_SUBJECT_ACCESS_REVIEW, "{spec: {nonResourceAttributes: {path: /, verb: get}}}", &[]);
        check(
            &LOCAL_SUBJECT_ACCESS_REVIEW,
            "{metadata: {namespace: a}, spec: {user: u, resourceAttributes: {namespace: b}}}",
            &["spec.resourceAttributes.namespace: Invalid value: \"b\": must match metadata.namespace"],
        );
    }
}
