//! What Pods and nodes ask of each other: the node that a Pod wants, the taints it tolerates, and the node's ports that
//! its containers take. The scheduler chooses by it, the kubelet refuses by it, and controllers evict by it.
//!
//! Upstream: `k8s.io/component-helpers/scheduling/corev1` and the scheduler's `HostPortInfo`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration};

/// A node as selectors see it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The node's name.
    pub name: &'a str,
    /// The node's labels.
    pub labels: &'a BTreeMap<String, String>,
}

/// The alternatives of the node affinity that a Pod requires, if it requires any.
pub fn required_terms(spec: &PodSpec) -> Option<&[NodeSelectorTerm]> {
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    Some(&affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms)
}

/// Whether the Pod's node selector and required node affinity let it on `place`.
pub fn wants(spec: &PodSpec, place: Place<'_>) -> bool {
    let mut selector = spec.node_selector.iter().flatten();
    selector.all(|(key, value)| place.labels.get(key) == Some(value))
        && required_terms(spec).is_none_or(|terms| terms.iter().any(|term| meets(place, term)))
}

/// Whether `place` is what `term` says. A term without any requirement matches no node.
pub fn meets(place: Place<'_>, term: &NodeSelectorTerm) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let field = |key: &str| (key == "metadata.name").then_some(place.name);
    let label = |key: &str| place.labels.get(key).map(String::as_str);
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|requirement| holds(requirement, label(&requirement.key)))
        && fields.iter().all(|requirement| holds(requirement, field(&requirement.key)))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let named = || value.is_some_and(|value| values.iter().any(|other| other == value));
    let integers = || {
        let value: i64 = value?.parse().ok()?;
        let [bound] = values else { return None };
        Some((value, bound.parse::<i64>().ok()?))
    };
    match requirement.operator.as_str() {
        "In" => named(),
        "NotIn" => !named(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => integers().is_some_and(|(value, bound)| value > bound),
        "Lt" => integers().is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

/// Whether the Pod tolerates `taint`, for however long.
pub fn tolerates(spec: &PodSpec, taint: &Taint) -> bool {
    spec.tolerations.iter().flatten().any(|toleration| covers(toleration, taint))
}

/// Whether `toleration` is of `taint`. An empty effect stands for every effect, an empty key for every key.
pub fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let any_or = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|text| text.is_empty() || text == is);
    let same_value = || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default();
    any_or(&toleration.effect, &taint.effect)
        && any_or(&toleration.key, &taint.key)
        && match toleration.operator.as_deref().unwrap_or_default() {
            "" | "Equal" => same_value(),
            "Exists" => true,
            _ => false,
        }
}

/// A port of the node that a container takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    protocol: String,
    /// `0.0.0.0` for all addresses.
    address: String,
    port: i32,
}

impl HostPort {
    /// Whether both cannot be on one node.
    pub fn conflicts(&self, other: &Self) -> bool {
        const ALL: &str = "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address || self.address == ALL || other.address == ALL)
    }
}

/// The node's ports that the Pod's containers take; of the init containers only sidecars keep theirs.
pub fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let taken = ports.filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let address = port.host_ip.clone().filter(|address| !address.is_empty());
        Some(HostPort {
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            address: address.unwrap_or_else(|| "0.0.0.0".to_owned()),
            port: number,
        })
    });
    taken.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn a_pod_says_which_nodes_it_wants() {
        let labels = [("zone", "a"), ("cores", "8")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let check = |spec: Value, want: bool| {
            let mut whole = json!({"containers": []});
            whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            assert_eq!(wants(&from_value(whole).unwrap(), Place { name: "n1", labels: &labels }), want, "{spec}");
        };
        let affinity = |terms: Value| {
            let required = json!({"nodeSelectorTerms": terms});
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}})
        };
        let label = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        check(json!({}), true);
        check(json!({"nodeSelector": {"zone": "a"}}), true);
        check(json!({"nodeSelector": {"zone": "b"}}), false);
        check(json!({"nodeSelector": {"x": "y"}}), false);
        check(affinity(json!([label("zone", "In", json!(["b", "a"]))])), true);
        check(affinity(json!([label("zone", "NotIn", json!(["a"]))])), false);
        check(affinity(json!([label("zone", "NotIn", json!(["a"])), label("cores", "Gt", json!(["4"]))])), true);
        check(affinity(json!([label("cores", "Lt", json!(["8"]))])), false);
        check(affinity(json!([{}])), false);
        let field =
            |name: &str| json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}]);
        check(affinity(field("n1")), true);
        check(affinity(field("n2")), false);
    }

    #[test]
    fn a_toleration_covers_taints() {
        let taint: Taint = from_value(json!({"key": "k", "value": "v", "effect": "NoExecute"})).unwrap();
        let check = |toleration: Value, want: bool| {
            assert_eq!(covers(&from_value(toleration.clone()).unwrap(), &taint), want, "{toleration}");
        };
        check(json!({"operator": "Exists"}), true);
        check(json!({"operator": "Exists", "effect": "NoSchedule"}), false);
        check(json!({"key": "k", "operator": "Exists", "effect": "NoExecute"}), true);
        check(json!({"key": "other", "operator": "Exists"}), false);
        check(json!({"key": "k", "value": "v"}), true);
        check(json!({"key": "k", "operator": "Equal", "value": "w"}), false);
        check(json!({"key": "k", "operator": "Gt", "value": "v"}), false);
    }

    #[test]
    fn ports_of_the_node_are_taken_once() {
        let of =
            |ports: Value| host_ports(&from_value(json!({"containers": [{"name": "c", "ports": ports}]})).unwrap());
        let check = |a: Value, b: Value, want: bool| {
            let conflict = of(a.clone()).iter().any(|port| of(b.clone()).iter().any(|other| port.conflicts(other)));
            assert_eq!(conflict, want, "{a} {b}");
        };
        let all = json!([{"containerPort": 80, "hostPort": 8080}]);
        check(all.clone(), all.clone(), true);
        check(all.clone(), json!([{"containerPort": 80}]), false);
        check(all.clone(), json!([{"containerPort": 80, "hostPort": 8080, "protocol": "UDP"}]), false);
        check(all, json!([{"containerPort": 80, "hostPort": 8080, "hostIP": "127.0.0.1"}]), true);
        let at = |ip: &str| json!([{"containerPort": 80, "hostPort": 8080, "hostIP": ip}]);
        check(at("127.0.0.1"), at("127.0.0.2"), false);
        let init = json!({"containers": [], "initContainers": [
            {"name": "i", "ports": [{"containerPort": 1, "hostPort": 1}]},
            {"name": "s", "restartPolicy": "Always", "ports": [{"containerPort": 2, "hostPort": 2}]}]});
        assert_eq!(host_ports(&from_value(init).unwrap()).iter().map(|port| port.port).collect::<Vec<_>>(), [2]);
    }
}
