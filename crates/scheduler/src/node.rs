//! A node as the scheduler sees it: what it offers, what runs there, and the sums of that, kept as Pods come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint};

use sampan_api::placement::HostPort;

use crate::pod::{Labels, NO_LABELS, PodInfo};
use crate::resources::Resources;

/// A node and the Pods on it.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    pub(crate) name: Arc<str>,
    pub(crate) node: Arc<Node>,
    pub(crate) allocatable: Resources,
    /// Images there by each of their names, with their sizes in bytes.
    pub(crate) images: Arc<BTreeMap<String, i64>>,
    /// What the Pods here ask for.
    pub(crate) requested: Resources,
    /// The same as it is scored.
    pub(crate) scored: Resources,
    pub(crate) ports: Vec<HostPort>,
    pub(crate) pods: Vec<Arc<PodInfo>>,
    /// How many of the Pods say something about other Pods.
    pub(crate) pods_with_terms: usize,
}

impl NodeInfo {
    /// A node that nothing runs on.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self {
            name: node.metadata.name.as_deref().unwrap_or_default().into(),
            allocatable: Resources::of_node(&node),
            images: Arc::new(images(&node)),
            requested: Resources::default(),
            scored: Resources::default(),
            ports: Vec::new(),
            pods: Vec::new(),
            pods_with_terms: 0,
            node,
        }
    }

    /// Takes over a newer description of the same node; the Pods stay.
    pub(crate) fn describe(&mut self, node: Arc<Node>) {
        self.allocatable = Resources::of_node(&node);
        self.images = Arc::new(images(&node));
        self.node = node;
    }

    /// A Pod more.
    pub(crate) fn add(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.scored.add(&pod.scored);
        self.ports.extend_from_slice(&pod.ports);
        self.pods_with_terms += usize::from(pod.has_terms());
        self.pods.push(pod);
    }

    /// A Pod less; nothing if it is not here.
    pub(crate) fn remove(&mut self, uid: &str) {
        let Some(index) = self.pods.iter().position(|pod| pod.uid == uid) else { return };
        let pod = self.pods.swap_remove(index);
        self.requested.subtract(&pod.requests);
        self.scored.subtract(&pod.scored);
        for port in &pod.ports {
            if let Some(taken) = self.ports.iter().position(|taken| taken == port) {
                self.ports.swap_remove(taken);
            }
        }
        self.pods_with_terms -= usize::from(pod.has_terms());
    }

    pub(crate) fn labels(&self) -> &Labels {
        self.node.metadata.labels.as_ref().unwrap_or(&NO_LABELS)
    }

    pub(crate) fn taints(&self) -> &[Taint] {
        self.node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
    }

    /// What its kubelet says that it can do, where not every kubelet can.
    pub(crate) fn declared_features(&self) -> &[String] {
        self.node.status.as_ref().and_then(|status| status.declared_features.as_deref()).unwrap_or_default()
    }

    pub(crate) fn is_unschedulable(&self) -> bool {
        self.node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default()
    }
}

fn images(node: &Node) -> BTreeMap<String, i64> {
    let images = node.status.as_ref().and_then(|status| status.images.as_deref()).unwrap_or_default();
    let named = images.iter().flat_map(|image| {
        let size = image.size_bytes.unwrap_or_default();
        image.names.iter().flatten().map(move |name| (name.clone(), size))
    });
    named.collect()
}
