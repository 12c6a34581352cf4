//! The status of the node's object: pure, but for what the machine itself is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sampan_api::node_features;
use sampan_cri::v1::{Image, StatusResponse};

use super::{Node, system};
use crate::devices::Counts;
use crate::eviction::Pressure;

/// How little of a disk is too little for anything but what runs already.
const LEAST_DISK_PERCENT: u64 = 10;
const LEAST_INODES_PERCENT: u64 = 5;
/// Upstream's words.
const SHUTTING_DOWN: &str = "node is shutting down";
/// What this kubelet can do that not every one can, sorted. A Pod that needs more goes elsewhere.
pub(super) const DECLARED_FEATURES: [&str; 4] = [
    node_features::EXTEND_WEBSOCKETS,
    node_features::RESIZE_PODS,
    node_features::RESIZE_INIT_CONTAINERS,
    node_features::RESTART_ALL_CONTAINERS,
];
/// Upstream reports this many images, and of each this many names.
const IMAGES: usize = 50;
const NAMES: usize = 5;

/// What the node's conditions say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Readings {
    pressures: BTreeSet<Pressure>,
    /// Why Pods cannot run here; nothing if they can.
    trouble: Option<String>,
}

impl Readings {
    /// What the node is short of, and the runtime's own status, or why there is none.
    pub(super) fn new(pressures: BTreeSet<Pressure>, runtime: Result<StatusResponse, String>) -> Self {
        Self { pressures, trouble: trouble(runtime) }
    }

    /// The same of a machine that may be about to go down.
    pub(super) fn before_shutdown(self, shutting_down: bool) -> Self {
        if shutting_down { Self { trouble: Some(SHUTTING_DOWN.to_owned()), ..self } } else { self }
    }

    /// Whether Pods can run.
    pub(super) fn ready(&self) -> bool {
        self.trouble.is_none()
    }
}

/// Whether so little is left of the disk below `dir` that the node takes no more Pods: 10 % of its space or 5 % of its
/// inodes.
pub fn disk_is_scarce(dir: &Path) -> bool {
    let scarce = |free: u64, all: u64, percent: u64| all > 0 && free.saturating_mul(100) < all.saturating_mul(percent);
    rustix::fs::statvfs(dir).is_ok_and(|disk| {
        scarce(disk.f_bavail, disk.f_blocks, LEAST_DISK_PERCENT)
            || scarce(disk.f_favail, disk.f_files, LEAST_INODES_PERCENT)
    })
}

/// Process ids: how many there can be, and how many are taken.
pub(crate) fn process_ids() -> Option<(i64, i64)> {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<i64>().ok();
    let most = number("/proc/sys/kernel/pid_max")?.min(number("/proc/sys/kernel/threads-max").unwrap_or(i64::MAX));
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let used: i64 = load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    Some((most, used))
}

