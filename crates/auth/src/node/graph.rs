//! Which objects belong to which node: a graph whose edges lead from an object towards the nodes that may read it.
//!
//! ```text
//! secret, configmap, serviceaccount, claim, resourceclaim, pod ----(a Pod)----> node
//! secret --(a PersistentVolume)--> volume --(its claimRef)--> claim ----------> node
//! attachment, slice, certificate request --------------------------------------> node
//! ```
//! What a Pod uses leads to its node directly and is counted, so that the common question is one look-up even where ten
//! thousand Pods use one ConfigMap.

use std::collections::HashMap;
use std::sync::Arc;

/// What a vertex stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sort {
    Node,
    Pod,
    Secret,
    ConfigMap,
    ServiceAccount,
    Claim,
    Volume,
    Attachment,
    ResourceClaim,
    ResourceSlice,
    CertificateRequest,
}

/// An object, by name; the namespace is empty for cluster scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Vertex {
    sort: Sort,
    namespace: Arc<str>,
    name: Arc<str>,
}

impl Vertex {
    pub(super) fn new(sort: Sort, namespace: &str, name: &str) -> Self {
        Self { sort, namespace: namespace.into(), name: name.into() }
    }

    pub(super) fn node(name: &str) -> Self {
        Self::new(Sort::Node, "", name)
    }
}

/// An edge: whoever may read the second may read the first.
pub(super) type Edge = (Vertex, Vertex);

/// The graph. Every edge belongs to the object that caused it, and goes with it.
#[derive(Default)]
pub(super) struct Graph {
    edges: HashMap<Vertex, HashMap<Vertex, u32>>,
    caused: HashMap<Vertex, Vec<Edge>>,
}

impl Graph {
    /// `owner` is there, new or changed, and causes just these edges.
    pub(super) fn put(&mut self, owner: Vertex, edges: Vec<Edge>) {
        if self.caused.get(&owner) == Some(&edges) {
            return;
        }
        self.remove(&owner);
        for (from, to) in &edges {
            *self.edges.entry(from.clone()).or_default().entry(to.clone()).or_default() += 1;
        }
        if !edges.is_empty() {
            self.caused.insert(owner, edges);
        }
    }

    /// `owner` is gone, and its edges with it.
    pub(super) fn remove(&mut self, owner: &Vertex) {
        for (from, to) in self.caused.remove(owner).unwrap_or_default() {
            let Some(targets) = self.edges.get_mut(&from) else { continue };
            if let Some(count) = targets.get_mut(&to) {
                *count -= 1;
                if *count == 0 {
                    targets.remove(&to);
                }
            }
            if targets.is_empty() {
                self.edges.remove(&from);
            }
        }
    }

    /// Whether a path leads from `object` to `node`. Paths that do not end at once lead over volumes and claims alone,
    /// three steps at most: there are no cycles.
    pub(super) fn leads(&self, object: &Vertex, node: &Vertex) -> bool {
        let Some(targets) = self.edges.get(object) else { return false };
        targets.contains_key(node)
            || targets.keys().any(|next| matches!(next.sort, Sort::Claim | Sort::Volume) && self.leads(next, node))
    }
}
