//! Metrics by Pod and container, under the names that cAdvisor has for them: what upstream's kubelet passes on.
//!
//! [`FAMILIES`] says what there is; `reading.rs` takes the values from control files and `/proc`. What a host does not
//! account is left out.

mod reading;

use sampan_cri::v1::{ContainerMetrics, Metric, MetricDescriptor, MetricType, PodSandboxMetrics, UInt64Value};

use crate::node::{Container, Node, Sandbox};
use crate::status::nanoseconds;
use reading::Sample;

/// Labels that every metric has, in this order; its own come after them.
const LABELS: [&str; 6] = ["id", "name", "image", "container", "pod", "namespace"];
/// The label by which kubelets name a container.
const CONTAINER_LABEL: &str = "io.kubernetes.container.name";

use MetricType::{Counter, Gauge};

/// Name, kind, labels of its own, and what it means.
const FAMILIES: &[(&str, MetricType, &[&str], &str)] = &[
    ("container_blkio_device_usage_total", Counter, &["device", "operation"], "Bytes moved from and to block devices"),
    ("container_cpu_cfs_periods_total", Counter, &[], "Enforcement periods that have passed"),
    ("container_cpu_cfs_throttled_periods_total", Counter, &[], "Enforcement periods in which it was throttled"),
    ("container_cpu_cfs_throttled_seconds_total", Counter, &[], "Seconds for which it was throttled"),
    ("container_cpu_system_seconds_total", Counter, &[], "Seconds of processor time in the kernel"),
    ("container_cpu_usage_seconds_total", Counter, &["cpu"], "Seconds of processor time"),
    ("container_cpu_user_seconds_total", Counter, &[], "Seconds of processor time in programs"),
    ("container_file_descriptors", Gauge, &[], "Open descriptors of all processes"),
    ("container_fs_inodes_free", Gauge, &["device"], "Free inodes of the file system with the writable layer"),
    ("container_fs_inodes_total", Gauge, &["device"], "Inodes of the file system with the writable layer"),
    ("container_fs_limit_bytes", Gauge, &["device"], "Size of the file system with the writable layer"),
    ("container_fs_reads_bytes_total", Counter, &["device"], "Bytes read"),
    ("container_fs_reads_total", Counter, &["device"], "Reads completed"),
    ("container_fs_usage_bytes", Gauge, &["device"], "Bytes of the writable layer"),
    ("container_fs_writes_bytes_total", Counter, &["device"], "Bytes written"),
    ("container_fs_writes_total", Counter, &["device"], "Writes completed"),
    ("container_hugetlb_max_usage_bytes", Gauge, &["pagesize"], "Most bytes of huge pages ever in use"),
    ("container_hugetlb_usage_bytes", Gauge, &["pagesize"], "Bytes of huge pages in use"),
    ("container_last_seen", Gauge, &[], "When it was last seen, in seconds since 1970"),
    ("container_memory_cache", Gauge, &[], "Bytes of page cache"),
    ("container_memory_failcnt", Counter, &[], "How often the memory limit was hit"),
    ("container_memory_failures_total", Counter, &["failure_type", "scope"], "Page faults"),
    ("container_memory_kernel_usage", Gauge, &[], "Bytes of kernel memory"),
    ("container_memory_mapped_file", Gauge, &[], "Bytes of files mapped"),
    ("container_memory_max_usage_bytes", Gauge, &[], "Most bytes of memory ever in use"),
    ("container_memory_rss", Gauge, &[], "Bytes of anonymous memory"),
    ("container_memory_swap", Gauge, &[], "Bytes of swap in use"),
    ("container_memory_usage_bytes", Gauge, &[], "Bytes of memory in use, cache included"),
    ("container_memory_working_set_bytes", Gauge, &[], "Bytes of memory in use less what would be given up first"),
    ("container_network_receive_bytes_total", Counter, &["interface"], "Bytes received"),
    ("container_network_receive_errors_total", Counter, &["interface"], "Errors while receiving"),
    ("container_network_receive_packets_dropped_total", Counter, &["interface"], "Packets dropped while receiving"),
    ("container_network_receive_packets_total", Counter, &["interface"], "Packets received"),
    ("container_network_transmit_bytes_total", Counter, &["interface"], "Bytes transmitted"),
    ("container_network_transmit_errors_total", Counter, &["interface"], "Errors while transmitting"),
    ("container_network_transmit_packets_dropped_total", Counter, &["interface"], "Packets dropped while transmitting"),
    ("container_network_transmit_packets_total", Counter, &["interface"], "Packets transmitted"),
    ("container_oom_events_total", Counter, &[], "Processes killed for want of memory"),
    ("container_pressure_cpu_stalled_seconds_total", Counter, &[], "Seconds in which nothing got a processor"),
    ("container_pressure_cpu_waiting_seconds_total", Counter, &[], "Seconds in which something waited for a processor"),
    ("container_pressure_io_stalled_seconds_total", Counter, &[], "Seconds in which everything waited for a disk"),
    ("container_pressure_io_waiting_seconds_total", Counter, &[], "Seconds in which something waited for a disk"),
    ("container_pressure_memory_stalled_seconds_total", Counter, &[], "Seconds in which everything waited for memory"),
    ("container_pressure_memory_waiting_seconds_total", Counter, &[], "Seconds in which something waited for memory"),
    ("container_processes", Gauge, &[], "Processes"),
    ("container_sockets", Gauge, &[], "Open sockets of all processes"),
    ("container_spec_cpu_period", Gauge, &[], "Length of an enforcement period in microseconds"),
    ("container_spec_cpu_quota", Gauge, &[], "Processor time per period in microseconds"),
    ("container_spec_cpu_shares", Gauge, &[], "Share of the processors"),
    ("container_spec_memory_limit_bytes", Gauge, &[], "Limit of memory; 0 for none"),
    ("container_spec_memory_reservation_limit_bytes", Gauge, &[], "Reservation of memory; 0 for none"),
    ("container_spec_memory_swap_limit_bytes", Gauge, &[], "Limit of swap; 0 for none"),
    ("container_start_time_seconds", Gauge, &[], "When it was started, in seconds since 1970"),
    ("container_threads", Gauge, &[], "Threads"),
    ("container_threads_max", Gauge, &[], "Most threads allowed; 0 for no limit"),
    ("container_ulimits_soft", Gauge, &["ulimit"], "Soft limits of its first process"),
];

