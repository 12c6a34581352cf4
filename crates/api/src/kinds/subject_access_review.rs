//! SubjectAccessReview: may that user do this?

use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};

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

impl Rules for Reviews {}
