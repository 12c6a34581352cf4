//! The running proxy: watches Services and EndpointSlices, and tells the kernel what changed.
//!
//! While one transaction is under way, further changes gather; the next transaction takes them all. Should the kernel
//! refuse one (someone flushed our table, say), everything is loaded again.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::runtime::watcher;
use parking_lot::Mutex;
use sampan_client::{Informer, Key, Tasks};
use sampan_nft as nft;
use tokio::sync::{Notify, watch};

use crate::model::{Change, Model};
use crate::plan::{Node, plan};
use crate::rules::{Load, Rules};
use crate::slices::Slices;
use crate::{Error, affinity, conntrack, rules};

/// How many Services one transaction takes at most.
const BATCH_SERVICES: usize = 2_000;
/// A refused load is tried again after this long, twice as long each time, up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// No retry waits longer than this.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// How often the kernel is asked to forget clients before it is given up.
const FORGET_ROUNDS: usize = 20;
/// The widest Pod range of a node: each of its addresses is an element of the set of hairpins.
const WIDEST_PREFIX: u8 = 20;

/// The settings of a [`Proxy`].
pub struct Options {
    /// Reads Services and EndpointSlices.
    pub client: kube::Client,
    /// The nftables table's name.
    pub instance: String,
    /// This node's name, as endpoints carry it.
    pub node_name: String,
    /// The addresses of this node's Pods.
    pub pod_cidr: IpNet,
    /// Where Services' addresses come from; others of it are refused.
    pub service_cidr: IpNet,
    /// Service addresses that the node answers itself: the cluster DNS.
    pub skip: Vec<IpAddr>,
    /// The Pods' bridge, over which node ports on 127.0.0.1 are served; none: they are not.
    pub bridge: Option<String>,
}

/// Services on this node.
pub struct Proxy;

/// The running proxy.
pub struct Handle {
    tasks: Tasks,
    loaded: watch::Receiver<bool>,
}

impl Proxy {
    /// Starts to watch, and takes over the table that a previous run left. Needs root.
    pub fn start(options: Options) -> Result<Handle, Error> {
        let node = node(&options)?;
        let tasks = Tasks::new();
        let (report, loaded) = watch::channel(false);
        let rules = Rules::new(&options.instance, node.clone(), options.bridge.is_some());
        let sight = Sight::start(&options.client, &tasks);
        let worker = Worker { sight, node, rules, model: Model::default(), bridge: options.bridge, report };
        tasks.spawn(worker.run());
        Ok(Handle { tasks, loaded })
    }

    /// Removes the table with everything in it. What is gone already is not an error.
    pub async fn remove(instance: &str) -> Result<(), nft::Error> {
        nft::apply(&rules::remove(instance), "remove the Services' table").await
    }
}

impl Handle {
    /// Returns once all Services are in the kernel for the first time.
    pub async fn loaded(&self) {
        let _ = self.loaded.clone().wait_for(|loaded| *loaded).await;
    }

    /// Ends the tasks. The rules stay: traffic goes on.
    pub async fn shutdown(self) {
        self.tasks.shutdown().await;
    }
}

/// What is seen of the cluster, and which Services to look at again.
#[derive(Clone)]
struct Sight {
    services: Informer<Service>,
    endpoints: Informer<EndpointSlice>,
    slices: Arc<Mutex<Slices>>,
    dirty: Arc<Mutex<BTreeSet<Key>>>,
    changed: Arc<Notify>,
}

impl Sight {
    fn start(client: &kube::Client, tasks: &Tasks) -> Self {
        let ours = watcher::Config::default().labels("!service.kubernetes.io/headless");
        let sight = Self {
            services: Informer::start(Api::all(client.clone()), watcher::Config::default(), tasks),
            endpoints: Informer::start(Api::all(client.clone()), ours, tasks),
            slices: Arc::default(),
            dirty: Arc::default(),
            changed: Arc::default(),
        };
        let seen = sight.marker();
        sight.services.on_change(move |change| seen([Key::of(&**change.object())].into()));
        let (seen, slices) = (sight.marker(), Arc::clone(&sight.slices));
        sight.endpoints.on_change(move |change| seen(slices.lock().take(change)));
        sight
    }

    /// Marks Services as changed.
    fn marker(&self) -> impl Fn(Vec<Key>) + Send + Sync + 'static {
        let (dirty, changed) = (Arc::clone(&self.dirty), Arc::clone(&self.changed));
        move |services| {
            dirty.lock().extend(services);
            changed.notify_one();
        }
    }

    fn take(&self) -> BTreeSet<Key> {
        let mut dirty = self.dirty.lock();
        let later = dirty.iter().nth(BATCH_SERVICES).cloned().map(|first| dirty.split_off(&first));
        std::mem::replace(&mut *dirty, later.unwrap_or_default())
    }

    fn plan(&self, service: &Key, node: &Node) -> crate::plan::Wanted {
        let slices = self.slices.lock().of(service);
        let slices: Vec<&EndpointSlice> = slices.iter().map(|slice| &**slice).collect();
        self.services.get(service).map(|service| plan(&service, &slices, node)).unwrap_or_default()
    }
}

