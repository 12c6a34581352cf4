//! SelfSubjectRulesReview: what may I do in a namespace?

use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};

/// `selfsubjectrulesreviews.authorization.k8s.io`, create only.
pub static SELF_SUBJECT_RULES_REVIEW: Kind = Kind {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "SelfSubjectRulesReview",
    plural: "selfsubjectrulesreviews",
    singular: "selfsubjectrulesreview",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::CreateOnly,
    names: NameRule::PathSegment,
    subresources: &[],
    schema: "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    storage: "selfsubjectrulesreviews",
    columns: &[],
    rules: &Reviews,
};

struct Reviews;

impl Rules for Reviews {}
