//! The CRI configuration of a Pod's sandbox.

use k8s_openapi::api::core::v1::Pod;
use sampan_cri::v1::{DnsConfig, LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, PortMapping, Protocol};

use super::dns::{self, ClusterDns};
use super::paths::PodPaths;
use super::{labels, resources, security};
use crate::spec;

/// What a sandbox is made from besides the Pod.
pub(crate) struct Inputs<'a> {
    pub(crate) paths: &'a PodPaths,
    pub(crate) cluster_dns: &'a ClusterDns,
    /// The node's own resolv.conf.
    pub(crate) host_dns: &'a DnsConfig,
    /// Where in the cgroup tree the kubelet's Pods are.
    pub(crate) cgroup_root: &'a str,
}

/// The sandbox's configuration; `attempt` counts the Pod's sandboxes from 0.
pub(crate) fn config(pod: &Pod, attempt: u32, inputs: &Inputs<'_>) -> PodSandboxConfig {
    let sysctls = spec::of(pod).security_context.as_ref().and_then(|context| context.sysctls.as_ref());
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: spec::name(pod).to_owned(),
            uid: spec::uid(pod).to_owned(),
            namespace: spec::namespace(pod).to_owned(),
            attempt,
        }),
        hostname: dns::hostname(pod, inputs.cluster_dns),
        log_directory: inputs.paths.logs.to_string_lossy().into_owned(),
        dns_config: Some(dns::config(pod, inputs.cluster_dns, inputs.host_dns)),
        port_mappings: port_mappings(pod),
        labels: labels::of_sandbox(pod),
        annotations: labels::annotations_of_sandbox(pod),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: resources::cgroup_parent(inputs.cgroup_root, pod),
            security_context: Some(security::of_sandbox(pod)),
            sysctls: sysctls.into_iter().flatten().map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect(),
            overhead: resources::overhead(pod),
            resources: Some(resources::of_pod(pod)),
        }),
        windows: None,
    }
}

fn port_mappings(pod: &Pod) -> Vec<PortMapping> {
    if spec::host_network(pod) {
        return Vec::new();
    }
    let ports = spec::containers(pod).flat_map(|(_, container)| container.ports.iter().flatten());
    ports
        .map(|port| PortMapping {
            protocol: match port.protocol.as_deref() {
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                _ => Protocol::Tcp,
            }
            .into(),
            container_port: port.container_port,
            host_port: port.host_port.unwrap_or(0),
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}
