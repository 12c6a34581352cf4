//! LocalSubjectAccessReview: may that user do this in this namespace?

use serde_json::Value;

use super::subject_access_review::{attributes, subject};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::check;

/// `localsubjectaccessreviews.authorization.k8s.io`, create only.
pub static LOCAL_SUBJECT_ACCESS_REVIEW: Kind = Kind {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "LocalSubjectAccessReview",
    plural: "localsubjectaccessreviews",
    singular: "localsubjectaccessreview",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::CreateOnly,
    names: NameRule::PathSegment,
    subresources: &[],
    schema: "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
    storage: "localsubjectaccessreviews",
    columns: &[],
    rules: &Reviews,
};

struct Reviews;

impl Rules for Reviews {
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |review| {
            let spec = review.get("spec");
            attributes(&spec);
            subject(&spec);
            let namespace = spec.get("resourceAttributes").get("namespace");
            if spec.get("resourceAttributes").is_set()
                && namespace.text() != review.get("metadata").get("namespace").text()
            {
                namespace.invalid_as(namespace.text(), "must match metadata.namespace");
            }
            if spec.get("nonResourceAttributes").is_set() {
                spec.get("nonResourceAttributes").invalid("disallowed on this kind of request");
            }
        })
    }
}
