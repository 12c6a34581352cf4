//! The Pods behind a Service, and what each is good for.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A Pod behind a Service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) address: String,
    /// It serves and is not ending: new connections may come.
    pub(super) ready: bool,
    /// It serves, perhaps its last.
    pub(super) serving: bool,
    /// It is ending.
    pub(super) terminating: bool,
    pub(super) node: Option<String>,
    pub(super) zone: Option<String>,
    /// Its own name below the Service's, for a headless Service.
    pub(super) hostname: Option<String>,
    pub(super) target: ObjectReference,
    /// The Service's ports as numbers of this Pod: a named target port may differ from Pod to Pod.
    pub(super) ports: Vec<Port>,
}

/// A port of a Service on one Pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) number: i32,
    pub(super) protocol: String,
    pub(super) app_protocol: Option<String>,
}

/// Whether `service` selects `pod`.
pub(super) fn selects(service: &Service, pod: &Pod) -> bool {
    let Some(selector) = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else { return false };
    let none = BTreeMap::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
    !selector.is_empty()
        && service.metadata.namespace == pod.metadata.namespace
        && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether two states of a Pod are the same to every Service.
pub(super) fn same(old: &Pod, new: &Pod) -> bool {
    let relevant = |pod: &Pod| {
        let status = pod.status.clone().unwrap_or_default();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let ending = pod.metadata.deletion_timestamp.is_some();
        (pod.metadata.labels.clone(), is_ready(pod), status.pod_ip, status.phase, node, ending)
    };
    relevant(old) == relevant(new)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The member that `pod` is, if it has an address and has not ended. `zone` tells a node's zone.
pub(super) fn member(service: &Service, pod: &Pod, zone: &dyn Fn(&str) -> Option<String>) -> Option<Member> {
    let spec = pod.spec.as_ref()?;
    let status = pod.status.as_ref()?;
    let address = status.pod_ip.clone().filter(|ip| !ip.is_empty())?;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let wanted = service.spec.as_ref()?;
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let serving = is_ready(pod);
    let publish = wanted.publish_not_ready_addresses == Some(true);
    let own_name = spec.subdomain.as_ref() == service.metadata.name.as_ref();
    Some(Member {
        address,
        ready: publish || (serving && !terminating),
        serving,
        terminating,
        zone: spec.node_name.as_deref().and_then(zone),
        node: spec.node_name.clone(),
        hostname: spec.hostname.clone().filter(|_| own_name),
        target: ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        },
        ports: wanted.ports.iter().flatten().filter_map(|port| resolve(port, pod)).collect(),
    })
}

fn resolve(port: &ServicePort, pod: &Pod) -> Option<Port> {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => named(pod, name, &protocol)?,
    };
    Some(Port {
        name: port.name.clone().unwrap_or_default(),
        number,
        protocol,
        app_protocol: port.app_protocol.clone(),
    })
}

fn named(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecar = |c: &&k8s_openapi::api::core::v1::Container| c.restart_policy.as_deref() == Some("Always");
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten().filter(sidecar));
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let mut matching = ports
        .filter(|port| port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol);
    matching.next().map(|port| port.container_port)
}
