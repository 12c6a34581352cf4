//! Names of what a node can declare in `status.declaredFeatures`: what not every kubelet of a cluster may be able to do.
//! The kubelet declares, the scheduler and admission compare with what a Pod needs.
//!
//! Upstream: `k8s.io/component-helpers/nodedeclaredfeatures`.

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
