//! `/stats/summary`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use sampan_cri::v1::{PsiData, PsiStats};
use serde_json::{Map, Value, json};

use super::Starts;
use crate::config::paths::PodPaths;
use crate::server::State;
use crate::server::failure::Failure;
use crate::usage::{ContainerUsage, Ephemeral, Interface, NodeUsage, PodUsage, Pressure, Reading, Space, Tree, Usage};

/// What a summary is made from.
pub(super) struct Inputs<'a> {
    pub(super) node_name: &'a str,
    pub(super) reading: &'a Reading,
    pub(super) pods: &'a [Arc<Pod>],
}

/// What takes reading of disks.
#[derive(Debug, Default)]
pub(super) struct Disks {
    /// The file system of Pods' directories, and that of images.
    node: Space,
    images: Space,
    /// By uid.
    pods: BTreeMap<String, Ephemeral>,
}

impl Disks {
    /// Walks the directories of the Pods in `reading`.
    pub(super) async fn measure(state: &State, reading: &Reading) -> Result<Self, Failure> {
        let images = state.meter.image_directory().await;
        let (root, logs) = (state.root_dir.clone(), state.log_dir.clone());
        let of_reading: Vec<_> =
            reading.pods.iter().map(|pod| (pod.namespace.clone(), pod.name.clone(), pod.uid.clone())).collect();
        let walk = move || -> Result<Self, crate::Error> {
            let node = Space::of(&root)?;
            let pods = of_reading.into_iter().map(|(namespace, name, uid)| {
                let paths = PodPaths::named(&namespace, &name, &uid, (&root, &logs));
                (uid, Ephemeral::measure(&paths))
            });
            Ok(Self { images: images.and_then(|dir| Space::of(&dir).ok()).unwrap_or(node), pods: pods.collect(), node })
        };
        tokio::task::spawn_blocking(walk).await.map_err(Failure::internal)?.map_err(Failure::internal)
    }
}

/// The summary; without `disks` it is of CPU and memory only.
pub(super) fn summary(inputs: &Inputs<'_>, disks: Option<&Disks>) -> Value {
    let starts = Starts::of(inputs.pods);
    let pods: Vec<Value> = inputs
        .reading
        .pods
        .iter()
        .map(|usage| {
            let object = inputs.pods.iter().find(|pod| crate::spec::uid(pod) == usage.uid);
            pod(usage, object.map(AsRef::as_ref), &starts, disks)
        })
        .collect();
    json!({"node": node(inputs.node_name, &inputs.reading.node, disks), "pods": pods})
}

fn node(name: &str, node: &NodeUsage, disks: Option<&Disks>) -> Value {
    let mut value = cpu_and_memory(&node.usage);
    value["nodeName"] = name.into();
    value["startTime"] = Timestamp::from_second(node.started_s.cast_signed()).unwrap_or_default().to_string().into();
    let Some(disks) = disks else { return value };
    let time = time(&node.usage);
    put_io(&mut value, &node.usage);
    value["fs"] = file_system(&time, &disks.node, used(&disks.node));
    let images = file_system(&time, &disks.images, used(&disks.images));
    value["runtime"] = json!({"imageFs": images, "containerFs": images});
    if let Some((most, taken)) = node.pids {
        value["rlimit"] = json!({"time": time, "maxpid": most, "curproc": taken});
    }
    value["swap"] = swap(&node.usage);
    value
}

fn pod(usage: &PodUsage, object: Option<&Pod>, starts: &Starts<'_>, disks: Option<&Disks>) -> Value {
    let mut value = cpu_and_memory(&usage.usage);
    value["podRef"] = json!({"name": usage.name, "namespace": usage.namespace, "uid": usage.uid});
    if let Some(started) = object.and_then(|pod| pod.status.as_ref()?.start_time.as_ref()) {
        value["startTime"] = started.0.to_string().into();
    }
    let ephemeral = disks.and_then(|disks| Some((disks, disks.pods.get(&usage.uid)?)));
    let containers = usage.containers.iter();
    value["containers"] = containers.map(|one| container(one, starts.get(&usage.uid, &one.name), ephemeral)).collect();
    let Some((disks, ephemeral)) = ephemeral else { return value };
    let time = time(&usage.usage);
    put_io(&mut value, &usage.usage);
    value["network"] = network(&time, &usage.network);
    if let Some(count) = usage.processes {
        value["process_stats"] = json!({"process_count": count});
    }
    let layers = usage.containers.iter().filter_map(|container| container.writable);
    value["ephemeral-storage"] = file_system(&time, &disks.node, layers.fold(ephemeral.on_disk(), Tree::and));
    let volumes = ephemeral.volumes.iter().map(|volume| {
        let mut value = file_system(&time, &volume.own.unwrap_or(disks.node), volume.tree);
        value["name"] = volume.name.as_str().into();
        value
    });
    value["volume"] = volumes.collect();
    value
}

