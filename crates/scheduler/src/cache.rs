//! The cluster as it will be once everything decided has been carried out.
//!
//! ```text
//! assume (decided) ──> put (the API server says so)      ──> remove (ended or deleted)
//!        └──────────> forget (could not be bound)
//! ```
//! Pods are known by their uids; those on nodes that are not known yet wait here for their node.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// The cluster, and which Pod is where on whose word.
#[derive(Default)]
pub(crate) struct Cache {
    pub(crate) cluster: Cluster,
    placed: HashMap<String, Placed>,
}

struct Placed {
    pod: Arc<PodInfo>,
    node: String,
    /// Only decided so far.
    assumed: bool,
}

impl Cache {
    /// Adds or changes a node; returns what it was.
    pub(crate) fn set_node(&mut self, node: Arc<Node>) -> Option<Arc<NodeInfo>> {
        let name = node.metadata.name.clone().unwrap_or_default();
        let old = self.cluster.set_node(node);
        if old.is_none() {
            for placed in self.placed.values().filter(|placed| placed.node == name) {
                self.cluster.add_pod(&name, Arc::clone(&placed.pod));
            }
        }
        old
    }

    /// A Pod is on its node, as the API server says. Returns what it was there before, if that was said before.
    pub(crate) fn put(&mut self, pod: Arc<PodInfo>) -> Option<Arc<PodInfo>> {
        let node = pod.node.clone();
        self.place(pod, node, false).filter(|old| !old.assumed).map(|old| old.pod)
    }

    /// A Pod will be on `node`.
    pub(crate) fn assume(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.place(pod, node.to_owned(), true);
    }

    fn place(&mut self, pod: Arc<PodInfo>, node: String, assumed: bool) -> Option<Placed> {
        let old = self.take(&pod.uid.clone());
        self.cluster.add_pod(&node, Arc::clone(&pod));
        self.placed.insert(pod.uid.clone(), Placed { pod, node, assumed });
        old
    }

    fn take(&mut self, uid: &str) -> Option<Placed> {
        let placed = self.placed.remove(uid)?;
        self.cluster.remove_pod(&placed.node, uid);
        Some(placed)
    }

    /// A Pod has left its node.
    pub(crate) fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        self.take(uid).map(|placed| placed.pod)
    }

    /// A Pod will not be where it was decided to be; nothing if the API server has said otherwise meanwhile.
    pub(crate) fn forget(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        if self.is_assumed(uid) { self.remove(uid) } else { None }
    }

    pub(crate) fn is_assumed(&self, uid: &str) -> bool {
        self.placed.get(uid).is_some_and(|placed| placed.assumed)
    }
}
