//! Usage of containers and node: from the container runtime and `/proc`, written as upstream's summary and metrics.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use procfs::{Current, CurrentSI, KernelStats, Meminfo};
use sampan_cri::v1::{self, runtime_service_client::RuntimeServiceClient};
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::failure::Failure;
use crate::config::labels;

const NANOS_PER_SECOND: f64 = 1e9;

/// The usage of one container at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ContainerUsage {
    namespace: String,
    pod: String,
    uid: String,
    container: String,
    usage: Usage,
}

/// CPU time used since the start, and memory in use.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Usage {
    time_ns: i64,
    cpu_ns: Option<u64>,
    cpu_rate_nano: Option<u64>,
    working_set_bytes: Option<u64>,
    usage_bytes: Option<u64>,
    rss_bytes: Option<u64>,
    available_bytes: Option<u64>,
}

/// What the runtime knows of every container.
pub(super) async fn of_containers(runtime: &RuntimeServiceClient<Channel>) -> Result<Vec<ContainerUsage>, Failure> {
    let request = v1::ListContainerStatsRequest { filter: None };
    let answer = runtime.clone().list_container_stats(request).await?.into_inner();
    Ok(answer.stats.into_iter().filter_map(of_container).collect())
}

fn of_container(stats: v1::ContainerStats) -> Option<ContainerUsage> {
    let labels = stats.attributes?.labels;
    let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
    let (cpu, memory) = (stats.cpu.unwrap_or_default(), stats.memory.unwrap_or_default());
    let number = |value: Option<v1::UInt64Value>| value.map(|number| number.value);
    Some(ContainerUsage {
        namespace: label(labels::POD_NAMESPACE),
        pod: label(labels::POD_NAME),
        uid: label(labels::POD_UID),
        container: label(labels::CONTAINER_NAME),
        usage: Usage {
            time_ns: cpu.timestamp.max(memory.timestamp),
            cpu_ns: number(cpu.usage_core_nano_seconds),
            cpu_rate_nano: number(cpu.usage_nano_cores),
            working_set_bytes: number(memory.working_set_bytes),
            usage_bytes: number(memory.usage_bytes),
            rss_bytes: number(memory.rss_bytes),
            available_bytes: number(memory.available_bytes),
        },
    })
}

/// The whole machine, since it was started.
pub(super) fn of_node() -> Result<Usage, Failure> {
    let memory = Meminfo::current().map_err(Failure::internal)?;
    let cpu = KernelStats::current().map_err(Failure::internal)?.total;
    let busy_ticks = cpu.user + cpu.nice + cpu.system + cpu.irq.unwrap_or(0) + cpu.softirq.unwrap_or(0);
    let available = memory.mem_available.unwrap_or(memory.mem_free);
    Ok(Usage {
        time_ns: now_ns(),
        cpu_ns: Some(busy_ticks.saturating_mul(1_000_000_000 / procfs::ticks_per_second())),
        working_set_bytes: Some(memory.mem_total.saturating_sub(available)),
        usage_bytes: Some(memory.mem_total.saturating_sub(memory.mem_free)),
        available_bytes: Some(available),
        ..Usage::default()
    })
}

