//! The node: what all of its Pods share ([`Node`]), and its own object in the API ([`report`]).

mod admission;
mod allocatable;
mod capacity;
mod lease;
mod oom;
mod own;
mod report;
mod requests;
mod runtime_features;
mod status;
mod system;

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use kube::Client;
use sampan_client::{EventRecorder, Informer, Tasks};
use tokio::sync::watch;

pub(crate) use admission::{Active, Fit, Offer, Refusal, fit, refusal};
pub(crate) use capacity::Capacity;
pub(crate) use lease::keep as keep_lease;
pub(crate) use oom::tell_of_ooms;
pub(crate) use report::{Reporter, register};
pub(crate) use requests::request;
pub(crate) use runtime_features::RuntimeFeatures;
pub use status::disk_is_scarce;
pub(crate) use status::process_ids;
pub(crate) use system::meminfo_kib;

use crate::burstable::Burstable;
use crate::cgroups::Mounts;
use crate::config::dns::ClusterDns;
use crate::config::resources::Machine;
use crate::cpus::Cpus;
use crate::cri::Runtime;
use crate::devices::Devices;
use crate::eviction::{self, Pressure};
use crate::images::Images;
use crate::logs::Logs;
use crate::machine::NodeFacts;
use crate::mirrors::Mirrors;
use crate::pod_certificates::PodCertificates;
use crate::sources::Sources;
use crate::usage::Meter;
use crate::volumes::Tokens;
use crate::worker::Turns;
use crate::{Error, Options};
use own::Own;

/// What all Pods of this node share.
pub(crate) struct Node {
    pub(crate) options: Options,
    pub(crate) client: Client,
    pub(crate) runtime: Runtime,
    pub(crate) images: Images,
    pub(crate) sources: Arc<Sources>,
    pub(crate) tokens: Tokens,
    pub(crate) certificates: PodCertificates,
    pub(crate) services: Informer<Service>,
    pub(crate) own: Own,
    pub(crate) recorder: EventRecorder,
    pub(crate) logs: Logs,
    pub(crate) mirrors: Mirrors,
    pub(crate) cgroups: Mounts,
    pub(crate) burstable: Arc<Burstable>,
    pub(crate) cluster_dns: ClusterDns,
    pub(crate) facts: NodeFacts,
    pub(crate) turns: Turns,
    pub(crate) capacity: Capacity,
    pub(crate) meter: Arc<Meter>,
    pub(crate) devices: Arc<Devices>,
    pub(crate) cpus: Arc<Cpus>,
    /// Whether the kernel confines programs by AppArmor's profiles.
    pub(crate) has_apparmor: bool,
    /// What the node is short of.
    pub(crate) pressures: watch::Sender<BTreeSet<Pressure>>,
    /// Whether the machine is about to go down.
    pub(crate) shutting_down: watch::Sender<bool>,
    /// Name and version of the runtime, as nodes report it (`containerd://2.0.0`).
    pub(crate) runtime_version: String,
    /// What the runtime could do when it was asked last.
    pub(crate) runtime_features: watch::Sender<RuntimeFeatures>,
}

impl Node {
    /// Opens what Pods will need beside `runtime` and the control groups below `cgroups`; its tasks run in `tasks`.
    pub(crate) async fn open(
        options: Options,
        runtime: Runtime,
        cgroups: Mounts,
        tasks: &Tasks,
    ) -> Result<Arc<Self>, Error> {
        let version = runtime.version().await?;
        let features = RuntimeFeatures::of(&runtime.status().await?);
        let client = options.client.clone();
        let capacity = Capacity::read(&options)?;
        let cpus = Arc::new(Cpus::open(&options)?);
        allocatable::check(&options, &capacity)?;
        let all_pods = allocatable::enforce(&options, &capacity, &cgroups);
        let machine = Machine {
            memory_bytes: capacity.memory_bytes,
            swap_bytes: capacity.swap_bytes,
            swap: options.swap,
            bounds_swap: cgroups.bounds_swap(&all_pods),
        };
        let services =
            Informer::start(kube::Api::all(client.clone()), kube::runtime::watcher::Config::default(), tasks);
        Ok(Arc::new(Self {
            images: Images::new(runtime.clone(), &options.root_dir),
            sources: Sources::new(&client, tasks),
            tokens: Tokens::new(&client),
            certificates: PodCertificates::new(&client, &options.node_name, tasks),
            services,
            own: Own::watch(&options, &client, tasks),
            recorder: EventRecorder::new(client.clone(), "kubelet", &options.node_name, tasks),
            logs: Logs::start(&runtime, options.container_logs, tasks)?,
            mirrors: Mirrors::default(),
            burstable: Burstable::new(),
            cgroups,
            cpus,
            cluster_dns: ClusterDns {
                servers: options.cluster_dns.iter().map(ToString::to_string).collect(),
                domain: options.cluster_domain.clone(),
            },
            facts: NodeFacts {
                ips: options.node_ips.iter().map(ToString::to_string).collect(),
                runtime: version.runtime_name.clone(),
                machine,
            },
            turns: Turns::default(),
            capacity,
            meter: Arc::new(Meter::new(runtime.clone())),
            devices: Devices::start(&options.root_dir, tasks)?,
            has_apparmor: system::has_apparmor(),
            pressures: watch::Sender::new(pressures_now(&options)),
            shutting_down: watch::Sender::new(false),
            runtime_version: format!("{}://{}", version.runtime_name, version.runtime_version),
            runtime_features: watch::Sender::new(features),
            runtime,
            client,
            options,
        }))
    }
}

impl Node {
    /// The node, as events about it name it: upstream takes its name for its uid.
    pub(crate) fn reference(&self) -> ObjectReference {
        let name = Some(self.options.node_name.clone());
        ObjectReference { kind: Some("Node".to_owned()), uid: name.clone(), name, ..ObjectReference::default() }
    }
}

/// What the node is short of as it starts.
fn pressures_now(options: &Options) -> BTreeSet<Pressure> {
    let seen = eviction::observe(&options.root_dir, None);
    eviction::decide(&options.eviction, &eviction::State::default(), &seen, sampan_clock::now()).1.pressures
}