fn container(usage: &ContainerUsage, started: Option<Timestamp>, disk: Option<(&Disks, &Ephemeral)>) -> Value {
    let mut value = cpu_and_memory(&usage.usage);
    value["name"] = usage.name.as_str().into();
    if let Some(started) = started {
        value["startTime"] = started.to_string().into();
    }
    let Some((disks, ephemeral)) = disk else { return value };
    let time = time(&usage.usage);
    put_io(&mut value, &usage.usage);
    value["rootfs"] = file_system(&time, &disks.images, usage.writable.unwrap_or_default());
    let logs = ephemeral.logs.get(&usage.name).copied().unwrap_or_default();
    value["logs"] = file_system(&time, &disks.node, logs);
    value["swap"] = swap(&usage.usage);
    value
}

fn time(usage: &Usage) -> String {
    Timestamp::from_nanosecond(usage.time_ns.into()).unwrap_or_default().to_string()
}

/// What of a whole file system is used.
fn used(space: &Space) -> Tree {
    Tree {
        bytes: space.capacity_bytes.saturating_sub(space.available_bytes),
        inodes: space.inodes.saturating_sub(space.inodes_free),
    }
}

fn file_system(time: &str, space: &Space, used: Tree) -> Value {
    json!({
        "time": time, "availableBytes": space.available_bytes, "capacityBytes": space.capacity_bytes,
        "usedBytes": used.bytes, "inodesFree": space.inodes_free, "inodes": space.inodes, "inodesUsed": used.inodes,
    })
}

/// What is known of these, with the time.
fn section(usage: &Usage, fields: &[(&str, Option<u64>)]) -> Value {
    let known = fields.iter().filter_map(|(name, value)| Some(((*name).to_owned(), Value::from((*value)?))));
    Value::Object([("time".to_owned(), Value::from(time(usage)))].into_iter().chain(known).collect())
}

fn cpu_and_memory(usage: &Usage) -> Value {
    let mut value = json!({
        "cpu": section(usage, &[("usageNanoCores", usage.cpu_rate_nano), ("usageCoreNanoSeconds", usage.cpu_ns)]),
        "memory": section(usage, &[
            ("availableBytes", usage.available_bytes),
            ("usageBytes", usage.memory_bytes),
            ("workingSetBytes", usage.working_set_bytes),
            ("rssBytes", usage.rss_bytes),
            ("pageFaults", usage.page_faults),
            ("majorPageFaults", usage.major_page_faults),
        ]),
    });
    let Pressure { cpu, memory, .. } = &usage.pressure;
    for (name, stats) in [("cpu", cpu), ("memory", memory)] {
        if let Some(stats) = stats {
            value[name]["psi"] = psi(stats);
        }
    }
    value
}

/// Of disks, only how long somebody waits for them is told.
fn put_io(value: &mut Value, usage: &Usage) {
    if let Some(stats) = &usage.pressure.io {
        value["io"] = json!({"time": time(usage), "psi": psi(stats)});
    }
}

fn psi(stats: &PsiStats) -> Value {
    let data = |data: &Option<PsiData>| {
        let PsiData { total, avg10, avg60, avg300 } = data.unwrap_or_default();
        json!({"total": total, "avg10": avg10, "avg60": avg60, "avg300": avg300})
    };
    json!({"full": data(&stats.full), "some": data(&stats.some)})
}

fn swap(usage: &Usage) -> Value {
    section(usage, &[("swapAvailableBytes", usage.swap_available_bytes), ("swapUsageBytes", usage.swap_bytes)])
}