fn now_ns() -> i64 {
    i64::try_from(sampan_clock::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// `/stats/summary`.
pub(super) fn summary(node_name: &str, node: &Usage, containers: &[ContainerUsage]) -> Value {
    let pods: Vec<Value> = by_pod(containers)
        .into_iter()
        .map(|((namespace, name, uid), containers)| {
            let mut pod = usage_json(&total(&containers));
            pod["podRef"] = json!({"name": name, "namespace": namespace, "uid": uid});
            pod["containers"] = containers.iter().map(|one| named(&one.container, &one.usage)).collect();
            pod
        })
        .collect();
    let mut node = usage_json(node);
    node["nodeName"] = node_name.into();
    json!({"node": node, "pods": pods})
}

fn named(name: &str, usage: &Usage) -> Value {
    let mut value = usage_json(usage);
    value["name"] = name.into();
    value
}

/// What is not known is left out.
fn usage_json(usage: &Usage) -> Value {
    let time = Timestamp::from_nanosecond(usage.time_ns.into()).unwrap_or_default().to_string();
    let section = |fields: &[(&str, Option<u64>)]| -> Value {
        let known = fields.iter().filter_map(|(name, value)| Some(((*name).to_owned(), Value::from((*value)?))));
        Value::Object([("time".to_owned(), Value::from(time.clone()))].into_iter().chain(known).collect())
    };
    json!({
        "cpu": section(&[("usageNanoCores", usage.cpu_rate_nano), ("usageCoreNanoSeconds", usage.cpu_ns)]),
        "memory": section(&[
            ("availableBytes", usage.available_bytes),
            ("usageBytes", usage.usage_bytes),
            ("workingSetBytes", usage.working_set_bytes),
            ("rssBytes", usage.rss_bytes),
        ]),
    })
}

type PodKey<'a> = (&'a str, &'a str, &'a str);

fn by_pod(containers: &[ContainerUsage]) -> BTreeMap<PodKey<'_>, Vec<&ContainerUsage>> {
    let mut pods: BTreeMap<PodKey<'_>, Vec<&ContainerUsage>> = BTreeMap::new();
    for one in containers {
        pods.entry((&one.namespace, &one.pod, &one.uid)).or_default().push(one);
    }
    pods
}

/// The sum over a Pod; a number is known if any container's is.
fn total(containers: &[&ContainerUsage]) -> Usage {
    let sum = |of: fn(&Usage) -> Option<u64>| containers.iter().filter_map(|one| of(&one.usage)).reduce(|a, b| a + b);
    Usage {
        time_ns: containers.iter().map(|one| one.usage.time_ns).max().unwrap_or_default(),
        cpu_ns: sum(|usage| usage.cpu_ns),
        cpu_rate_nano: sum(|usage| usage.cpu_rate_nano),
        working_set_bytes: sum(|usage| usage.working_set_bytes),
        usage_bytes: sum(|usage| usage.usage_bytes),
        rss_bytes: sum(|usage| usage.rss_bytes),
        available_bytes: None,
    }
}

/// `/metrics/resource`, upstream's stable names.
pub(super) fn resource_metrics(node: &Usage, containers: &[ContainerUsage]) -> String {
    let of_containers: Vec<(String, Usage)> = containers
        .iter()
        .map(|one| {
            let labels = format!(
                "{{container=\"{}\",namespace=\"{}\",pod=\"{}\"}}",
                escape(&one.container),
                escape(&one.namespace),
                escape(&one.pod)
            );
            (labels, one.usage.clone())
        })
        .collect();
    let of_pods: Vec<(String, Usage)> = by_pod(containers)
        .into_iter()
        .map(|((namespace, pod, _), list)| {
            (format!("{{namespace=\"{}\",pod=\"{}\"}}", escape(namespace), escape(pod)), total(&list))
        })
        .collect();
    let mut text = String::new();
    for (scope, list) in [("container", of_containers), ("pod", of_pods), ("node", vec![(String::new(), node.clone())])]
    {
        let cpu =
            list.iter().map(|(labels, usage)| (labels, usage, usage.cpu_ns.map(|ns| ns as f64 / NANOS_PER_SECOND)));
        let help = format!("Cumulative cpu time consumed by the {scope} in core-seconds");
        family(&mut text, (&format!("{scope}_cpu_usage_seconds_total"), "counter", &help), cpu);
        let memory =
            list.iter().map(|(labels, usage)| (labels, usage, usage.working_set_bytes.map(|bytes| bytes as f64)));
        let help = format!("Current working set of the {scope} in bytes");
        family(&mut text, (&format!("{scope}_memory_working_set_bytes"), "gauge", &help), memory);
    }
    text.push_str(
        "# HELP resource_scrape_error 1 if there was an error while getting container metrics, 0 otherwise\n",
    );
    text.push_str("# TYPE resource_scrape_error gauge\nresource_scrape_error 0\n");
    text
}

