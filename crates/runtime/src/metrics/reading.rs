//! The values, from control files and `/proc`.

use std::fs;
use std::path::Path;

use sampan_cri::v1::{PsiData, PsiStats};

use crate::cgroups::{Group, Usage, flat_value};
use crate::node::{Container, ContainerState, Node};
use crate::{records, stats};

const NANOSECONDS: u64 = 1_000_000_000;
const MICROSECONDS: u64 = 1_000_000;
/// In which version 1 counts time: hundredths, on every architecture there is.
const TICKS: u64 = 100;
/// Processes looked into for one reading.
const MAX_PROCESSES: usize = 4096;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) name: &'static str,
    /// Of the labels that are the family's own.
    pub(super) labels: Vec<String>,
    pub(super) value: u64,
}

fn sample(name: &'static str, value: u64) -> Sample {
    Sample { name, labels: Vec::new(), value }
}

fn labelled<const N: usize>(name: &'static str, labels: [&str; N], value: u64) -> Sample {
    Sample { name, labels: labels.map(str::to_owned).to_vec(), value }
}

/// Everything of one container that runs.
pub(super) fn container(node: &Node, container: &Container) -> Vec<Sample> {
    let group = Group::new(&node.hierarchies, &container.record.cgroup);
    let mut samples = cpu(&group);
    samples.extend(memory(&group));
    let used = stats::layer(node, container).and_then(|layer| layer.used_bytes).map_or(0, |bytes| bytes.value);
    samples.extend(disk(&group, &node.places.writable().join(&container.id), used));
    samples.extend(pressure(&group));
    samples.extend(huge_pages(&group));
    samples.extend(processes(&group));
    samples.extend(limits(container));
    let now = sampan_clock::now().as_second();
    samples.push(sample("container_last_seen", now.unsigned_abs()));
    if let ContainerState::Running { started_at } = container.state() {
        samples.push(sample("container_start_time_seconds", started_at.as_second().unsigned_abs()));
    }
    samples
}

fn cpu(group: &Group<'_>) -> Vec<Sample> {
    let stat = group.read("cpu", "cpu.stat");
    let (user, system, throttled) = if group.is_v2() {
        let seconds = |key| flat_value(&stat, key) / MICROSECONDS;
        (seconds("user_usec"), seconds("system_usec"), seconds("throttled_usec"))
    } else {
        let times = group.read("cpuacct", "cpuacct.stat");
        let throttled = flat_value(&stat, "throttled_time") / NANOSECONDS;
        (flat_value(&times, "user") / TICKS, flat_value(&times, "system") / TICKS, throttled)
    };
    vec![
        labelled("container_cpu_usage_seconds_total", ["total"], group.usage().cpu_ns / NANOSECONDS),
        sample("container_cpu_user_seconds_total", user),
        sample("container_cpu_system_seconds_total", system),
        sample("container_cpu_cfs_periods_total", flat_value(&stat, "nr_periods")),
        sample("container_cpu_cfs_throttled_periods_total", flat_value(&stat, "nr_throttled")),
        sample("container_cpu_cfs_throttled_seconds_total", throttled),
    ]
}

fn memory(group: &Group<'_>) -> Vec<Sample> {
    let Usage { memory_bytes, working_set_bytes, rss_bytes, swap_bytes, page_faults, major_page_faults, .. } =
        group.usage();
    let stat = group.read("memory", "memory.stat");
    let number = |file: &str| group.read("memory", file).trim().parse().unwrap_or_default();
    let (cache, mapped, kernel, most, failures) = if group.is_v2() {
        let stat = |key| flat_value(&stat, key);
        let failures = flat_value(&group.read("memory", "memory.events"), "max");
        (stat("file"), stat("file_mapped"), stat("kernel"), number("memory.peak"), failures)
    } else {
        let stat = |key| flat_value(&stat, key);
        let kernel = number("memory.kmem.usage_in_bytes");
        let (most, failures) = (number("memory.max_usage_in_bytes"), number("memory.failcnt"));
        (stat("total_cache"), stat("total_mapped_file"), kernel, most, failures)
    };
    let faults = |kind, scope, value| labelled("container_memory_failures_total", [kind, scope], value);
    vec![
        sample("container_memory_usage_bytes", memory_bytes),
        sample("container_memory_working_set_bytes", working_set_bytes),
        sample("container_memory_rss", rss_bytes),
        sample("container_memory_swap", swap_bytes),
        sample("container_memory_cache", cache),
        sample("container_memory_mapped_file", mapped),
        sample("container_memory_kernel_usage", kernel),
        sample("container_memory_max_usage_bytes", most),
        sample("container_memory_failcnt", failures),
        faults("pgfault", "container", page_faults),
        faults("pgmajfault", "container", major_page_faults),
        faults("pgfault", "hierarchy", page_faults),
        faults("pgmajfault", "hierarchy", major_page_faults),
        sample("container_oom_events_total", group.oom_kills()),
    ]
}

