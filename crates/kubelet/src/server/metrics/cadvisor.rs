//! `/metrics/cadvisor`: what cAdvisor would tell of Pods, containers and the machine, as far as the container runtime
//! knows it. The row of a Pod as a whole has an empty `container`, as dashboards expect.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use sampan_cri::v1::PsiData;

use super::Starts;
use super::text::{Family, Sample, Text};
use crate::usage::{Interface, PodUsage, Pressure, Reading, Tree, Usage};

/// A container, or a Pod as a whole.
struct Item<'a> {
    labels: Vec<(&'static str, &'a str)>,
    usage: &'a Usage,
    writable: Option<Tree>,
    started_s: Option<f64>,
    processes: Option<u64>,
}

/// Name, type, help, value.
type Row = (&'static str, &'static str, &'static str, fn(&Item<'_>) -> Option<f64>);

const ROWS: [Row; 9] = [
    ("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", |item| {
        item.usage.cpu_ns.map(|ns| ns as f64 / 1e9)
    }),
    (
        "container_memory_usage_bytes",
        "gauge",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        |item| item.usage.memory_bytes.map(|bytes| bytes as f64),
    ),
    ("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", |item| {
        item.usage.working_set_bytes.map(|bytes| bytes as f64)
    }),
    ("container_memory_rss", "gauge", "Size of RSS in bytes.", |item| item.usage.rss_bytes.map(|bytes| bytes as f64)),
    ("container_memory_swap", "gauge", "Container swap usage in bytes.", |item| {
        item.usage.swap_bytes.map(|bytes| bytes as f64)
    }),
    (
        "container_fs_usage_bytes",
        "gauge",
        "Number of bytes that are consumed by the container on this filesystem.",
        |item| item.writable.map(|tree| tree.bytes as f64),
    ),
    ("container_fs_inodes_used", "gauge", "Number of Inodes used by the container on this filesystem.", |item| {
        item.writable.map(|tree| tree.inodes as f64)
    }),
    ("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds.", |item| {
        item.started_s
    }),
    ("container_processes", "gauge", "Number of processes running inside the container.", |item| {
        item.processes.map(|count| count as f64)
    }),
];

/// Name, help, value; all are counters.
type NetworkRow = (&'static str, &'static str, fn(&Interface) -> Option<u64>);

const OF_NETWORK: [NetworkRow; 4] = [
    ("container_network_receive_bytes_total", "Cumulative count of bytes received", |interface| interface.rx_bytes),
    ("container_network_receive_errors_total", "Cumulative count of errors encountered while receiving", |interface| {
        interface.rx_errors
    }),
    ("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", |interface| interface.tx_bytes),
    (
        "container_network_transmit_errors_total",
        "Cumulative count of errors encountered while transmitting",
        |interface| interface.tx_errors,
    ),
];

/// The text.
pub(super) fn text(reading: &Reading, pods: &[Arc<Pod>]) -> String {
    let starts = Starts::of(pods);
    let items: Vec<Item<'_>> = reading.pods.iter().flat_map(|pod| items(pod, &starts)).collect();
    let mut text = Text::default();
    for (name, kind, help, value) in ROWS {
        let samples = items.iter().map(|item| {
            let mut labels = item.labels.clone();
            if name == "container_cpu_usage_seconds_total" {
                labels.insert(1, ("cpu", "total"));
            }
            let time_ns = (name != "container_start_time_seconds").then_some(item.usage.time_ns);
            Sample { labels, value: value(item), time_ns }
        });
        text.family(Family { name, kind, help }, samples);
    }
    failures(&mut text, &items);
    stalls(&mut text, &items);
    for (name, help, value) in OF_NETWORK {
        let interfaces = reading.pods.iter().flat_map(|pod| pod.network.iter().map(move |interface| (pod, interface)));
        let samples = interfaces.map(|(pod, interface)| {
            let mut labels = labels(pod, "", &pod.sandbox);
            labels.insert(2, ("interface", &interface.name));
            Sample { labels, value: value(interface).map(|n| n as f64), time_ns: Some(pod.usage.time_ns) }
        });
        text.family(Family { name, kind: "counter", help }, samples);
    }
    machine(&mut text, reading);
    text.finish()
}

/// Name, help, value; all are counters.
type StallRow = (&'static str, &'static str, fn(&Pressure) -> Option<PsiData>);

const STALLS: [StallRow; 6] = [
    ("container_pressure_cpu_stalled_seconds_total", "Seconds in which nothing got a processor.", |of| of.cpu?.full),
    ("container_pressure_cpu_waiting_seconds_total", "Seconds in which something waited for a processor.", |of| {
        of.cpu?.some
    }),
    ("container_pressure_io_stalled_seconds_total", "Seconds in which everything waited for a disk.", |of| of.io?.full),
    ("container_pressure_io_waiting_seconds_total", "Seconds in which something waited for a disk.", |of| of.io?.some),
    ("container_pressure_memory_stalled_seconds_total", "Seconds in which everything waited for memory.", |of| {
        of.memory?.full
    }),
    ("container_pressure_memory_waiting_seconds_total", "Seconds in which something waited for memory.", |of| {
        of.memory?.some
    }),
];