fn trouble(runtime: Result<StatusResponse, String>) -> Option<String> {
    let conditions = match runtime {
        Err(error) => return Some(format!("container runtime is down: {error}")),
        Ok(answer) => answer.status.map(|status| status.conditions).unwrap_or_default(),
    };
    let wrong =
        conditions.iter().find(|c| !c.status && matches!(c.r#type.as_str(), "RuntimeReady" | "NetworkReady"))?;
    let part = if wrong.r#type == "NetworkReady" { "container runtime network" } else { "container runtime" };
    Some(format!("{part} not ready: {}=false reason:{} message:{}", wrong.r#type, wrong.reason, wrong.message))
}

/// What changes in a node's status.
pub(super) struct Inputs<'a> {
    pub(super) readings: &'a Readings,
    pub(super) images: &'a [Image],
    pub(super) devices: &'a Counts,
    /// Where the kubelet's own API listens.
    pub(super) port: u16,
}

/// The status with conditions as measured; `before` is the published one.
pub(super) fn status(node: &Node, inputs: &Inputs<'_>, before: &NodeStatus, now: Timestamp) -> NodeStatus {
    let features = node.runtime_features.borrow().clone();
    // An empty list takes away what another runtime has told before.
    let handlers = Some(features.handlers()).filter(|list| !list.is_empty() || before.runtime_handlers.is_some());
    NodeStatus {
        runtime_handlers: handlers,
        features: features.of_node(),
        addresses: Some(addresses(node)),
        capacity: Some(with_devices(&node.capacity.capacity, inputs.devices, |(all, _)| all)),
        allocatable: Some(with_devices(&node.capacity.allocatable, inputs.devices, |(_, healthy)| healthy)),
        conditions: Some(conditions(inputs.readings, before, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(inputs.port) }),
        }),
        node_info: Some(system::info(node)),
        images: Some(of_images(inputs.images)),
        declared_features: Some(DECLARED_FEATURES.map(str::to_owned).into()),
        ..NodeStatus::default()
    }
}

/// `amounts` with as many devices as `count` says.
fn with_devices(
    amounts: &BTreeMap<String, Quantity>,
    devices: &Counts,
    count: fn((usize, usize)) -> usize,
) -> BTreeMap<String, Quantity> {
    let devices = devices.iter().map(|(resource, counts)| (resource.clone(), Quantity(count(*counts).to_string())));
    amounts.clone().into_iter().chain(devices).collect()
}

fn addresses(node: &Node) -> Vec<NodeAddress> {
    let address = |kind: &str, address: &str| NodeAddress { type_: kind.to_owned(), address: address.to_owned() };
    let ips = node.facts.ips.iter().map(|ip| address("InternalIP", ip));
    ips.chain([address("Hostname", &node.options.node_name)]).collect()
}

fn of_images(images: &[Image]) -> Vec<ContainerImage> {
    let mut all: Vec<ContainerImage> = images
        .iter()
        .map(|image| ContainerImage {
            names: Some(image.repo_digests.iter().chain(&image.repo_tags).take(NAMES).cloned().collect()),
            size_bytes: i64::try_from(image.size).ok(),
        })
        .collect();
    all.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.names.cmp(&b.names)));
    all.truncate(IMAGES);
    all
}

/// Type, whether it holds, reason, message.
type Finding = (&'static str, bool, &'static str, String);

fn conditions(readings: &Readings, before: &NodeStatus, now: Timestamp) -> Vec<NodeCondition> {
    let pressure = |kind, holds: bool, yes: (&'static str, &str), no: (&'static str, &str)| -> Finding {
        let (reason, message) = if holds { yes } else { no };
        (kind, holds, reason, message.to_owned())
    };
    let findings = [
        pressure(
            "MemoryPressure",
            readings.pressures.contains(&Pressure::Memory),
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        pressure(
            "DiskPressure",
            readings.pressures.contains(&Pressure::Disk),
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        pressure(
            "PIDPressure",
            readings.pressures.contains(&Pressure::Pid),
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        match &readings.trouble {
            None => ("Ready", true, "KubeletReady", "kubelet is posting ready status".to_owned()),
            Some(trouble) => ("Ready", false, "KubeletNotReady", trouble.clone()),
        },
    ];
    findings.into_iter().map(|finding| condition(finding, before, now)).collect()
}

fn condition((kind, holds, reason, message): Finding, before: &NodeStatus, now: Timestamp) -> NodeCondition {
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let status = if holds { "True" } else { "False" };
    let known = before.conditions.iter().flatten().find(|condition| condition.type_ == kind);
    let since = known.filter(|known| known.status == status).and_then(|known| known.last_transition_time.clone());
    NodeCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: Some(since.unwrap_or(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_much_is_told_of_images() {
        let image = |number: u64| Image {
            repo_digests: vec![format!("i{number}@sha256:0")],
            repo_tags: (0..7).map(|tag| format!("i{number}:{tag}")).collect(),
            size: number,
            ..Image::default()
        };
        let told = of_images(&(0..60).map(image).collect::<Vec<_>>());
        assert_eq!((told.len(), told[0].size_bytes, told[49].size_bytes), (50, Some(59), Some(10)));
        assert_eq!(told[0].names.clone().unwrap(), ["i59@sha256:0", "i59:0", "i59:1", "i59:2", "i59:3"]);
    }
}
