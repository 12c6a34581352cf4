//! What decisions look at: the nodes with their Pods, the namespaces, and who waits for which node.
//!
//! A cluster is kept up to date in place, change by change; nothing is copied for a decision. Nodes are shared and
//! copied on write, so that a what-if (see [`crate::preemption`]) costs one node, not all of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node};

use crate::node::NodeInfo;
use crate::pod::{Labels, NO_LABELS, PodInfo};

/// The nodes and what runs on them.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    nodes: Vec<Arc<NodeInfo>>,
    by_name: HashMap<Arc<str>, usize>,
    namespaces: HashMap<String, Arc<Namespace>>,
    /// Pods that made room on a node and have not taken it yet, by the node's name.
    nominated: HashMap<String, Vec<Arc<PodInfo>>>,
    /// How many nodes have an image, by each of its names.
    image_nodes: BTreeMap<String, usize>,
    /// How many Pods say something about other Pods.
    pods_with_terms: usize,
}

impl Cluster {
    /// All nodes, in an order that only changes when nodes come and go.
    pub(crate) fn nodes(&self) -> &[Arc<NodeInfo>] {
        &self.nodes
    }

    pub(crate) fn node(&self, name: &str) -> Option<&Arc<NodeInfo>> {
        self.by_name.get(name).map(|index| &self.nodes[*index])
    }

    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn namespace_labels(&self, name: &str) -> &Labels {
        let namespace = self.namespaces.get(name);
        namespace.and_then(|namespace| namespace.metadata.labels.as_ref()).unwrap_or(&NO_LABELS)
    }

    /// On how many nodes an image lies.
    pub(crate) fn nodes_with_image(&self, name: &str) -> usize {
        self.image_nodes.get(name).copied().unwrap_or_default()
    }

    /// Whether any Pod on a node says something about other Pods.
    pub(crate) fn has_terms(&self) -> bool {
        self.pods_with_terms > 0
    }

    /// Pods other than `pod` that wait for the room they made on `node` and are at least as important.
    pub(crate) fn nominated_before<'a>(
        &'a self,
        pod: &'a PodInfo,
        node: &str,
    ) -> impl Iterator<Item = &'a Arc<PodInfo>> {
        let waiting = self.nominated.get(node).map(Vec::as_slice).unwrap_or_default();
        waiting.iter().filter(|other| other.uid != pod.uid && other.priority >= pod.priority)
    }

    /// Adds a node or describes it anew; returns what it was.
    pub fn set_node(&mut self, node: Arc<Node>) -> Option<Arc<NodeInfo>> {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        if let Some(index) = self.index_of(name) {
            let old = Arc::clone(&self.nodes[index]);
            Arc::make_mut(&mut self.nodes[index]).describe(node);
            let new = Arc::clone(&self.nodes[index]);
            if old.images != new.images {
                self.count_images(&old, -1);
                self.count_images(&new, 1);
            }
            return Some(old);
        }
        let info = Arc::new(NodeInfo::new(node));
        self.count_images(&info, 1);
        self.by_name.insert(Arc::clone(&info.name), self.nodes.len());
        self.nodes.push(info);
        None
    }

    /// Removes a node; returns what it was.
    pub(crate) fn remove_node(&mut self, name: &str) -> Option<Arc<NodeInfo>> {
        let index = self.by_name.remove(name)?;
        let removed = self.nodes.swap_remove(index);
        if let Some(moved) = self.nodes.get(index) {
            self.by_name.insert(Arc::clone(&moved.name), index);
        }
        self.pods_with_terms -= removed.pods_with_terms;
        self.count_images(&removed, -1);
        Some(removed)
    }

    fn count_images(&mut self, node: &NodeInfo, change: isize) {
        for name in node.images.keys() {
            let count = self.image_nodes.entry(name.clone()).or_default();
            *count = count.saturating_add_signed(change);
            if *count == 0 {
                self.image_nodes.remove(name);
            }
        }
    }

    /// Puts a Pod on a node. A Pod on an unknown node has no place here: see [`crate::cache`].
    pub fn add_pod(&mut self, node: &str, pod: Arc<PodInfo>) {
        let Some(index) = self.index_of(node) else { return };
        self.pods_with_terms += usize::from(pod.has_terms());
        Arc::make_mut(&mut self.nodes[index]).add(pod);
    }

    /// Takes a Pod from a node.
    pub(crate) fn remove_pod(&mut self, node: &str, uid: &str) {
        let Some(index) = self.index_of(node) else { return };
        let node = Arc::make_mut(&mut self.nodes[index]);
        let before = node.pods_with_terms;
        node.remove(uid);
        self.pods_with_terms -= before - node.pods_with_terms;
    }

    /// Puts a node back as it was.
    pub(crate) fn restore(&mut self, node: &Arc<NodeInfo>) {
        let Some(index) = self.index_of(&node.name) else { return };
        let changed = std::mem::replace(&mut self.nodes[index], Arc::clone(node));
        self.pods_with_terms = self.pods_with_terms + node.pods_with_terms - changed.pods_with_terms;
    }

    pub(crate) fn set_namespace(&mut self, namespace: Arc<Namespace>) {
        self.namespaces.insert(namespace.metadata.name.clone().unwrap_or_default(), namespace);
    }

    pub(crate) fn remove_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    /// Has `pod` wait for the room on `node` that is being made for it, instead of where it waited before.
    pub(crate) fn nominate(&mut self, pod: &Arc<PodInfo>, node: &str) {
        self.withdraw(&pod.uid);
        self.nominated.entry(node.to_owned()).or_default().push(Arc::clone(pod));
    }

    /// A Pod waits for no node any more.
    pub(crate) fn withdraw(&mut self, uid: &str) {
        if self.nominated.is_empty() {
            return;
        }
        self.nominated.retain(|_, waiting| {
            waiting.retain(|pod| pod.uid != uid);
            !waiting.is_empty()
        });
    }
}
