//! `/metrics/resource`: CPU, memory and swap of containers, Pods and the node, under upstream's names.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::Starts;
use super::text::{Family, Sample, Text};
use crate::usage::{Reading, Usage};

const NANOS_PER_SECOND: f64 = 1e9;

/// Something that is measured: its labels, its usage, when it was started.
struct Item<'a> {
    labels: Vec<(&'static str, &'a str)>,
    usage: &'a Usage,
    started_s: Option<f64>,
}

/// A family of one scope: what follows the scope's name, type, help (where `{}` is the scope), and its value.
type Row = (&'static str, &'static str, &'static str, fn(&Item<'_>) -> Option<f64>);

/// What is told of everything.
const COMMON: [Row; 3] = [
    ("cpu_usage_seconds_total", "counter", "[STABLE] Cumulative cpu time consumed by the {} in core-seconds", |item| {
        item.usage.cpu_ns.map(|ns| ns as f64 / NANOS_PER_SECOND)
    }),
    ("memory_working_set_bytes", "gauge", "[STABLE] Current working set of the {} in bytes", |item| {
        item.usage.working_set_bytes.map(|bytes| bytes as f64)
    }),
    (
        "swap_usage_bytes",
        "gauge",
        "[ALPHA] Current amount of the {} swap usage in bytes. Reported only on non-windows systems",
        |item| item.usage.swap_bytes.map(|bytes| bytes as f64),
    ),
];

/// What is told of containers besides.
const OF_CONTAINERS: [Row; 2] = [
    ("start_time_seconds", "gauge", "[STABLE] Start time of the {} since unix epoch in seconds", |item| item.started_s),
    (
        "swap_limit_bytes",
        "gauge",
        "[ALPHA] Current amount of the {} swap limit in bytes. Reported only on non-windows systems",
        |item| Some((item.usage.swap_bytes? + item.usage.swap_available_bytes?) as f64),
    ),
];

/// The text.
pub(super) fn text(reading: &Reading, pods: &[Arc<Pod>]) -> String {
    let starts = Starts::of(pods);
    let containers = reading.pods.iter().flat_map(|pod| pod.containers.iter().map(move |container| (pod, container)));
    let containers: Vec<Item<'_>> = containers
        .map(|(pod, container)| Item {
            labels: vec![("container", &container.name), ("namespace", &pod.namespace), ("pod", &pod.name)],
            usage: &container.usage,
            started_s: starts.get(&pod.uid, &container.name).map(|at| at.as_millisecond() as f64 / 1e3),
        })
        .collect();
    let of_pods: Vec<Item<'_>> = reading
        .pods
        .iter()
        .map(|pod| Item {
            labels: vec![("namespace", &pod.namespace), ("pod", &pod.name)],
            usage: &pod.usage,
            started_s: None,
        })
        .collect();
    let node = [Item { labels: Vec::new(), usage: &reading.node.usage, started_s: None }];
    let mut text = Text::default();
    families(&mut text, "container", &containers, COMMON.iter().chain(&OF_CONTAINERS));
    families(&mut text, "pod", &of_pods, COMMON.iter());
    families(&mut text, "node", &node, COMMON.iter());
    let help = "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise";
    text.single(Family { name: "resource_scrape_error", kind: "gauge", help }, 0.0);
    text.finish()
}

fn families<'r>(text: &mut Text, scope: &str, items: &[Item<'_>], rows: impl Iterator<Item = &'r Row>) {
    for (what, kind, help, value) in rows {
        let samples = items.iter().map(|item| Sample {
            labels: item.labels.clone(),
            value: value(item),
            time_ns: (*what != "start_time_seconds").then_some(item.usage.time_ns),
        });
        let (name, help) = (format!("{scope}_{what}"), help.replace("{}", scope));
        text.family(Family { name: &name, kind, help: &help }, samples);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::usage::{ContainerUsage, PodUsage};

    #[test]
    fn every_scope_has_its_families() {
        let usage = Usage {
            time_ns: 1_700_000_000_000_000_000,
            cpu_ns: Some(1_500_000_000),
            working_set_bytes: Some(30),
            ..Usage::default()
        };
        let container = ContainerUsage { name: "a".to_owned(), usage: usage.clone(), ..ContainerUsage::default() };
        let text = |text: &str| text.to_owned();
        let pod = PodUsage {
            namespace: text("ns"),
            name: text("p"),
            uid: text("u"),
            usage,
            containers: vec![container],
            ..PodUsage::default()
        };
        let object = serde_json::from_value(json!({
            "metadata": {"uid": "u"},
            "status": {"containerStatuses": [{"name": "a", "ready": true, "restartCount": 0, "image": "", "imageID": "",
                "state": {"running": {"startedAt": "2023-11-14T22:13:20Z"}}}]},
        }));
        let reading = Reading { pods: vec![pod], ..Reading::default() };
        let metrics = super::text(&reading, &[Arc::new(object.unwrap())]);
        for line in [
            r#"container_cpu_usage_seconds_total{container="a",namespace="ns",pod="p"} 1.5 1700000000000"#,
            r#"container_start_time_seconds{container="a",namespace="ns",pod="p"} 1700000000"#,
            r#"pod_memory_working_set_bytes{namespace="ns",pod="p"} 30 1700000000000"#,
            "# TYPE node_cpu_usage_seconds_total counter",
            "resource_scrape_error 0",
        ] {
            assert!(metrics.lines().any(|got| got == line), "{line}\n{metrics}");
        }
    }
}
