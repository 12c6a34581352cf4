//! Lease: who holds something, and until when: leader election and the heartbeats of nodes.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, read};
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};

/// `leases.coordination.k8s.io`
pub static LEASE: Kind = Kind {
    group: "coordination.k8s.io",
    version: "v1",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.coordination.v1.Lease",
    storage: "leases",
    columns: &[cells::NAME, cells::text("Holder"), cells::AGE],
    rules: &LeaseRules,
};

struct LeaseRules;

impl Rules for LeaseRules {
    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![cells::name(object), read::text(object, "/spec/holderIdentity").into(), cells::age(object, now)]
    }
}
