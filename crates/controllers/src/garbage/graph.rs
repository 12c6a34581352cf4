//! Who owns whom: every object by its UID, and the dependents of each owner.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use sampan_client::Key;

use super::verdict::{Dependents, FOREGROUND};
use crate::resources::{self, Resource};

/// An object's UID.
pub(super) type Uid = Arc<str>;

/// An object, as far as garbage collection is concerned.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) uid: Uid,
    pub(super) resource: Arc<Resource>,
    pub(super) key: Key,
    pub(super) owners: Vec<OwnerReference>,
    /// It is being deleted in the foreground: it waits for its dependents.
    pub(super) foreground: bool,
    deleting: bool,
}

/// All objects. An object is of interest when it has an owner, is one, or is being deleted.
#[derive(Default)]
pub(super) struct Graph {
    nodes: HashMap<Uid, Node>,
    dependents: HashMap<Uid, HashSet<Uid>>,
    resources: HashMap<Resource, Arc<Resource>>,
}

impl Graph {
    /// Takes in an object as it is now. Returns the objects to look at.
    pub(super) fn apply(&mut self, resource: &Resource, meta: &ObjectMeta) -> Vec<Uid> {
        let Some(node) = self.make_node(resource, meta) else { return Vec::new() };
        let uid = Arc::clone(&node.uid);
        let before = self.nodes.insert(Arc::clone(&uid), node.clone());
        for owner in before.iter().flat_map(|before| &before.owners) {
            if let Some(dependents) = self.dependents.get_mut(owner.uid.as_str()) {
                dependents.remove(&uid);
            }
        }
        for owner in &node.owners {
            self.dependents.entry(owner.uid.as_str().into()).or_default().insert(Arc::clone(&uid));
        }
        let mut touched = Vec::new();
        // An owner that waits looks again when a dependent has let go of it or no longer blocks it.
        for owner in before.iter().flat_map(|before| &before.owners) {
            if self.nodes.get(owner.uid.as_str()).is_some_and(|owner| owner.foreground) {
                touched.push(owner.uid.as_str().into());
            }
        }
        let new_owners = before.as_ref().is_none_or(|before| before.owners != node.owners);
        if (new_owners && !node.owners.is_empty()) || (node.deleting && before.is_none_or(|b| !b.deleting)) {
            touched.push(uid);
        }
        touched
    }

    /// An object is gone. Returns the objects to look at: its dependents, and owners that wait for it.
    pub(super) fn delete(&mut self, meta: &ObjectMeta) -> Vec<Uid> {
        let uid: Uid = meta.uid.as_deref().unwrap_or_default().into();
        let owners = self.nodes.remove(&uid).map(|node| node.owners).unwrap_or_default();
        let mut touched: Vec<Uid> = self.dependents.remove(&uid).into_iter().flatten().collect();
        for owner in owners {
            if let Some(dependents) = self.dependents.get_mut(owner.uid.as_str()) {
                dependents.remove(&uid);
                if dependents.is_empty() {
                    self.dependents.remove(owner.uid.as_str());
                }
            }
            if self.nodes.get(owner.uid.as_str()).is_some_and(|owner| owner.foreground) {
                touched.push(owner.uid.as_str().into());
            }
        }
        touched
    }

    /// The object of `uid`.
    pub(super) fn node(&self, uid: &Uid) -> Option<Node> {
        self.nodes.get(uid).cloned()
    }

    /// The objects that name `uid` as an owner.
    pub(super) fn dependents(&self, uid: &Uid) -> Vec<Node> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| self.nodes.get(uid)).cloned().collect()
    }

    /// What hangs on `uid`.
    pub(super) fn has_dependents(&self, uid: &Uid) -> Dependents {
        let dependents = self.dependents(uid);
        if dependents.iter().any(|dependent| dependent.foreground) {
            Dependents::Waiting
        } else if dependents.is_empty() {
            Dependents::None
        } else {
            Dependents::Some
        }
    }

    /// Those of them that hold back the foreground deletion of `uid`.
    pub(super) fn blocking_dependents(&self, uid: &Uid) -> Vec<Node> {
        let blocks = |node: &Node| {
            node.owners.iter().any(|owner| owner.uid == **uid && owner.block_owner_deletion == Some(true))
        };
        self.dependents(uid).into_iter().filter(blocks).collect()
    }

    fn make_node(&mut self, resource: &Resource, meta: &ObjectMeta) -> Option<Node> {
        let shared = self.resources.entry(resource.clone()).or_insert_with(|| Arc::new(resource.clone()));
        let deleting = meta.deletion_timestamp.is_some();
        let waits = meta.finalizers.iter().flatten().any(|finalizer| finalizer == FOREGROUND);
        Some(Node {
            uid: meta.uid.as_deref()?.into(),
            resource: Arc::clone(shared),
            key: resources::key(meta),
            owners: meta.owner_references.clone().unwrap_or_default(),
            foreground: deleting && waits,
            deleting,
        })
    }
}
