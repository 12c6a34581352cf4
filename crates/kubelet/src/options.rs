//! What a kubelet is started with.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Taint;

use crate::cpus::{CpuPolicy, CpuSet};
pub use crate::eviction::Thresholds;
pub use crate::logs::LogLimits;
use crate::shutdown::ShutdownPhase;

/// Pods that a node takes unless told otherwise: upstream's number.
pub const DEFAULT_MAX_PODS: u32 = 110;
/// How many processes and threads a Pod may have if nothing is said.
pub const DEFAULT_POD_PIDS: u64 = 4096;

/// A runtime whose events may be lost is asked this often for what they have not told: upstream's number.
pub const DEFAULT_RELIST: Duration = Duration::from_secs(300);

/// Images go at this many percent of their disk, down to that many: before [`Thresholds`] make Pods go.
pub const DEFAULT_IMAGE_GC_PERCENT: (u8, u8) = (85, 80);

/// Whose memory the kernel may swap out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SwapBehavior {
    /// No container's.
    #[default]
    NoSwap,
    /// Containers of Burstable Pods, each by its share of the memory.
    LimitedSwap,
}

/// The settings of one node.
#[derive(Clone)]
pub struct Options {
    /// The node's name; the client's identity is `system:node:<name>`.
    pub node_name: String,
    /// The node's addresses, the primary one first.
    pub node_ips: Vec<IpAddr>,
    /// The client to the API server.
    pub client: kube::Client,
    /// The container runtime's unix socket.
    pub cri_socket: PathBuf,
    /// How often the runtime is asked for everything it has; never, if it tells of every event or that it has lost some.
    pub relist: Option<Duration>,
    /// Where Pods' volumes and files are kept (`/var/lib/sampan/kubelet`).
    pub root_dir: PathBuf,
    /// Where containers' logs are kept (`/var/log/pods`).
    pub log_dir: PathBuf,
    /// Where links to containers' logs are kept, under names that say whose they are (`/var/log/containers`).
    pub log_links: PathBuf,
    /// The name of the cgroup that all Pods' cgroups are below.
    pub cgroup_root: String,
    /// The cluster's name servers.
    pub cluster_dns: Vec<IpAddr>,
    /// The cluster's domain (`cluster.local`).
    pub cluster_domain: String,
    /// The node's own resolv.conf.
    pub resolv_conf: PathBuf,
    /// Where the kubelet's HTTPS API listens; the node's status tells its port.
    pub listen: SocketAddr,
    /// The certificate and client verification of that API; without it none is served.
    pub tls: Option<crate::server::Tls>,
    /// Labels of the node beside the standard ones.
    pub labels: BTreeMap<String, String>,
    /// Taints that the node is registered with.
    pub taints: Vec<Taint>,
    /// How many Pods the node takes.
    pub max_pods: u32,
    /// How many processes and threads one Pod may have; `None` is no bound. The default lets a large server run, and
    /// keeps a fork bomb from taking the node's process table.
    pub pod_pids_limit: Option<u64>,
    /// What the node keeps for itself: subtracted from its capacity, by resource (`cpu`, `memory`).
    pub reserved: BTreeMap<String, String>,
    /// Who gets processors of their own.
    pub cpu_policy: CpuPolicy,
    /// The processors that are given to nobody; `None` for as many as are reserved.
    pub reserved_cpus: Option<CpuSet>,
    /// Whose memory may be swapped out.
    pub swap: SwapBehavior,
    /// In which order Pods end, and how long they may take, when the machine goes down; none for not at all.
    pub shutdown: Vec<ShutdownPhase>,
    /// How full, in percent, the disk of images may be before those that nobody uses go, and how full it is afterwards.
    /// 100 for any.
    pub image_gc_percent: (u8, u8),
    /// How large containers' logs become, and how many files of each are kept.
    pub container_logs: LogLimits,
    /// When Pods must go so that the node lives.
    pub eviction: Thresholds,
    /// Whether who may `create` `nodes/checkpoint` can have containers written to files of the node.
    pub container_checkpoint: bool,
    /// A directory of files with Pods that run without the API server's say; it is made if it is not there.
    pub static_pod_dir: Option<PathBuf>,
    /// Kernel parameters that Pods may set beside the safe ones: names, or beginnings that end in `*`.
    pub allowed_unsafe_sysctls: Vec<String>,
    /// The Pod network of this node, if it is fixed here and not by a controller.
    pub pod_cidr: Option<String>,
    /// The Kubernetes version that the node reports (`v1.37.0`).
    pub version: String,
}

impl Options {
    /// Options with upstream's defaults for everything that has one.
    pub fn new(node_name: &str, node_ip: IpAddr, client: kube::Client, cri_socket: PathBuf) -> Self {
        Self {
            node_name: node_name.to_owned(),
            node_ips: vec![node_ip],
            client,
            cri_socket,
            relist: Some(DEFAULT_RELIST),
            root_dir: "/var/lib/sampan/kubelet".into(),
            log_dir: "/var/log/pods".into(),
            log_links: "/var/log/containers".into(),
            cgroup_root: "sampan".to_owned(),
            cluster_dns: vec![IpAddr::from([10, 43, 0, 10])],
            cluster_domain: "cluster.local".to_owned(),
            resolv_conf: "/etc/resolv.conf".into(),
            listen: SocketAddr::from(([0, 0, 0, 0], 10250)),
            tls: None,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            max_pods: DEFAULT_MAX_PODS,
            pod_pids_limit: Some(DEFAULT_POD_PIDS),
            reserved: BTreeMap::new(),
            cpu_policy: CpuPolicy::None,
            reserved_cpus: None,
            swap: SwapBehavior::NoSwap,
            shutdown: Vec::new(),
            image_gc_percent: DEFAULT_IMAGE_GC_PERCENT,
            container_logs: LogLimits::default(),
            eviction: Thresholds::default(),
            container_checkpoint: false,
            static_pod_dir: None,
            allowed_unsafe_sysctls: Vec::new(),
            pod_cidr: None,
            version: "v1.37.0".to_owned(),
        }
    }
}
