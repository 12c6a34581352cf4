//! ServiceAccount: an identity for Pods.

use jiff::Timestamp;
use serde_json::Value;

use super::cells;
use crate::kind::{Kind, NameRule, Rules, Scope, Subresource, Verbs};

/// `serviceaccounts`
pub static SERVICE_ACCOUNT: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[Subresource {
        name: "token",
        gvk: ("authentication.k8s.io", "v1", "TokenRequest"),
        verbs: &["create"],
    }],
    schema: "io.k8s.api.core.v1.ServiceAccount",
    storage: "serviceaccounts",
    columns: &[cells::NAME, cells::AGE],
    rules: &ServiceAccountRules,
};

struct ServiceAccountRules;

impl Rules for ServiceAccountRules {
    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![cells::name(object), cells::age(object, now)]
    }

    fn deletion_returns_object(&self) -> bool {
        true
    }
}
