//! What an update takes over from the Service as it was: allocated addresses and ports that the client left out, and
//! the removal of those that another type has no use for.

use serde_json::Value;

use crate::kinds::{fill, read};

/// Fields that hold a Service's own addresses.
const ADDRESSES: [&str; 4] = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"];
/// Fields that only load balancers have.
const BALANCER: [&str; 2] = ["loadBalancerClass", "allocateLoadBalancerNodePorts"];

/// Clients may fill `clusterIP` alone; `clusterIPs` says the same.
pub(super) fn fill_in_addresses(spec: &mut Value) {
    let first = read::text(spec, "/clusterIP").to_owned();
    if !first.is_empty() && read::list(spec, "/clusterIPs").is_empty() {
        spec["clusterIPs"] = vec![first].into();
    }
}

/// Prepares the new spec of an update.
pub(super) fn carry_over(new: &mut Value, old: &Value) {
    align_addresses(new, old);
    keep_allocated(new, old);
    drop_unused(new, old);
}

/// A client that changes only one of `clusterIP` and `clusterIPs` means both.
fn align_addresses(new: &mut Value, old: &Value) {
    let first = read::text(new, "/clusterIP").to_owned();
    let first_changed = first != read::text(old, "/clusterIP");
    let all_changed = read::texts(new, "/clusterIPs") != read::texts(old, "/clusterIPs");
    if first_changed && !all_changed {
        fill::keep(new, &Value::Null, "clusterIPs");
    }
    if first_changed {
        fill_in_addresses(new);
    }
}

/// A client that replaces the object without its addresses and node ports does not mean to lose them.
fn keep_allocated(new: &mut Value, old: &Value) {
    if has_address(new) && has_address(old) {
        for field in ADDRESSES {
            if new.get(field).is_none_or(fill::is_zero) {
                fill::keep(new, old, field);
            }
        }
    }
    if !(has_node_ports(new) && has_node_ports(old)) {
        return;
    }
    let mut taken: Vec<i64> = read::list(new, "/ports").iter().map(|port| read::int(port, "/nodePort")).collect();
    fill::each(new, "/ports", |port| {
        let same = |old: &&Value| old["protocol"] == port["protocol"] && old["port"] == port["port"];
        let before = read::list(old, "/ports").iter().find(same).map(|old| read::int(old, "/nodePort"));
        if let Some(number) = before.filter(|number| !taken.contains(number)) {
            fill::zero(port, "nodePort", number);
            taken.push(number);
        }
    });
    if has_health_port(new) && has_health_port(old) && read::int(new, "/healthCheckNodePort") == 0 {
        fill::keep(new, old, "healthCheckNodePort");
    }
}

/// What the old type needed, the new one does not, and the client did not touch, goes.
fn drop_unused(new: &mut Value, old: &Value) {
    let drop_if_same = |new: &mut Value, field: &str| {
        if new[field] == old[field] {
            fill::keep(new, &Value::Null, field);
        }
    };
    if has_address(old) && !has_address(new) {
        ADDRESSES.iter().for_each(|field| drop_if_same(new, field));
    }
    if has_node_ports(old) && !has_node_ports(new) {
        let before: Vec<i64> = read::list(old, "/ports").iter().map(|port| read::int(port, "/nodePort")).collect();
        fill::each(new, "/ports", |port| {
            if before.contains(&read::int(port, "/nodePort")) {
                fill::keep(port, &Value::Null, "nodePort");
            }
        });
    }
    if has_health_port(old) && !has_health_port(new) {
        drop_if_same(new, "healthCheckNodePort");
    }
    if super::is_externally_accessible(old) && !super::is_externally_accessible(new) {
        drop_if_same(new, "externalTrafficPolicy");
    }
    if old["type"] == "LoadBalancer" && new["type"] != "LoadBalancer" {
        BALANCER.iter().for_each(|field| drop_if_same(new, field));
    }
}

fn has_address(spec: &Value) -> bool {
    spec["type"] != "ExternalName"
}

fn has_node_ports(spec: &Value) -> bool {
    match read::text(spec, "/type") {
        "NodePort" => true,
        "LoadBalancer" => spec["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

fn has_health_port(spec: &Value) -> bool {
    spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local"
}
