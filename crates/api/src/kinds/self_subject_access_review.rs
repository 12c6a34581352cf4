//! SelfSubjectAccessReview: may I do this?

use serde_json::Value;

use super::subject_access_review::attributes;
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::check;

/// `selfsubjectaccessreviews.authorization.k8s.io`, create only.
pub static SELF_SUBJECT_ACCESS_REVIEW: Kind = Kind {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "SelfSubjectAccessReview",
    plural: "selfsubjectaccessreviews",
    singular: "selfsubjectaccessreview",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::CreateOnly,
    names: NameRule::PathSegment,
    subresources: &[],
    schema: "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    storage: "selfsubjectaccessreviews",
    columns: &[],
    rules: &Reviews,
};

struct Reviews;

impl Rules for Reviews {
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |review| attributes(&review.get("spec")))
    }
}