/// One metric: its head, and a line with a time in milliseconds for each value that is known.
fn family<'a>(
    text: &mut String,
    (name, kind, help): (&str, &str, &str),
    values: impl Iterator<Item = (&'a String, &'a Usage, Option<f64>)>,
) {
    let _ = write!(text, "# HELP {name} [STABLE] {help}\n# TYPE {name} {kind}\n");
    for (labels, usage, value) in values {
        if let Some(value) = value {
            let _ = writeln!(text, "{name}{labels} {value} {}", usage.time_ns / 1_000_000);
        }
    }
}

/// `/metrics`: what the kubelet itself has to say.
pub(super) fn kubelet_metrics(node_name: &str, pods: &[Arc<Pod>]) -> String {
    let statuses = |pod: &Arc<Pod>| pod.status.clone().unwrap_or_default().container_statuses.unwrap_or_default();
    let state = |of: fn(&k8s_openapi::api::core::v1::ContainerState) -> bool| {
        pods.iter().flat_map(statuses).filter(|status| status.state.as_ref().is_some_and(of)).count()
    };
    let running_pods =
        pods.iter().filter(|pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running")));
    let mut text = String::new();
    let _ = write!(
        text,
        "# HELP kubelet_node_name The node's name. The count is always 1.\n# TYPE kubelet_node_name gauge\n\
         kubelet_node_name{{node=\"{}\"}} 1\n\
         # HELP kubelet_running_pods Number of pods that have a running pod sandbox\n# TYPE kubelet_running_pods gauge\n\
         kubelet_running_pods {}\n\
         # HELP kubelet_running_containers Number of containers currently running\n\
         # TYPE kubelet_running_containers gauge\n\
         kubelet_running_containers{{container_state=\"exited\"}} {}\n\
         kubelet_running_containers{{container_state=\"running\"}} {}\n",
        escape(node_name),
        running_pods.count(),
        state(|state| state.terminated.is_some()),
        state(|state| state.running.is_some()),
    );
    text
}

/// A label's value as Prometheus wants it.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(container: &str, cpu_ns: u64, bytes: u64) -> ContainerUsage {
        let usage = Usage {
            time_ns: 1_700_000_000_000_000_000,
            cpu_ns: Some(cpu_ns),
            working_set_bytes: Some(bytes),
            ..Usage::default()
        };
        let text = str::to_owned;
        ContainerUsage { namespace: text("ns"), pod: text("p"), uid: text("u"), container: text(container), usage }
    }

    #[test]
    fn a_pod_is_the_sum_of_its_containers() {
        let containers = [usage("a", 1_500_000_000, 10), usage("b", 500_000_000, 20)];
        let summary = summary("n1", &Usage::default(), &containers);
        assert_eq!(summary["node"]["nodeName"], "n1");
        assert_eq!(summary["pods"][0]["podRef"], json!({"name": "p", "namespace": "ns", "uid": "u"}));
        assert_eq!(summary["pods"][0]["cpu"]["usageCoreNanoSeconds"], 2_000_000_000_u64);
        assert_eq!(summary["pods"][0]["containers"][1]["memory"]["workingSetBytes"], 20);
        assert_eq!(summary["pods"][0]["containers"][1]["memory"]["time"], "2023-11-14T22:13:20Z");

        let metrics = resource_metrics(&Usage::default(), &containers);
        for line in [
            r#"container_cpu_usage_seconds_total{container="a",namespace="ns",pod="p"} 1.5 1700000000000"#,
            r#"pod_memory_working_set_bytes{namespace="ns",pod="p"} 30 1700000000000"#,
            "# TYPE node_cpu_usage_seconds_total counter",
        ] {
            assert!(metrics.lines().any(|got| got == line), "{line}\n{metrics}");
        }
    }

    #[test]
    fn the_node_has_memory_and_has_used_cpu() {
        let node = of_node().expect("proc");
        assert!(node.working_set_bytes > Some(0) && node.cpu_ns > Some(0), "{node:?}");
    }
}