struct Worker {
    sight: Sight,
    node: Node,
    rules: Rules,
    model: Model,
    bridge: Option<String>,
    report: watch::Sender<bool>,
}

impl Worker {
    async fn run(mut self) {
        self.sight.services.synced().await;
        self.sight.endpoints.synced().await;
        self.load_until_done().await;
        self.route_loopback();
        self.report.send_replace(true);
        loop {
            self.sight.changed.notified().await;
            while let Some(changes) = self.next_changes() {
                self.tell(&changes).await;
            }
        }
    }

    /// What the next batch of changed Services comes to; nothing when there is none.
    fn next_changes(&mut self) -> Option<Vec<Change>> {
        let services = self.sight.take();
        if services.is_empty() {
            return None;
        }
        let mut changes = Vec::new();
        for service in &services {
            let update = self.model.update(service, self.sight.plan(service, &self.node));
            changes.extend(update.changes);
            self.sight.dirty.lock().extend(update.again);
        }
        Some(changes)
    }

    async fn tell(&mut self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        for transaction in self.rules.apply(changes) {
            if let Err(error) = nft::apply(&transaction, "change Services").await {
                tracing::warn!(%error, "the table is not as expected; loading it again");
                self.load_until_done().await;
                break;
            }
        }
        if changes.iter().any(|change| change.old.as_ref().is_some_and(|old| old.sticky_seconds.is_some())) {
            self.forget_clients().await;
        }
        forget_flows(conntrack::gone(changes)).await;
    }

    async fn load_until_done(&mut self) {
        let mut wait = FIRST_RETRY;
        while let Err(error) = self.load().await {
            tracing::error!(%error, "Services could not be loaded");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_RETRY);
        }
        self.forget_clients().await;
    }

    async fn load(&mut self) -> Result<(), nft::Error> {
        while let Some(changes) = self.next_changes() {
            forget_flows(conntrack::gone(&changes)).await;
        }
        let keeping = self.rules.load(&self.model, Load::KeepAffinity);
        if nft::apply(&keeping, "load Services").await.is_ok() {
            return Ok(());
        }
        nft::apply(&self.rules.load(&self.model, Load::Anew), "load Services").await
    }

    /// Lets packets from 127.0.0.1 leave to the Pods' bridge, now that the table's guard drops what comes for such
    /// addresses from elsewhere.
    fn route_loopback(&self) {
        let Some(bridge) = &self.bridge else { return };
        let key = format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet");
        if let Err(error) = std::fs::write(&key, "1") {
            tracing::warn!(key, %error, "node ports do not answer on 127.0.0.1");
        }
    }

    /// Makes the kernel forget clients whose endpoint is gone. A packet that is under way in that moment writes its
    /// client's memory down again, and a memory that ends by itself makes the deletion of all fail: so the kernel is
    /// asked again until there is nothing left to forget.
    async fn forget_clients(&self) {
        let mut last = None;
        for _ in 0..FORGET_ROUNDS {
            match self.forget_once().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => last = Some(error),
            }
        }
        let error = last.map(|error| error.to_string()).unwrap_or_default();
        tracing::warn!(error, "session affinity may lead to endpoints that are gone");
    }

    /// Forgets what is stale now. True if there was nothing.
    async fn forget_once(&self) -> Result<bool, nft::Error> {
        let remembered = affinity::parse(&nft::list_map(self.rules.table(), "affinity").await?);
        let text = self.rules.forget(&affinity::stale(&remembered, &self.model));
        if text.is_empty() {
            return Ok(true);
        }
        nft::apply(&text, "forget clients").await.map(|()| false)
    }
}

async fn forget_flows(gone: Vec<conntrack::Gone>) {
    if gone.is_empty() {
        return;
    }
    let done = tokio::task::spawn_blocking(move || conntrack::forget(&gone)).await;
    if let Err(error) = done.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        tracing::warn!(%error, "UDP clients may keep sending to endpoints that are gone");
    }
}

fn node(options: &Options) -> Result<Node, Error> {
    let pod_cidr = v4_net(options.pod_cidr)?;
    if pod_cidr.prefix_len() < WIDEST_PREFIX {
        return Err(Error::Range { range: pod_cidr.to_string(), widest: WIDEST_PREFIX });
    }
    Ok(Node {
        name: options.node_name.clone(),
        pod_cidr,
        service_cidr: v4_net(options.service_cidr)?,
        skip: options.skip.iter().copied().map(v4).collect::<Result<_, _>>()?,
    })
}

fn v4(address: IpAddr) -> Result<Ipv4Addr, Error> {
    match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => Err(Error::Family(address.to_string())),
    }
}

fn v4_net(net: IpNet) -> Result<Ipv4Net, Error> {
    match net {
        IpNet::V4(net) => Ok(net.trunc()),
        IpNet::V6(_) => Err(Error::Family(net.to_string())),
    }
}