fn disk(group: &Group<'_>, writable: &Path, used: u64) -> Vec<Sample> {
    let mut samples = Vec::new();
    let device = "";
    if let Ok(system) = rustix::fs::statvfs(writable) {
        samples.push(labelled("container_fs_limit_bytes", [device], system.f_blocks * system.f_frsize));
        samples.push(labelled("container_fs_inodes_total", [device], system.f_files));
        samples.push(labelled("container_fs_inodes_free", [device], system.f_ffree));
    }
    samples.push(labelled("container_fs_usage_bytes", [device], used));
    samples.extend(if group.is_v2() { transfers_v2(group) } else { transfers_v1(group) });
    samples
}

/// `major:minor rbytes=1 wbytes=2 rios=3 wios=4 ...` a line.
fn transfers_v2(group: &Group<'_>) -> Vec<Sample> {
    let mut samples = Vec::new();
    for line in group.read("io", "io.stat").lines() {
        let mut words = line.split(' ');
        let device = words.next().unwrap_or_default();
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let value = value.parse().unwrap_or_default();
            samples.extend(transfer(device, key, value));
        }
    }
    samples
}

/// `major:minor Read 1` a line, and totals.
fn transfers_v1(group: &Group<'_>) -> Vec<Sample> {
    let mut samples = Vec::new();
    let files = [
        ("blkio.throttle.io_service_bytes_recursive", [("Read", "rbytes"), ("Write", "wbytes")]),
        ("blkio.throttle.io_serviced_recursive", [("Read", "rios"), ("Write", "wios")]),
    ];
    for (file, keys) in files {
        for line in group.read("blkio", file).lines() {
            let words: Vec<_> = line.split(' ').collect();
            let [device, operation, value] = words[..] else { continue };
            let key = keys.iter().find(|(name, _)| *name == operation).map(|(_, key)| *key);
            samples.extend(key.into_iter().flat_map(|key| transfer(device, key, value.parse().unwrap_or_default())));
        }
    }
    samples
}

fn transfer(device: &str, key: &str, value: u64) -> Vec<Sample> {
    let usage = |operation| labelled("container_blkio_device_usage_total", [device, operation], value);
    match key {
        "rbytes" => vec![labelled("container_fs_reads_bytes_total", [device], value), usage("Read")],
        "wbytes" => vec![labelled("container_fs_writes_bytes_total", [device], value), usage("Write")],
        "rios" => vec![labelled("container_fs_reads_total", [device], value)],
        "wios" => vec![labelled("container_fs_writes_total", [device], value)],
        _ => Vec::new(),
    }
}

fn pressure(group: &Group<'_>) -> Vec<Sample> {
    const KINDS: [(&str, &str, &str); 3] = [
        ("cpu", "container_pressure_cpu_waiting_seconds_total", "container_pressure_cpu_stalled_seconds_total"),
        ("io", "container_pressure_io_waiting_seconds_total", "container_pressure_io_stalled_seconds_total"),
        (
            "memory",
            "container_pressure_memory_waiting_seconds_total",
            "container_pressure_memory_stalled_seconds_total",
        ),
    ];
    let samples = KINDS.into_iter().flat_map(|(resource, waiting, stalled)| {
        let PsiStats { some, full } = group.pressure(resource).unwrap_or_default();
        let total = |name, data: Option<PsiData>| data.map(|data| sample(name, data.total / MICROSECONDS));
        [total(waiting, some), total(stalled, full)]
    });
    samples.flatten().collect()
}

