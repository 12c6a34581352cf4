//! The running DNS: informers feed the table, sockets are served from it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::runtime::watcher;
use parking_lot::RwLock;
use sampan_client::{Change, Informer, Key, Tasks};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use crate::Error;
use crate::forward::Forwarder;
use crate::server::Server;
use crate::table::Table;

/// The port of DNS servers that a resolv.conf names.
const DNS_PORT: u16 = 53;

/// The settings of a [`Dns`].
pub struct Options {
    /// Reads Services, EndpointSlices and Pods.
    pub client: kube::Client,
    /// Where to answer, over UDP and TCP. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// The domain of the cluster's names (`cluster.local`).
    pub cluster_domain: String,
    /// Who answers all other names, in this order; see [`nameservers`].
    pub upstreams: Vec<SocketAddr>,
    /// The node whose Pods ask here; none: any node's.
    pub node_name: Option<String>,
}

/// The cluster's DNS on this node.
pub struct Dns;

/// The running DNS.
pub struct Handle {
    tasks: Tasks,
    addresses: Vec<SocketAddr>,
    complete: watch::Receiver<bool>,
}

impl Dns {
    /// Listens, and answers as soon as the cluster's state is read; until then, cluster names fail as "try again".
    pub async fn start(options: Options) -> Result<Handle, Error> {
        let table = Arc::new(RwLock::new(Table::new(&options.cluster_domain)?));
        let mut sockets = Vec::new();
        for address in &options.listen {
            let listen = |source| Error::Listen { address: *address, source };
            sockets.push(bind(*address).await.map_err(listen)?);
        }
        let addresses: Vec<SocketAddr> = sockets.iter().map(|(_, _, address)| *address).collect();
        let tasks = Tasks::new();
        let forwarder = Forwarder::new(&options.upstreams, &addresses);
        let server = Server::new(Arc::clone(&table), forwarder, &tasks);
        for (udp, tcp, _) in sockets {
            server.serve_udp(udp);
            server.serve_tcp(tcp);
        }
        let (report, complete) = watch::channel(false);
        let feeds = Feeds::start(&options, &table, &tasks);
        tasks.spawn(async move {
            feeds.synced().await;
            table.write().complete();
            report.send_replace(true);
        });
        Ok(Handle { tasks, addresses, complete })
    }
}

impl Handle {
    /// The addresses that are listened on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns once cluster names are answered.
    pub async fn complete(&self) {
        let _ = self.complete.clone().wait_for(|complete| *complete).await;
    }

    /// Ends the tasks and closes the sockets.
    pub async fn shutdown(self) {
        self.tasks.shutdown().await;
    }
}

/// The servers that a resolv.conf's text names.
pub fn nameservers(resolv_conf: &str) -> Vec<SocketAddr> {
    let words = resolv_conf.lines().map(|line| line.split_whitespace());
    let addresses = words.filter_map(|mut words| words.next().filter(|word| *word == "nameserver").and(words.next()));
    // A link-local address with its zone (`fe80::1%eth0`) is not taken.
    let addresses = addresses.filter_map(|address| address.parse::<IpAddr>().ok());
    addresses.map(|address| SocketAddr::new(address, DNS_PORT)).collect()
}

async fn bind(address: SocketAddr) -> std::io::Result<(UdpSocket, TcpListener, SocketAddr)> {
    let tcp = TcpListener::bind(address).await?;
    let address = tcp.local_addr()?;
    Ok((UdpSocket::bind(address).await?, tcp, address))
}

/// The informers that feed the table.
struct Feeds {
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    pods: Informer<Pod>,
}

impl Feeds {
    fn start(options: &Options, table: &Arc<RwLock<Table>>, tasks: &Tasks) -> Self {
        let (client, all) = (&options.client, watcher::Config::default());
        let of_node = match &options.node_name {
            Some(node) => all.clone().fields(&format!("spec.nodeName={node}")),
            None => all.clone(),
        };
        let feeds = Self {
            services: Informer::start(Api::all(client.clone()), all.clone(), tasks),
            slices: Informer::start(Api::all(client.clone()), all, tasks),
            pods: Informer::start(Api::all(client.clone()), of_node, tasks),
        };
        let own = Arc::clone(table);
        feeds.services.on_change(move |change| match change {
            Change::Applied { new, .. } => own.write().set_service(new),
            Change::Deleted(last) => own.write().remove_service(&Key::of(&**last)),
        });
        let own = Arc::clone(table);
        feeds.slices.on_change(move |change| match change {
            Change::Applied { old, new } => {
                let mut table = own.write();
                // Its label may have named another Service before.
                old.iter().for_each(|old| table.remove_slice(old));
                table.set_slice(new);
            }
            Change::Deleted(last) => own.write().remove_slice(last),
        });
        let own = Arc::clone(table);
        feeds.pods.on_change(move |change| match change {
            Change::Applied { old, new } => own.write().set_pod(new, old.as_deref()),
            Change::Deleted(last) => own.write().remove_pod(last),
        });
        feeds
    }

    async fn synced(&self) {
        futures::join!(self.services.synced(), self.slices.synced(), self.pods.synced());
    }
}
