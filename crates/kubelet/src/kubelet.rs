//! Putting the kubelet together: [`Kubelet::start`] and its [`Handle`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::watcher;
use sampan_client::{Change, Informer, Tasks};

use crate::cgroups::Mounts;
use crate::config::labels;
use crate::cri::Runtime;
use crate::devices::{Lister, serve_pod_resources};
use crate::node::{Node, Reporter, keep_lease, register, tell_of_ooms};
use crate::pods::{PodTable, from_sandbox};
use crate::server::{self, Pods};
use crate::static_pods::StaticPods;
use crate::{Error, Options, burstable, configuration, cpus, events, eviction, log_links, shutdown, static_pods};

/// After this long the runtime is asked again for what it has.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The kubelet of one node.
pub struct Kubelet;

/// A running kubelet. Dropping it does not stop it; [`Handle::shutdown`] does.
pub struct Handle {
    node: Arc<Node>,
    pods: Arc<PodTable>,
    server: Option<server::Handle>,
    tasks: Tasks,
}

impl Kubelet {
    /// Starts the kubelet: connects to the container runtime (an error if it does not answer), registers the node and
    /// takes over the Pods that run already.
    pub async fn start(options: Options) -> Result<Handle, Error> {
        let runtime = Runtime::connect(&options.cri_socket).await?;
        Self::start_over(options, runtime, Mounts::read()?).await
    }

    /// Starts the kubelet over a runtime that is connected, on a machine with these control groups.
    pub(crate) async fn start_over(options: Options, runtime: Runtime, cgroups: Mounts) -> Result<Handle, Error> {
        let tasks = Tasks::new();
        let node = Node::open(options, runtime, cgroups, &tasks).await?;
        let pods = PodTable::new(&node, &tasks);
        let server = serve(&node, &pods).await?;
        let lister = Lister {
            devices: Arc::clone(&node.devices),
            cpus: Arc::clone(&node.cpus),
            pods: Arc::clone(&pods) as Arc<dyn Pods>,
        };
        serve_pod_resources(&node.options.root_dir, lister, &tasks)?;
        let port = server.as_ref().map_or(node.options.listen, server::Handle::address).port();
        tasks.spawn(report(Arc::clone(&node), port));
        tasks.spawn(tell_of_ooms(Arc::clone(&node)));
        tasks.spawn(cpus::keep_shared(Arc::clone(&node)));
        tasks.spawn(burstable::keep(Arc::clone(&node)));
        tasks.spawn(eviction::run(Arc::clone(&node), Arc::clone(&pods)));
        tasks.spawn(shutdown::run(Arc::clone(&node), Arc::clone(&pods)));
        tasks.spawn(run_pods(Arc::clone(&node), Arc::clone(&pods), tasks.clone()));
        Ok(Handle { node, pods, server, tasks })
    }
}

impl Handle {
    /// The Pods of this node, for whoever serves the kubelet's API.
    pub fn pods(&self) -> Arc<dyn Pods> {
        Arc::clone(&self.pods) as Arc<dyn Pods>
    }

    /// Where the kubelet's HTTPS API listens; nothing if none is served.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(server::Handle::address)
    }

    /// Stops the kubelet. Pods run on, and the next kubelet of this node takes them over.
    pub async fn shutdown(self) {
        if let Some(server) = self.server {
            server.shutdown().await;
        }
        self.tasks.shutdown().await;
        self.node.sources.shutdown().await;
    }
}

/// Serves the kubelet's HTTPS API, if there is a certificate for it.
async fn serve(node: &Arc<Node>, pods: &Arc<PodTable>) -> Result<Option<server::Handle>, Error> {
    let Some(tls) = node.options.tls.clone() else { return Ok(None) };
    let reviews = Arc::new(server::Reviews::new(node.client.clone()));
    let options = server::Options {
        listen: node.options.listen,
        tls,
        node_name: node.options.node_name.clone(),
        pods: Arc::clone(pods) as Arc<dyn Pods>,
        root_dir: node.options.root_dir.clone(),
        log_dir: node.options.log_dir.clone(),
        version: node.options.version.clone(),
        configuration: configuration::of(&node.options),
        meter: Arc::clone(&node.meter),
        runtime: node.runtime.channel(),
        checkpoints: node.options.container_checkpoint,
        authenticate: Arc::clone(&reviews) as Arc<dyn server::Authenticate>,
        authorize: reviews,
    };
    server::Server::start(options).await.map(Some)
}