fn huge_pages(group: &Group<'_>) -> Vec<Sample> {
    const USAGE: &str = "container_hugetlb_usage_bytes";
    const MOST: &str = "container_hugetlb_max_usage_bytes";
    let (usage, most) = if group.is_v2() { (".current", ".max") } else { (".usage_in_bytes", ".max_usage_in_bytes") };
    let mut samples = Vec::new();
    for file in group.files("hugetlb") {
        let Some(rest) = file.strip_prefix("hugetlb.").filter(|rest| !rest.contains(".rsvd.")) else { continue };
        let value = || group.read("hugetlb", &file).trim().parse().unwrap_or_default();
        if let Some(size) = rest.strip_suffix(usage) {
            samples.push(labelled(USAGE, [size], value()));
        } else if let Some(size) = rest.strip_suffix(most).filter(|_| !group.is_v2()) {
            samples.push(labelled(MOST, [size], value()));
        }
    }
    samples
}

fn processes(group: &Group<'_>) -> Vec<Sample> {
    let pids = group.processes();
    let (mut descriptors, mut sockets) = (0, 0);
    for pid in pids.iter().take(MAX_PROCESSES) {
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for entry in entries.flatten() {
            descriptors += 1;
            let target = fs::read_link(entry.path()).unwrap_or_default();
            sockets += u64::from(target.as_os_str().as_encoded_bytes().starts_with(b"socket:"));
        }
    }
    let most = group.read("pids", "pids.max").trim().parse().unwrap_or_default();
    let mut samples = vec![
        sample("container_processes", pids.len() as u64),
        sample("container_threads", group.usage().processes),
        sample("container_threads_max", most),
        sample("container_file_descriptors", descriptors),
        sample("container_sockets", sockets),
    ];
    let limits = pids.first().and_then(|pid| fs::read_to_string(format!("/proc/{pid}/limits")).ok());
    let files = limits.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("Max open files")));
    let soft = files.and_then(|line| line.split_whitespace().next()).and_then(|soft| soft.parse().ok());
    samples.extend(soft.map(|soft| labelled("container_ulimits_soft", ["max_open_files"], soft)));
    samples
}

fn limits(container: &Container) -> Vec<Sample> {
    let resources = container.resources.lock().clone();
    let number = |value: i64| u64::try_from(value).unwrap_or_default();
    let (memory, swap) = (number(resources.memory_limit_in_bytes), number(resources.memory_swap_limit_in_bytes));
    let mut samples = vec![
        sample("container_spec_cpu_period", number(resources.cpu_period)),
        sample("container_spec_cpu_shares", number(resources.cpu_shares)),
        sample("container_spec_memory_limit_bytes", memory),
        sample("container_spec_memory_reservation_limit_bytes", 0),
        sample("container_spec_memory_swap_limit_bytes", swap),
    ];
    if resources.cpu_quota > 0 {
        samples.push(sample("container_spec_cpu_quota", number(resources.cpu_quota)));
    }
    samples
}

/// The traffic of the Pod that `container` belongs to.
pub(super) fn network(node: &Node, container: &Container) -> Option<Vec<Sample>> {
    let running = records::read_started(&node.places.container(&container.id)).ok().flatten()?;
    Some(traffic(&fs::read_to_string(format!("/proc/{}/net/dev", running.pid)).ok()?))
}

/// `/proc/<pid>/net/dev`: after two lines of headings, a name and sixteen numbers.
fn traffic(table: &str) -> Vec<Sample> {
    const COLUMNS: [(usize, &str); 8] = [
        (0, "container_network_receive_bytes_total"),
        (1, "container_network_receive_packets_total"),
        (2, "container_network_receive_errors_total"),
        (3, "container_network_receive_packets_dropped_total"),
        (8, "container_network_transmit_bytes_total"),
        (9, "container_network_transmit_packets_total"),
        (10, "container_network_transmit_errors_total"),
        (11, "container_network_transmit_packets_dropped_total"),
    ];
    let mut samples = Vec::new();
    for (name, numbers) in table.lines().skip(2).filter_map(|line| line.split_once(':')) {
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        for (column, family) in COLUMNS.iter().filter(|_| name.trim() != "lo") {
            samples.extend(numbers.get(*column).map(|value| labelled(family, [name.trim()], *value)));
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_by_interface() {
        let table =
            "Inter-|\n face |\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 20 5 6 7 0 0 0 0\n";
        let values: Vec<_> = traffic(table).into_iter().map(|sample| (sample.labels, sample.value)).collect();
        let eth0 = |value| (vec!["eth0".to_owned()], value);
        assert_eq!(values, [10, 2, 3, 4, 20, 5, 6, 7].map(eth0));
    }
}
