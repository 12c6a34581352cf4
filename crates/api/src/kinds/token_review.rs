//! TokenReview: whose token is this?

use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};

/// `tokenreviews.authentication.k8s.io`, create only.
pub static TOKEN_REVIEW: Kind = Kind {
    group: "authentication.k8s.io",
    version: "v1",
    kind: "TokenReview",
    plural: "tokenreviews",
    singular: "tokenreview",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::CreateOnly,
    names: NameRule::PathSegment,
    subresources: &[],
    schema: "io.k8s.api.authentication.v1.TokenReview",
    storage: "tokenreviews",
    columns: &[],
    rules: &Reviews,
};

struct Reviews;

impl Rules for Reviews {}
