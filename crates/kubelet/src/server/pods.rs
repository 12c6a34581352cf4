//! What the server asks of whoever runs the Pods: [`Pods`].

use std::{path::PathBuf, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;

/// The Pods of this node, as they are now. Implemented by the kubelet's Pod machine from memory: every call is quick
/// and takes no I/O.
pub trait Pods: Send + Sync + 'static {
    /// Every Pod of this node, with the newest status the kubelet knows: the answer of `/pods`.
    fn list(&self) -> Vec<Arc<Pod>>;

    /// Every Pod with what the runtime made of it.
    fn entries(&self) -> Vec<PodEntry>;

    /// The Pod `namespace/name`, or nothing if it is not of this node.
    fn find(&self, namespace: &str, name: &str) -> Option<PodEntry>;

    /// Ticks (the value only has to differ) whenever an answer of [`Pods::find`] may have changed: a container
    /// started, exited or was replaced. A log that is being followed ends by this.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// One Pod and what the container runtime made of it.
#[derive(Clone, Debug)]
pub struct PodEntry {
    /// Specification and newest status.
    pub pod: Arc<Pod>,
    /// CRI id of the sandbox; none before it is made.
    pub sandbox: Option<String>,
    /// The Pod's log directory (the sandbox's CRI `log_directory`); no log outside of it is ever read.
    pub log_directory: PathBuf,
    /// Every container that was created, init and ephemeral ones included.
    pub containers: Vec<Container>,
}

/// The newest two instances of one container of a Pod.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its name in the Pod.
    pub name: String,
    /// The newest instance, running or not.
    pub current: Option<Instance>,
    /// The one before (`kubectl logs --previous`).
    pub previous: Option<Instance>,
}

/// One created container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// CRI id, without `containerd://` or the like.
    pub id: String,
    /// Absolute path of its CRI log file; rotated ones stand beside it as `<log>.<timestamp>[.gz]`.
    pub log: PathBuf,
    /// Whether it runs now.
    pub running: bool,
}

impl PodEntry {
    /// The container called `name`.
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name == name)
    }
}
