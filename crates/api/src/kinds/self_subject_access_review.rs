//! SelfSubjectAccessReview: may I do this?

use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};

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

impl Rules for Reviews {}