/// How long processes waited for want of something, where the kernel tells.
fn stalls(text: &mut Text, items: &[Item<'_>]) {
    for (name, help, data) in STALLS {
        let samples = items.iter().map(|item| {
            let value = data(&item.usage.pressure).map(|data| data.total as f64 / 1e6);
            Sample { labels: item.labels.clone(), value, time_ns: Some(item.usage.time_ns) }
        });
        text.family(Family { name, kind: "counter", help }, samples);
    }
}

/// The containers of a Pod, and the Pod as a whole.
fn items<'a>(pod: &'a PodUsage, starts: &Starts<'_>) -> Vec<Item<'a>> {
    let containers = pod.containers.iter().map(|container| Item {
        labels: labels(pod, &container.name, &container.id),
        usage: &container.usage,
        writable: container.writable,
        started_s: starts.get(&pod.uid, &container.name).map(|at| at.as_second() as f64),
        processes: None,
    });
    let whole = Item {
        labels: labels(pod, "", &pod.sandbox),
        usage: &pod.usage,
        writable: None,
        started_s: None,
        processes: pod.processes,
    };
    containers.chain([whole]).collect()
}

fn labels<'a>(pod: &'a PodUsage, container: &'a str, id: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![("container", container), ("id", id), ("namespace", &pod.namespace), ("pod", &pod.name)]
}

fn failures(text: &mut Text, items: &[Item<'_>]) {
    let samples = items.iter().flat_map(|item| {
        let kinds = [("pgfault", item.usage.page_faults), ("pgmajfault", item.usage.major_page_faults)];
        kinds.map(|(kind, count)| {
            let more = [("failure_type", kind), ("scope", "container")];
            let labels = item.labels.iter().copied().chain(more).collect();
            Sample { labels, value: count.map(|n| n as f64), time_ns: Some(item.usage.time_ns) }
        })
    });
    let help = "Cumulative count of memory allocation failures.";
    text.family(Family { name: "container_memory_failures_total", kind: "counter", help }, samples);
}

fn machine(text: &mut Text, reading: &Reading) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    text.single(
        Family { name: "machine_cpu_cores", kind: "gauge", help: "Number of logical CPU cores." },
        cores as f64,
    );
    let memory = reading.node.usage.working_set_bytes.zip(reading.node.usage.available_bytes);
    if let Some((used, available)) = memory {
        let help = "Amount of memory installed on the machine.";
        text.single(Family { name: "machine_memory_bytes", kind: "gauge", help }, (used + available) as f64);
    }
}

#[cfg(test)]
mod tests {
    use sampan_cri::v1::PsiStats;

    use super::*;
    use crate::usage::ContainerUsage;

    #[test]
    fn containers_pods_and_interfaces() {
        let some = PsiData { total: 1_500_000, ..PsiData::default() };
        let memory = Some(PsiStats { some: Some(some), full: None });
        let usage = Usage {
            time_ns: 5_000_000,
            cpu_ns: Some(2_500_000_000),
            page_faults: Some(9),
            pressure: Pressure { memory, ..Pressure::default() },
            ..Usage::default()
        };
        let container = ContainerUsage { id: "c1".into(), name: "a".into(), usage: usage.clone(), writable: None };
        let interface = Interface { name: "eth0".into(), rx_bytes: Some(7), ..Interface::default() };
        let pod = PodUsage {
            namespace: "ns".into(),
            name: "p".into(),
            sandbox: "s1".into(),
            usage,
            network: vec![interface],
            containers: vec![container],
            ..PodUsage::default()
        };
        let metrics = text(&Reading { pods: vec![pod], ..Reading::default() }, &[]);
        for line in [
            r#"container_cpu_usage_seconds_total{container="a",cpu="total",id="c1",namespace="ns",pod="p"} 2.5 5"#,
            r#"container_cpu_usage_seconds_total{container="",cpu="total",id="s1",namespace="ns",pod="p"} 2.5 5"#,
            r#"container_memory_failures_total{container="a",id="c1",namespace="ns",pod="p",failure_type="pgfault",scope="container"} 9 5"#,
            r#"container_pressure_memory_waiting_seconds_total{container="a",id="c1",namespace="ns",pod="p"} 1.5 5"#,
            r#"container_network_receive_bytes_total{container="",id="s1",interface="eth0",namespace="ns",pod="p"} 7 5"#,
        ] {
            assert!(metrics.lines().any(|got| got == line), "{line}\n{metrics}");
        }
        assert!(!metrics.contains("container_pressure_memory_stalled_seconds_total{"), "{metrics}");
    }
}
