//! The embedded container runtime: Pods' sandboxes and containers on Linux, served over CRI v1.
//!
//! It knows images, layers, namespaces, control groups and processes; it does not know Kubernetes. The kubelet reaches
//! it through its socket like any other runtime, and it reaches the Pod network through
//! [`sampan_network::PodNetwork`].
//!
//! ```text
//!   server/ (CRI, gRPC) ──> sandboxes, containers, sessions ──> shims ──socket──> shim/, one process per Pod
//!        └──> images/                 └──> spec/ (pure) ──bundle on disk──────────────┘    └──> cgroups/, seccomp/
//! ```
//!
//! Containers do not depend on this process: a shim holds each Pod, and [`Runtime::start`] finds them all again.
//! Start at [`Runtime`]; then `sandboxes.rs` and `containers.rs`; then `shim/`.

mod adopt;
mod apparmor;
mod cgroups;
mod containers;
mod disk;
mod error;
mod hastening;
mod images;
mod kernel;
mod layer_size;
mod links;
mod lookup;
mod metrics;
mod node;
mod propagation;
mod records;
mod sandboxes;
mod sealed;
mod seccomp;
mod server;
mod sessions;
pub mod shim;
mod shims;
mod signals;
mod spec;
mod stats;
mod status;
mod streaming;
mod terminal;
mod verbose;

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sampan_network::PodNetwork;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use apparmor::Error as AppArmorError;
pub use error::Error;
pub use images::{Error as ImageError, Proxy, PullOptions, RegistryError};
pub use spec::Error as SpecError;

/// The client and server of the service that imports image archives; it is served on the CRI socket.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::too_many_lines)]
pub mod archive {
    tonic::include_proto!("sampan.image.v1");
}

/// What a runtime is made of.
#[derive(Clone)]
pub struct Options {
    /// Images and the containers' writable layers; survives a reboot.
    pub root: PathBuf,
    /// What is running; ends with a reboot.
    pub state: PathBuf,
    /// The CRI socket; its mode is 0600.
    pub socket: PathBuf,
    /// The group, below the root of every hierarchy, that holds the shims and Pods that name no parent.
    pub cgroup_root: String,
    /// The command line of a shim: a program that calls [`shim::main`] with the words that follow.
    pub shim: Vec<OsString>,
    /// Gives sandboxes their place on the Pod network.
    pub network: Arc<dyn PodNetwork>,
    /// The name with which kernel objects begin.
    pub instance: String,
    /// How images come from registries.
    pub pulls: PullOptions,
}

/// How long requests under way may take to end at shutdown.
const DRAIN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// The embedded container runtime.
pub struct Runtime;

/// A runtime that runs.
pub struct Handle {
    node: Arc<node::Node>,
    stop: CancellationToken,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    streaming: streaming::Server,
    lock: File,
}

impl Runtime {
    /// Takes over what a predecessor has left running, and serves CRI. Returns when the socket answers.
    pub async fn start(options: Options) -> Result<Handle, Error> {
        let (node, lock) = open(options)?;
        adopt::adopt(&node).await?;
        let streaming =
            streaming::Server::start(Arc::clone(&node)).await.map_err(Error::io("opening the streaming server"))?;
        let listener = listen(&node.options.socket)?;
        let stop = CancellationToken::new();
        let server = tokio::spawn(server::serve(Arc::clone(&node), streaming.urls(), listener, stop.clone()));
        tracing::info!(socket = %node.options.socket.display(), "container runtime is ready");
        Ok(Handle { node, stop, server, streaming, lock })
    }

    /// Ends and removes every sandbox and container that a runtime with these options has left; none may run now.
    pub async fn purge(options: Options) -> Result<(), Error> {
        let (node, lock) = open(options)?;
        adopt::adopt(&node).await?;
        adopt::purge(&node).await?;
        node.tasks.close();
        node.tasks.wait().await;
        close(&node);
        drop(lock);
        Ok(())
    }
}

impl Handle {
    /// Stops serving. Sandboxes and containers run on.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        match tokio::time::timeout(DRAIN_TIMEOUT, &mut self.server).await {
            Ok(Ok(Err(error))) => tracing::error!(%error, "the container runtime's server failed"),
            Ok(_) => {}
            // Who waits for a container to stop asks the next runtime again.
            Err(_) => self.server.abort(),
        }
        self.streaming.shutdown().await;
        for sandbox in self.node.sandboxes() {
            self.node.forget_sandbox(&sandbox.id);
            if let Some(shim) = sandbox.take_shim() {
                shim.close();
            }
        }
        let _ = fs::remove_file(&self.node.options.socket);
        close(&self.node);
        drop(self.lock);
    }
}

fn open(mut options: Options) -> Result<(Arc<node::Node>, File), Error> {
    for directory in [&options.root, &options.state] {
        fs::create_dir_all(directory).map_err(Error::io_at("creating", directory))?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o711))
            .map_err(Error::io_at("protecting", directory))?;
    }
    // Shims and containers are given these paths, and have another working directory.
    options.root = options.root.canonicalize().map_err(Error::io_at("resolving", &options.root.clone()))?;
    options.state = options.state.canonicalize().map_err(Error::io_at("resolving", &options.state.clone()))?;
    let lock = lock(&options.state)?;
    let hierarchies = cgroups::Hierarchies::detect().map_err(Error::io("looking for control groups"))?;
    let images = images::Images::open(&options.root, options.pulls.clone())?;
    options.shim = sealed::seal(&options.shim, &options.state)?;
    hastening::begin(&options.state, &options.instance);
    let node = Arc::new(node::Node::new(options, hierarchies, images));
    for directory in
        [node.places.sandboxes(), node.places.containers(), node.places.namespaces(), node.places.writable()]
    {
        fs::create_dir_all(&directory).map_err(Error::io_at("creating", &directory))?;
    }
    Ok((node, lock))
}

/// Takes back what [`open`] has mounted.
fn close(node: &node::Node) {
    sealed::end(&node.options.state);
    hastening::end(&node.options.state);
}

/// One runtime for one state directory. The lock ends with the process, however that ends.
fn lock(state: &Path) -> Result<File, Error> {
    let path = state.join("lock");
    let file = File::create(&path).map_err(Error::io_at("creating", &path))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::InUse(state.to_path_buf())),
        Err(error) => Err(Error::io_at("locking", &path)(error.into())),
    }
}

fn listen(path: &Path) -> Result<tokio::net::UnixListener, Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io_at("creating", parent))?;
    }
    // Nobody answers there: the lock is ours.
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io_at("removing", path)(error));
        }
        _ => {}
    }
    let listener = tokio::net::UnixListener::bind(path).map_err(Error::io_at("opening socket", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(Error::io_at("protecting", path))?;
    Ok(listener)
}