/// The main interface's counters stand beside the list of all.
fn network(time: &str, interfaces: &[Interface]) -> Value {
    let counters = |interface: &Interface| -> Map<String, Value> {
        let fields = [
            ("rxBytes", interface.rx_bytes),
            ("rxErrors", interface.rx_errors),
            ("txBytes", interface.tx_bytes),
            ("txErrors", interface.tx_errors),
        ];
        let known = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
        known.chain([("name".to_owned(), interface.name.as_str().into())]).collect()
    };
    let mut value = interfaces.first().map(counters).unwrap_or_default();
    value.insert("time".to_owned(), time.into());
    value.insert("interfaces".to_owned(), interfaces.iter().map(|one| Value::Object(counters(one))).collect());
    Value::Object(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> Reading {
        let usage = |cpu_ns| Usage {
            time_ns: 1_700_000_000_000_000_000,
            cpu_ns: Some(cpu_ns),
            working_set_bytes: Some(30),
            ..Usage::default()
        };
        let container = ContainerUsage {
            name: "b".into(),
            usage: usage(5),
            writable: Some(Tree { bytes: 100, inodes: 2 }),
            ..ContainerUsage::default()
        };
        let pod = PodUsage {
            namespace: "ns".into(),
            name: "p".into(),
            uid: "u".into(),
            usage: usage(2_000_000_000),
            processes: Some(3),
            network: vec![Interface { name: "eth0".into(), rx_bytes: Some(7), ..Interface::default() }],
            containers: vec![container],
            ..PodUsage::default()
        };
        Reading { pods: vec![pod], ..Reading::default() }
    }

    #[test]
    fn cpu_and_memory_only() {
        let summary = summary(&Inputs { node_name: "n1", reading: &reading(), pods: &[] }, None);
        assert_eq!(summary["node"]["nodeName"], "n1");
        assert_eq!(summary["pods"][0]["podRef"], json!({"name": "p", "namespace": "ns", "uid": "u"}));
        assert_eq!(summary["pods"][0]["cpu"]["usageCoreNanoSeconds"], 2_000_000_000_u64);
        assert_eq!(summary["pods"][0]["containers"][0]["memory"]["workingSetBytes"], 30);
        assert_eq!(summary["pods"][0]["containers"][0]["memory"]["time"], "2023-11-14T22:13:20Z");
        assert_eq!(summary["pods"][0]["containers"][0].get("rootfs"), None);
    }

    #[test]
    fn stalls_where_the_kernel_tells_of_them() {
        let disks = Disks { pods: [("u".to_owned(), Ephemeral::default())].into(), ..Disks::default() };
        let told = |reading: &Reading| summary(&Inputs { node_name: "n1", reading, pods: &[] }, Some(&disks));
        let mut reading = reading();
        let pod = &told(&reading)["pods"][0];
        assert_eq!((pod["memory"].get("psi"), pod.get("io")), (None, None));
        let some = PsiData { total: 12, avg10: 1.5, avg60: 0.25, avg300: 0.0 };
        let stats = Some(PsiStats { some: Some(some), full: None });
        reading.pods[0].usage.pressure = Pressure { cpu: None, memory: stats, io: stats };
        let pod = &told(&reading)["pods"][0];
        let none = json!({"total": 0, "avg10": 0.0, "avg60": 0.0, "avg300": 0.0});
        let want = json!({"full": none, "some": {"total": 12, "avg10": 1.5, "avg60": 0.25, "avg300": 0.0}});
        assert_eq!((&pod["memory"]["psi"], &pod["io"]["psi"], pod["cpu"].get("psi")), (&want, &want, None));
    }

    #[test]
    fn disks_too() {
        let logs = [("b".to_owned(), Tree { bytes: 10, inodes: 1 })].into();
        let ephemeral = Ephemeral { logs, ..Ephemeral::default() };
        let node = Space { capacity_bytes: 1000, available_bytes: 400, inodes: 50, inodes_free: 20 };
        let disks = Disks { node, images: node, pods: [("u".to_owned(), ephemeral)].into() };
        let summary = summary(&Inputs { node_name: "n1", reading: &reading(), pods: &[] }, Some(&disks));
        assert_eq!(summary["node"]["fs"]["usedBytes"], 600);
        let pod = &summary["pods"][0];
        assert_eq!(
            (&pod["ephemeral-storage"]["usedBytes"], &pod["ephemeral-storage"]["inodesUsed"]),
            (&json!(110), &json!(3))
        );
        assert_eq!((&pod["network"]["name"], &pod["network"]["interfaces"][0]["rxBytes"]), (&json!("eth0"), &json!(7)));
        assert_eq!(pod["containers"][0]["rootfs"]["usedBytes"], 100);
    }
}