/// Registers the node, then keeps its lease and status.
async fn report(node: Arc<Node>, port: u16) {
    let object = register(&node, port).await;
    let reporter = Reporter::new(&node, port, &object);
    tokio::join!(reporter.run(), keep_lease(Arc::clone(&node), object));
}

async fn run_pods(node: Arc<Node>, pods: Arc<PodTable>, tasks: Tasks) {
    // Pods get their Services' variables when they start: these must be known first.
    node.services.synced().await;
    // And whether the node is one that they want.
    node.own.synced().await;
    let field = format!("spec.nodeName={}", node.options.node_name);
    let api = Api::<Pod>::all(node.client.clone());
    let informer = Informer::start(api, watcher::Config::default().fields(&field), &tasks);
    let table = Arc::clone(&pods);
    informer.on_change(move |change| match change {
        // A name may be given to another Pod between two looks: the one before is gone then.
        Change::Applied { old, new } => {
            if let Some(old) = old.as_ref().filter(|old| old.metadata.uid != new.metadata.uid) {
                table.remove(old);
            }
            table.apply(new);
        }
        Change::Deleted(last) => table.remove(last),
    });
    informer.synced().await;
    let (links, logs) = (node.options.log_links.clone(), node.options.log_dir.clone());
    if let Err(panic) = tokio::task::spawn_blocking(move || log_links::sweep(&links, &logs)).await {
        tracing::warn!(error = %panic, "links to logs that are gone are left");
    }
    let taken_over = take_over(&node, &pods, &tasks);
    tokio::join!(taken_over, events::follow(node.runtime.clone(), Arc::clone(&pods), node.options.relist));
}

/// Takes over what the kubelet before has left: first what is no Pod any more is on its way out, then the static Pods
/// of today are there. So a Pod whose file has changed meanwhile waits for the end of what runs under its name.
async fn take_over(node: &Arc<Node>, pods: &Arc<PodTable>, tasks: &Tasks) {
    let dir = node.options.static_pod_dir.clone();
    let statics = match &dir {
        Some(dir) => static_pods::read(dir, &node.options.node_name).await,
        None => StaticPods::new(),
    };
    remove_orphans(node, pods, &statics).await;
    pods.set_static(&statics);
    if let Some(dir) = dir {
        follow_static_pods(node, pods, dir, tasks);
    }
}

/// Ends the Pods that were deleted while no kubelet was there; tries until the runtime has told of them.
async fn remove_orphans(node: &Node, pods: &Arc<PodTable>, statics: &StaticPods) {
    loop {
        match pods_of_runtime(node).await {
            Ok(known) => return pods.remove_orphans(&known, statics),
            Err(error) => tracing::warn!(%error, "orphaned Pods are looked for again later"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Follows the files of static Pods, and keeps their mirrors.
fn follow_static_pods(node: &Arc<Node>, pods: &Arc<PodTable>, dir: PathBuf, tasks: &Tasks) {
    let name = node.options.node_name.clone();
    let (table, keeper) = (Arc::clone(pods), Arc::clone(node));
    tasks.spawn(async move {
        if let Err(error) = static_pods::follow(&dir, &name, |statics| table.set_static(&statics)).await {
            tracing::warn!(%error, "static Pods are not followed");
        }
    });
    tasks.spawn(async move { keeper.mirrors.keep(&keeper).await });
}

/// What the runtime has, as Pods by uid.
async fn pods_of_runtime(node: &Node) -> Result<HashMap<String, Arc<Pod>>, Error> {
    let containers = node.runtime.containers().await?;
    let names = |uid: &str| -> Vec<String> {
        let of_pod =
            containers.iter().filter(|container| container.labels.get(labels::POD_UID).is_some_and(|of| of == uid));
        let mut names: Vec<String> = of_pod.filter_map(|c| c.labels.get(labels::CONTAINER_NAME).cloned()).collect();
        names.sort();
        names.dedup();
        names
    };
    let sandboxes = node.runtime.pods().await?;
    Ok(sandboxes
        .into_iter()
        .map(|(uid, sandbox)| (uid.clone(), Arc::new(from_sandbox(&sandbox, &names(&uid)))))
        .collect())
}
