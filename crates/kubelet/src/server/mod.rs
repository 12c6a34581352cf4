//! The kubelet's own HTTPS API: logs, exec, attach, port-forward, checkpoints, the Pod list, health and
//! metrics.
//!
//! ```text
//! TLS --> who are you (client certificate, else token) --> may you (nodes/<subresource>) --> route
//!                                                                                   \--> logs: files of this node
//!                                                                                   \--> exec ...: splice to the runtime
//! ```
//! It knows nothing of how Pods are run: whoever runs them implements [`Pods`], the one thing this module asks of them.
//! Streams are not interpreted here either: the container runtime answers exec, attach and port-forward with a URL,
//! and the client's upgraded connection is spliced to it. Nothing is served without credentials, and there is no
//! read-only port. Start at [`Server::start`].

mod access;
mod checkpoint;
mod failure;
mod listener;
mod logs;
mod metrics;
mod pods;
mod reviews;
mod routes;
mod streaming;
#[cfg(test)]
mod tests;
mod tls;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use sampan_client::Tasks;
use sampan_cri::{MAX_MESSAGE_BYTES, v1::runtime_service_client::RuntimeServiceClient};
use sampan_streams::Sessions;
use tokio::net::TcpListener;
use tonic::transport::Channel;

pub use access::{Authenticate, Authorize};
pub use pods::{Container, Instance, PodEntry, Pods};
pub use reviews::Reviews;
pub use tls::Tls;

use crate::Error;
use crate::usage::Meter;

/// So many exec, attach and port-forward sessions may be open on one node.
const MAX_SESSIONS: usize = 1000;

/// What a server is started with.
#[derive(Clone)]
pub struct Options {
    /// Where to listen: port 10250, or 0 for any.
    pub listen: SocketAddr,
    /// The serving certificate, and who vouches for clients.
    pub tls: Tls,
    /// The name of this node, on which rights are asked for.
    pub node_name: String,
    /// The Pods of this node.
    pub pods: Arc<dyn Pods>,
    /// Where Pods' files are, and where their logs are.
    pub root_dir: PathBuf,
    /// See `root_dir`.
    pub log_dir: PathBuf,
    /// The version of Kubernetes that is told (`v1.37.0`).
    pub version: String,
    /// The `KubeletConfiguration` that is in force.
    pub configuration: serde_json::Value,
    /// What is used.
    pub(crate) meter: Arc<Meter>,
    /// The container runtime.
    pub runtime: Channel,
    /// Whether containers may be written to files.
    pub checkpoints: bool,
    /// Who a bearer token belongs to: [`Reviews`].
    pub authenticate: Arc<dyn Authenticate>,
    /// Who may do what: [`Reviews`].
    pub authorize: Arc<dyn Authorize>,
}

/// The kubelet's HTTPS API.
pub struct Server;

/// A running server. Dropping it does not stop it; [`Handle::shutdown`] does.
pub struct Handle {
    address: SocketAddr,
    sessions: Sessions,
    tasks: Tasks,
}

/// What the routes work on.
struct State {
    node_name: String,
    pods: Arc<dyn Pods>,
    root_dir: PathBuf,
    log_dir: PathBuf,
    version: String,
    configuration: serde_json::Value,
    meter: Arc<Meter>,
    runtime: RuntimeServiceClient<Channel>,
    directories: Arc<logs::Directories>,
    authenticate: Arc<dyn Authenticate>,
    authorize: Arc<dyn Authorize>,
}

impl Server {
    /// Listens and serves.
    ///
    /// # Errors
    /// The address cannot be listened on, or the kernel gives no inotify instance.
    pub async fn start(options: Options) -> Result<Handle, Error> {
        let listener = TcpListener::bind(options.listen).await.map_err(Error::Serve)?;
        let address = listener.local_addr().map_err(Error::Serve)?;
        let directories = Arc::new(logs::Directories::open().map_err(Error::Serve)?);
        let (tasks, sessions) = (Tasks::new(), Sessions::new(MAX_SESSIONS));
        let runtime = RuntimeServiceClient::new(options.runtime).max_decoding_message_size(MAX_MESSAGE_BYTES);
        tasks.spawn(directories.clone().run());
        let state = State {
            node_name: options.node_name,
            pods: options.pods,
            root_dir: options.root_dir,
            log_dir: options.log_dir,
            version: options.version,
            configuration: options.configuration,
            meter: options.meter,
            runtime,
            directories,
            authenticate: options.authenticate,
            authorize: options.authorize,
        };
        let router = routes::router(Arc::new(state), options.checkpoints);
        tasks.spawn(listener::serve(listener, options.tls, router, sessions.clone()));
        Ok(Handle { address, sessions, tasks })
    }
}

impl Handle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection and session and waits for them. What runs in containers by exec ends with its session.
    pub async fn shutdown(self) {
        self.tasks.shutdown().await;
        self.sessions.shutdown().await;
    }
}
