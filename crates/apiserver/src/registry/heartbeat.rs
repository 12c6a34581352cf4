//! Which updates are a node's heartbeat: each node sends one every few seconds, so they do not wait for the disk.

use sampan_api::kind::Kind;
use serde_json::Value;

/// Where nodes keep their Leases. Those elsewhere elect leaders: their holders count on what they were told.
const NAMESPACE: &str = "kube-node-lease";

/// Whether `new` renews the Lease `old` of a node and changes nothing else.
pub(super) fn is_heartbeat(kind: &Kind, old: &Value, new: &Value) -> bool {
    kind.storage == "leases"
        && new["metadata"]["namespace"] == NAMESPACE
        && old["spec"]["renewTime"] != new["spec"]["renewTime"]
        && without_renewal(old) == without_renewal(new)
}

/// The Lease without what every renewal changes: the time, and the note of who set it when.
fn without_renewal(lease: &Value) -> Value {
    let mut lease = lease.clone();
    for (part, fields) in [("spec", ["renewTime"].as_slice()), ("metadata", &["managedFields", "resourceVersion"])] {
        if let Some(part) = lease[part].as_object_mut() {
            fields.iter().for_each(|field| drop(part.remove(*field)));
        }
    }
    lease
}

#[cfg(test)]
mod tests {
    use sampan_api::kinds::ALL;
    use serde_json::json;

    use super::*;

    fn check(kind: &str, namespace: &str, (old, new): (Value, Value), want: bool) {
        let kind = ALL.iter().find(|known| known.kind == kind).unwrap();
        let object = |version: &str, spec: Value| json!({"metadata": {"name": "node-1", "namespace": namespace, "resourceVersion": version}, "spec": spec});
        assert_eq!(is_heartbeat(kind, &object("1", old.clone()), &object("2", new.clone())), want, "{old} -> {new}");
    }

    #[test]
    fn a_heartbeat_is_a_renewal_of_a_nodes_lease_and_nothing_else() {
        let lease = |holder: &str, time: &str| json!({"holderIdentity": holder, "renewTime": time});
        check("Lease", NAMESPACE, (lease("node-1", "t1"), lease("node-1", "t2")), true);
        check("Lease", NAMESPACE, (lease("node-1", "t1"), lease("node-2", "t2")), false);
        check("Lease", NAMESPACE, (lease("node-1", "t1"), lease("node-1", "t1")), false);
        check("Lease", "kube-system", (lease("node-1", "t1"), lease("node-1", "t2")), false);
        check("ConfigMap", NAMESPACE, (lease("node-1", "t1"), lease("node-1", "t2")), false);
    }
}
