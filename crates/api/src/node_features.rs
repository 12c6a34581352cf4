//! Names of what a node can declare in `status.declaredFeatures`: what not every kubelet of a cluster may be able to do.
//! The kubelet declares; scheduler, kubelet and admission compare with what a Pod needs.
//!
//! Upstream: `k8s.io/component-helpers/nodedeclaredfeatures`.

use k8s_openapi::api::core::v1::PodSpec;

/// Streams (exec, attach, port-forward) come as WebSockets to the kubelet itself. No Pod needs it; the API server asks.
pub const EXTEND_WEBSOCKETS: &str = "ExtendWebSocketsToKubelet";
/// The `resources` of a running Pod itself change in place.
pub const RESIZE_PODS: &str = "InPlacePodLevelResourcesVerticalScaling";
/// The resources of init containers that are no sidecars change in place.
pub const RESIZE_INIT_CONTAINERS: &str = "InPlacePodVerticalScalingInitContainers";
/// A restart rule of a container restarts all of its Pod.
pub const RESTART_ALL_CONTAINERS: &str = "RestartAllContainersOnContainerExits";
/// A Pod on the host's network has users of its own.
pub const USER_NAMESPACES_HOST_NETWORK: &str = "UserNamespacesHostNetworkSupport";

/// A feature, and whether a Pod needs it.
type Need = (&'static str, fn(&PodSpec) -> bool);

/// The features that matter before a Pod runs. Others matter when it changes.
const NEEDS: [Need; 2] = [
    (RESTART_ALL_CONTAINERS, restarts_all_containers),
    (USER_NAMESPACES_HOST_NETWORK, maps_users_on_the_hosts_network),
];

/// The features that a node must declare for the Pod to run there, sorted.
pub fn needed_to_run(spec: &PodSpec) -> Vec<&'static str> {
    NEEDS.iter().filter(|(_, is_needed)| is_needed(spec)).map(|(feature, _)| *feature).collect()
}

fn restarts_all_containers(spec: &PodSpec) -> bool {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mut rules = containers.flat_map(|container| container.restart_policy_rules.iter().flatten());
    rules.any(|rule| rule.action == "RestartAllContainers")
}

fn maps_users_on_the_hosts_network(spec: &PodSpec) -> bool {
    spec.host_network == Some(true) && spec.host_users == Some(false)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_a_pod_needs_from_its_first_day_on() {
        let check = |spec: Value, want: &[&str]| {
            assert_eq!(needed_to_run(&serde_json::from_value(spec.clone()).unwrap()), want, "{spec}");
        };
        let restarts = |action: &str| json!([{"name": "a", "restartPolicyRules": [{"action": action}]}]);
        check(json!({"containers": restarts("Restart"), "hostNetwork": true}), &[]);
        check(json!({"containers": [], "hostUsers": false}), &[]);
        check(json!({"containers": restarts("RestartAllContainers")}), &[RESTART_ALL_CONTAINERS]);
        let all = json!({"initContainers": restarts("RestartAllContainers"), "containers": [], "hostNetwork": true,
            "hostUsers": false});
        check(all, &[RESTART_ALL_CONTAINERS, USER_NAMESPACES_HOST_NETWORK]);
    }
}
