//! Services: how many there are, with load balancers, with node ports.

use serde_json::Value;

use super::one;
use crate::amounts::Amounts;
use crate::quantity::Quantity;

const LOAD_BALANCERS: &str = "services.loadbalancers";
const NODE_PORTS: &str = "services.nodeports";

pub(super) fn is_counted_as(name: &str) -> bool {
    name == LOAD_BALANCERS || name == NODE_PORTS
}

/// Node ports are counted as they are wished for: they are given out later.
pub(super) fn usage(service: &Value) -> Amounts {
    let spec = &service["spec"];
    let ports = || spec["ports"].as_array().into_iter().flatten();
    let chosen = ports().filter(|port| port["nodePort"].as_i64().is_some_and(|port| port != 0));
    let (balancers, node_ports) = match spec["type"].as_str() {
        Some("NodePort") => (Quantity::ZERO, ports().count()),
        Some("LoadBalancer") if spec["allocateLoadBalancerNodePorts"] == false => (one(), chosen.count()),
        Some("LoadBalancer") => (one(), ports().count()),
        _ => (Quantity::ZERO, 0),
    };
    let node_ports = Quantity::from_units(i64::try_from(node_ports).unwrap_or(i64::MAX));
    Amounts::from([(LOAD_BALANCERS.to_owned(), balancers), (NODE_PORTS.to_owned(), node_ports)])
}
