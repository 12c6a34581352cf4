//! What runs in a server, in the order of what each part needs; it ends in the opposite order.
//!
//! ```text
//! keys ─> store ─> API server ─┬─> controllers, scheduler
//!                              ├─> Pod network ─> container runtime ─> kubelet and its API
//!                              └─> Services (nftables), cluster DNS
//! ```
//! Every part but the first three is a client of the API with an identity of its own ([`identity`]), through memory but
//! past the same authentication and authorization as everyone else.

mod addons;
mod control_plane;
mod identity;
mod node;

pub(crate) use node::{network_options, runtime_options};

use anyhow::Result;
use futures::future::BoxFuture;

use crate::config::Config;
use crate::pki::Pki;
use crate::progress::Teller;

/// The running parts.
pub(crate) struct Running {
    parts: Vec<Part>,
}

/// A running part: what it is called, and how it ends.
struct Part {
    name: &'static str,
    shutdown: BoxFuture<'static, ()>,
}

impl Running {
    fn add(&mut self, name: &'static str, shutdown: impl Future<Output = ()> + Send + 'static) {
        self.parts.push(Part { name, shutdown: Box::pin(shutdown) });
    }

    /// Ends the parts, the last started first. Pods and Services' rules stay.
    pub(crate) async fn shutdown(mut self) {
        while let Some(part) = self.parts.pop() {
            part.shutdown.await;
            tracing::debug!(part = part.name, "ended");
        }
    }
}

/// Starts every part and returns when the node is Ready and names resolve.
pub(crate) async fn start(config: &Config, teller: Teller) -> Result<Running> {
    // A second caller (a test) may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut running = Running { parts: Vec::new() };
    match start_parts(config, teller, &mut running).await {
        Ok(()) => Ok(running),
        Err(error) => {
            running.shutdown().await;
            Err(error)
        }
    }
}

async fn start_parts(config: &Config, teller: Teller, running: &mut Running) -> Result<()> {
    let pki = teller.step("keys and certificates", open_keys(config)).await?;
    let api = teller.step("store and API server", control_plane::start_api(config, &pki, running)).await?;
    let clients = identity::Clients::new(api);
    control_plane::start_controllers(config, &clients, &pki, running)?;
    teller.step("cluster objects", addons::apply(config, &clients, pki.ca_pem())).await?;
    let network = teller.step("Pod network", node::start_network(config)).await?;
    if config.container_runtime_endpoint.is_none() {
        teller.step("container runtime", node::start_runtime(config, network, running)).await?;
    }
    teller.step("Services and DNS", node::start_services(config, &clients, running)).await?;
    teller.step("node Ready", node::start_kubelet(config, &pki, &clients, running)).await?;
    teller.step("DNS answers", node::dns_answers(config)).await
}

async fn open_keys(config: &Config) -> Result<Pki> {
    let pki = Pki::open(&config.data_dir.join("pki"), sampan_clock::now())?;
    let admin = pki.certificate("admin", &identity::administrator())?;
    let server = config.server_url();
    let access =
        crate::kubeconfig::Access { name: &config.instance, server: &server, ca_pem: pki.ca_pem(), client: &admin };
    crate::kubeconfig::write(&config.kubeconfig, &access)?;
    crate::kubeconfig::merge_into_home(&access)?;
    Ok(pki)
}