/// What metrics there are.
pub(crate) fn descriptors() -> Vec<MetricDescriptor> {
    let descriptor = |(name, _, own, help): &(&str, MetricType, &[&str], &str)| MetricDescriptor {
        name: (*name).to_owned(),
        help: (*help).to_owned(),
        label_keys: LABELS.iter().chain(*own).map(|key| (*key).to_owned()).collect(),
    };
    FAMILIES.iter().map(descriptor).collect()
}

/// The metrics of a sandbox and its running containers. Blocks: it counts files.
pub(crate) fn sandbox(node: &Node, sandbox: &Sandbox) -> PodSandboxMetrics {
    let now = nanoseconds(sampan_clock::now());
    let containers: Vec<_> = node.containers_of(&sandbox.id).into_iter().filter(|own| own.is_running()).collect();
    let of_pod = containers.iter().find_map(|own| reading::network(node, own)).unwrap_or_default();
    let labels = labels(sandbox, None);
    let container = |own: &std::sync::Arc<Container>| ContainerMetrics {
        container_id: own.id.clone(),
        metrics: metrics(reading::container(node, own), &self::labels(sandbox, Some(own)), now),
    };
    PodSandboxMetrics {
        pod_sandbox_id: sandbox.id.clone(),
        metrics: metrics(of_pod, &labels, now),
        container_metrics: containers.iter().map(container).collect(),
    }
}

fn labels(sandbox: &Sandbox, container: Option<&Container>) -> [String; LABELS.len()] {
    let pod = sandbox.config.metadata.clone().unwrap_or_default();
    let (id, cgroup) = container.map_or((&sandbox.id, &sandbox.record.cgroup), |own| (&own.id, &own.record.cgroup));
    let image = container.and_then(|own| own.config.image.as_ref()).map(|image| image.image.clone());
    let name = container.and_then(|own| {
        let of_kubelet = own.config.labels.get(CONTAINER_LABEL).cloned();
        of_kubelet.or_else(|| own.config.metadata.as_ref().map(|metadata| metadata.name.clone()))
    });
    let name = name.unwrap_or_else(|| "POD".to_owned());
    [cgroup.clone(), id.clone(), image.unwrap_or_default(), name, pod.name, pod.namespace]
}

/// Samples as CRI has them; one of no known family is none.
fn metrics(samples: Vec<Sample>, labels: &[String], timestamp: i64) -> Vec<Metric> {
    let metric = |sample: Sample| {
        let (name, kind, own, _) = FAMILIES.iter().find(|(name, ..)| *name == sample.name)?;
        debug_assert_eq!(own.len(), sample.labels.len(), "{name}");
        Some(Metric {
            name: (*name).to_owned(),
            timestamp,
            metric_type: (*kind).into(),
            label_values: labels.iter().cloned().chain(sample.labels).collect(),
            value: Some(UInt64Value { value: sample.value }),
        })
    };
    samples.into_iter().filter_map(metric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_described_once() {
        let descriptors = descriptors();
        for (number, descriptor) in descriptors.iter().enumerate() {
            assert!(descriptors[..number].iter().all(|known| known.name != descriptor.name), "{}", descriptor.name);
            assert!(!descriptor.help.is_empty() && descriptor.label_keys.len() >= LABELS.len());
        }
    }
}
