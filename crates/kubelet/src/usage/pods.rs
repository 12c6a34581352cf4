//! Pods and containers, as the container runtime tells.

use std::collections::HashMap;

use sampan_cri::v1;

use super::{Pressure, Tree, Usage};
use crate::Error;
use crate::config::labels;
use crate::cri::Runtime;

/// A Pod that has a sandbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodUsage {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// CRI id of the sandbox.
    pub(crate) sandbox: String,
    pub(crate) usage: Usage,
    pub(crate) network: Vec<Interface>,
    pub(crate) processes: Option<u64>,
    pub(crate) containers: Vec<ContainerUsage>,
}

/// A container that runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ContainerUsage {
    /// CRI id.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) usage: Usage,
    /// What it wrote outside of its volumes.
    pub(crate) writable: Option<Tree>,
}

/// The traffic of a network interface; the Pod's main one comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) rx_bytes: Option<u64>,
    pub(crate) rx_errors: Option<u64>,
    pub(crate) tx_bytes: Option<u64>,
    pub(crate) tx_errors: Option<u64>,
}

/// Asks the runtime for all Pods; those without a running container are left out.
pub(super) async fn read(runtime: &Runtime) -> Result<Vec<PodUsage>, Error> {
    let mut pods: Vec<PodUsage> = runtime.usage().await?.into_iter().filter_map(of_pod).collect();
    pods.retain(|pod| !pod.containers.is_empty());
    pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Ok(pods)
}

fn of_pod(stats: v1::PodSandboxStats) -> Option<PodUsage> {
    let attributes = stats.attributes?;
    let linux = stats.linux?;
    let label = |key| label(&attributes.labels, key);
    let mut containers: Vec<ContainerUsage> = linux.containers.into_iter().filter_map(of_container).collect();
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    let network = linux.network.unwrap_or_default();
    Some(PodUsage {
        namespace: label(labels::POD_NAMESPACE),
        name: label(labels::POD_NAME),
        uid: label(labels::POD_UID),
        sandbox: attributes.id.clone(),
        usage: usage(linux.cpu, linux.memory, None, linux.io),
        network: network.default_interface.into_iter().chain(network.interfaces).map(interface).collect(),
        processes: linux.process.and_then(|process| number(process.process_count)),
        containers,
    })
}

/// Nothing for a container that does not run: of it the runtime knows no CPU time.
fn of_container(stats: v1::ContainerStats) -> Option<ContainerUsage> {
    let attributes = stats.attributes?;
    let usage = usage(stats.cpu, stats.memory, stats.swap, stats.io);
    usage.cpu_ns?;
    let writable = stats.writable_layer.map(|layer| Tree {
        bytes: number(layer.used_bytes).unwrap_or(0),
        inodes: number(layer.inodes_used).unwrap_or(0),
    });
    let name = label(&attributes.labels, labels::CONTAINER_NAME);
    Some(ContainerUsage { id: attributes.id, name, usage, writable })
}

fn label(labels: &HashMap<String, String>, key: &str) -> String {
    labels.get(key).cloned().unwrap_or_default()
}

fn number(value: Option<v1::UInt64Value>) -> Option<u64> {
    value.map(|number| number.value)
}

fn usage(
    cpu: Option<v1::CpuUsage>,
    memory: Option<v1::MemoryUsage>,
    swap: Option<v1::SwapUsage>,
    io: Option<v1::IoUsage>,
) -> Usage {
    let (cpu, memory, swap) = (cpu.unwrap_or_default(), memory.unwrap_or_default(), swap.unwrap_or_default());
    Usage {
        time_ns: cpu.timestamp.max(memory.timestamp),
        cpu_ns: number(cpu.usage_core_nano_seconds),
        cpu_rate_nano: number(cpu.usage_nano_cores),
        memory_bytes: number(memory.usage_bytes),
        working_set_bytes: number(memory.working_set_bytes),
        rss_bytes: number(memory.rss_bytes),
        available_bytes: number(memory.available_bytes),
        page_faults: number(memory.page_faults),
        major_page_faults: number(memory.major_page_faults),
        swap_bytes: number(swap.swap_usage_bytes),
        swap_available_bytes: number(swap.swap_available_bytes),
        pressure: Pressure { cpu: cpu.psi, memory: memory.psi, io: io.and_then(|io| io.psi) },
    }
}

fn interface(usage: v1::NetworkInterfaceUsage) -> Interface {
    Interface {
        name: usage.name,
        rx_bytes: number(usage.rx_bytes),
        rx_errors: number(usage.rx_errors),
        tx_bytes: number(usage.tx_bytes),
        tx_errors: number(usage.tx_errors),
    }
}
