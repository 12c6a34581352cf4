//! `/metrics`: what the kubelet has to say of itself, under upstream's names.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerState, Pod};
use procfs::process::Process;

use super::text::{Family, Sample, Text};

/// The text.
pub(super) fn text(node_name: &str, version: &str, pods: &[Arc<Pod>]) -> String {
    let mut text = Text::default();
    let sample = |labels, value: usize| Sample { labels, value: Some(value as f64), time_ns: None };
    text.family(
        Family {
            name: "kubernetes_build_info",
            kind: "gauge",
            help: "[ALPHA] A metric with a constant '1' value labeled by version.",
        },
        [sample(vec![("git_version", version), ("platform", "linux")], 1)],
    );
    text.family(
        Family { name: "kubelet_node_name", kind: "gauge", help: "[ALPHA] The node's name. The count is always 1." },
        [sample(vec![("node", node_name)], 1)],
    );
    let running = pods.iter().filter(|pod| crate::spec::status(pod).phase.as_deref() == Some("Running"));
    text.single(
        Family {
            name: "kubelet_running_pods",
            kind: "gauge",
            help: "[ALPHA] Number of pods that have a running pod sandbox",
        },
        running.count() as f64,
    );
    text.single(
        Family {
            name: "kubelet_desired_pods",
            kind: "gauge",
            help: "[ALPHA] The number of pods the kubelet is being instructed to run.",
        },
        pods.len() as f64,
    );
    let state = |of: fn(&ContainerState) -> bool| {
        let statuses = pods.iter().flat_map(|pod| crate::spec::status(pod).container_statuses.iter().flatten());
        statuses.filter(|status| status.state.as_ref().is_some_and(of)).count()
    };
    text.family(
        Family {
            name: "kubelet_running_containers",
            kind: "gauge",
            help: "[ALPHA] Number of containers currently running",
        },
        [
            sample(vec![("container_state", "exited")], state(|state| state.terminated.is_some())),
            sample(vec![("container_state", "running")], state(|state| state.running.is_some())),
        ],
    );
    process(&mut text);
    text.finish()
}

/// What Prometheus' clients tell of their own process.
fn process(text: &mut Text) {
    let Ok(own) = Process::myself() else { return };
    let Ok(stat) = own.stat() else { return };
    let ticks = procfs::ticks_per_second() as f64;
    let mut single = |name, kind, help, value: Option<f64>| {
        if let Some(value) = value {
            text.single(Family { name, kind, help }, value);
        }
    };
    single(
        "process_cpu_seconds_total",
        "counter",
        "Total user and system CPU time spent in seconds.",
        Some((stat.utime + stat.stime) as f64 / ticks),
    );
    single(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory size in bytes.",
        Some(stat.rss as f64 * procfs::page_size() as f64),
    );
    single("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", Some(stat.vsize as f64));
    single(
        "process_open_fds",
        "gauge",
        "Number of open file descriptors.",
        own.fd_count().ok().map(|count| count as f64),
    );
}
