//! Lease: who holds something, and until when: leader election and the heartbeats of nodes.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::check;

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
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |lease| {
            let seconds = lease.get("spec").get("leaseDurationSeconds");
            if seconds.int().is_some_and(|seconds| seconds <= 0) {
                seconds.invalid("must be greater than 0");
            }
            lease.get("spec").get("leaseTransitions").non_negative();
        })
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![cells::name(object), read::text(object, "/spec/holderIdentity").into(), cells::age(object, now)]
    }

    fn updates_say_version(&self) -> bool {
        true
    }

    fn updates_create(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::LEASE;
    use crate::kinds::testing::{check, check_row};

    #[test]
    fn a_lease_lasts() {
        check(&LEASE, "{spec: {leaseDurationSeconds: 40}}", &[]);
        check(
            &LEASE,
            "{spec: {leaseDurationSeconds: 0, leaseTransitions: -1}}",
            &[
                "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
                "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
            ],
        );
        check_row(&LEASE, "{metadata: {name: a}, spec: {holderIdentity: n}}", "a | n | <unknown>");
    }
}
