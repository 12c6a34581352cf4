//! What sandboxes and containers use, read from their groups when asked for.

use std::fs;
use std::path::Path;

use sampan_cri::v1::{
    ContainerAttributes, ContainerStats, CpuUsage, FilesystemIdentifier, FilesystemUsage, IoUsage,
    LinuxPodSandboxStats, MemoryUsage, NetworkInterfaceUsage, NetworkUsage, PodSandboxAttributes, PodSandboxStats,
    ProcessUsage, SwapUsage, UInt64Value,
};
use sampan_trees::Tree;

use crate::cgroups::{Group, Usage};
use crate::node::{Container, Node, Sandbox};
use crate::records;
use crate::status::nanoseconds;

fn value(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

/// What a container's writable layer takes, as it was counted not long ago; nothing while it is counted for the first time.
/// Blocks if it has to be counted.
pub(crate) fn layer(node: &Node, container: &Container) -> Option<FilesystemUsage> {
    let upper = node.places.writable().join(&container.id).join("upper");
    container.layer.get(|| filesystem(&upper, nanoseconds(sampan_clock::now())))
}

/// A container's usage. Blocks.
pub(crate) fn container(node: &Node, container: &Container) -> ContainerStats {
    let timestamp = nanoseconds(sampan_clock::now());
    let attributes = ContainerAttributes {
        id: container.id.clone(),
        metadata: container.config.metadata.clone(),
        labels: container.config.labels.clone(),
        annotations: container.config.annotations.clone(),
    };
    let group = Group::new(&node.hierarchies, &container.record.cgroup);
    let usage = container.is_running().then(|| group.usage());
    ContainerStats {
        attributes: Some(attributes),
        cpu: usage.map(|usage| cpu(&group, &usage, timestamp)),
        memory: usage.map(|usage| memory(&group, &usage, timestamp)),
        writable_layer: layer(node, container),
        swap: usage.map(|usage| SwapUsage {
            timestamp,
            swap_available_bytes: usage
                .swap_limit_bytes
                .and_then(|limit| value(limit.saturating_sub(usage.swap_bytes))),
            swap_usage_bytes: value(usage.swap_bytes),
        }),
        io: usage.and_then(|_| io(&group, timestamp)),
    }
}

/// A sandbox's usage, its containers' included. Blocks.
pub(crate) fn sandbox(node: &Node, sandbox: &Sandbox) -> PodSandboxStats {
    let timestamp = nanoseconds(sampan_clock::now());
    let group = Group::new(&node.hierarchies, &sandbox.record.cgroup);
    let usage = group.usage();
    let running = node.containers_of(&sandbox.id).into_iter().filter(|container| container.is_running());
    let linux = LinuxPodSandboxStats {
        cpu: Some(cpu(&group, &usage, timestamp)),
        memory: Some(memory(&group, &usage, timestamp)),
        network: network(node, sandbox, timestamp),
        process: Some(ProcessUsage { timestamp, process_count: value(usage.processes) }),
        containers: running.map(|own| container(node, &own)).collect(),
        io: io(&group, timestamp),
    };
    PodSandboxStats {
        attributes: Some(PodSandboxAttributes {
            id: sandbox.id.clone(),
            metadata: sandbox.config.metadata.clone(),
            labels: sandbox.config.labels.clone(),
            annotations: sandbox.config.annotations.clone(),
        }),
        linux: Some(linux),
        windows: None,
    }
}

fn cpu(group: &Group<'_>, usage: &Usage, timestamp: i64) -> CpuUsage {
    let psi = group.pressure("cpu");
    CpuUsage { timestamp, usage_core_nano_seconds: value(usage.cpu_ns), usage_nano_cores: None, psi }
}

/// Of disks, only how long processes wait for them is told.
fn io(group: &Group<'_>, timestamp: i64) -> Option<IoUsage> {
    group.pressure("io").map(|psi| IoUsage { timestamp, psi: Some(psi) })
}

fn memory(group: &Group<'_>, usage: &Usage, timestamp: i64) -> MemoryUsage {
    let limit = Some(usage.memory_limit_bytes).filter(|limit| *limit > 0);
    MemoryUsage {
        timestamp,
        working_set_bytes: value(usage.working_set_bytes),
        available_bytes: limit.and_then(|limit| value(limit.saturating_sub(usage.working_set_bytes))),
        usage_bytes: value(usage.memory_bytes),
        rss_bytes: value(usage.rss_bytes),
        page_faults: value(usage.page_faults),
        major_page_faults: value(usage.major_page_faults),
        psi: group.pressure("memory"),
    }
}

/// The traffic of a Pod's interfaces, as a process in it sees them.
fn network(node: &Node, sandbox: &Sandbox, timestamp: i64) -> Option<NetworkUsage> {
    let living = |container: &std::sync::Arc<Container>| {
        let running = container.is_running().then(|| records::read_started(&node.places.container(&container.id)));
        running?.ok().flatten().map(|running| running.pid)
    };
    let pid = node.containers_of(&sandbox.id).iter().find_map(living)?;
    let mut interfaces = interfaces(&fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?);
    let main = interfaces.iter().position(|interface| interface.name == "eth0");
    let default_interface = main.map(|position| interfaces.remove(position));
    Some(NetworkUsage { timestamp, default_interface, interfaces })
}

/// `/proc/<pid>/net/dev`: after two lines of headings, a name and sixteen numbers; loopback is left out.
fn interfaces(table: &str) -> Vec<NetworkInterfaceUsage> {
    let parse = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let usage = |position: usize| numbers.get(position).and_then(|number| value(*number));
        Some(NetworkInterfaceUsage {
            name: name.trim().to_owned(),
            rx_bytes: usage(0),
            rx_errors: usage(2),
            tx_bytes: usage(8),
            tx_errors: usage(10),
        })
    };
    table.lines().skip(2).filter_map(parse).filter(|interface| interface.name != "lo").collect()
}

/// The space and the files that the tree at `path` takes.
pub(crate) fn filesystem(path: &Path, timestamp: i64) -> FilesystemUsage {
    let tree = Tree::of(path);
    FilesystemUsage {
        timestamp,
        fs_id: Some(FilesystemIdentifier { mountpoint: path.display().to_string() }),
        used_bytes: value(tree.bytes),
        inodes_used: value(tree.inodes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_counters() {
        let table = "Inter-|   Receive\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 0 0 0 0 0 20 4 5 0 0 0 0 0\n";
        let found = interfaces(table);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].rx_bytes, found[0].rx_errors), (value(10), value(3)));
        assert_eq!((found[0].tx_bytes, found[0].tx_errors), (value(20), value(5)));
    }
}
