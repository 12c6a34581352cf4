//! SelfSubjectReview: who am I?

use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};

/// `selfsubjectreviews.authentication.k8s.io`, create only.
pub static SELF_SUBJECT_REVIEW: Kind = Kind {
    group: "authentication.k8s.io",
    version: "v1",
    kind: "SelfSubjectReview",
    plural: "selfsubjectreviews",
    singular: "selfsubjectreview",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::CreateOnly,
    names: NameRule::PathSegment,
    subresources: &[],
    schema: "io.k8s.api.authentication.v1.SelfSubjectReview",
    storage: "selfsubjectreviews",
    columns: &[],
    rules: &Reviews,
};

struct Reviews;

impl Rules for Reviews {}
