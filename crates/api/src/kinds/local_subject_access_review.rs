//! LocalSubjectAccessReview: may that user do this in this namespace?

use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};

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

impl Rules for Reviews {}
