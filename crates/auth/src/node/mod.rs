//! The node authorizer: a kubelet reads what the Pods bound to its node use, and nothing else.
//!
//! The API server feeds [`Nodes`] the objects that tie others to nodes; a decision asks its graph whether a path leads
//! from the wanted object to the asking node. Rules that need an object's content (whose Pod is written, which labels)
//! are the admission plugin NodeRestriction's. Start at [`Nodes`] and its [`Authorizer`].

mod graph;
mod references;

use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use k8s_openapi::api::rbac::v1::PolicyRule;
use parking_lot::RwLock;

use self::graph::{Graph, Sort, Vertex};
use crate::rbac::any_allows;
use crate::{Attributes, Authorizer, Decision, Identity};

/// The group of all nodes.
pub const GROUP: &str = "system:nodes";
/// A node's user name is this and the node's name.
const USER_PREFIX: &str = "system:node:";
/// Where nodes say that they are alive.
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// The node that `who` is, if it is one.
pub fn node_of(who: &Identity) -> Option<&str> {
    let name = who.name.strip_prefix(USER_PREFIX)?;
    who.groups.iter().any(|group| group == GROUP).then_some(name)
}

/// Kinds whose objects name their node in a field and lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// `VolumeAttachment`, by `spec.nodeName`.
    VolumeAttachment,
    /// `ResourceSlice`, by `spec.nodeName`.
    ResourceSlice,
    /// `PodCertificateRequest`, by `spec.nodeName`.
    PodCertificateRequest,
}

impl Named {
    fn sort(self) -> Sort {
        match self {
            Self::VolumeAttachment => Sort::Attachment,
            Self::ResourceSlice => Sort::ResourceSlice,
            Self::PodCertificateRequest => Sort::CertificateRequest,
        }
    }
}

/// What all nodes may read and do, by what runs on them. Shared; every request of a node reads it.
pub struct Nodes {
    graph: RwLock<Graph>,
    rules: Vec<PolicyRule>,
}

impl Nodes {
    /// No node has anything yet. `rules` hold for every node where nothing more exact is said here: those of the role
    /// `system:node`.
    pub fn new(rules: Vec<PolicyRule>) -> Self {
        Self { graph: RwLock::default(), rules }
    }

    /// A Pod is there, new or changed.
    pub fn apply_pod(&self, pod: &Pod) {
        let edges = references::of_pod(pod);
        let (namespace, name) = (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref());
        let owner = Vertex::new(Sort::Pod, namespace.unwrap_or_default(), name.unwrap_or_default());
        self.graph.write().put(owner, edges);
    }

    /// The Pod is gone.
    pub fn delete_pod(&self, namespace: &str, name: &str) {
        self.graph.write().remove(&Vertex::new(Sort::Pod, namespace, name));
    }

    /// A PersistentVolume is there, new or changed.
    pub fn apply_volume(&self, volume: &PersistentVolume) {
        let owner = Vertex::new(Sort::Volume, "", volume.metadata.name.as_deref().unwrap_or_default());
        self.graph.write().put(owner, references::of_volume(volume));
    }

    /// The PersistentVolume is gone.
    pub fn delete_volume(&self, name: &str) {
        self.graph.write().remove(&Vertex::new(Sort::Volume, "", name));
    }

    /// An object that names its node is there; an empty `node` ties it to none.
    pub fn apply_named(&self, kind: Named, namespace: &str, name: &str, node: &str) {
        let owner = Vertex::new(kind.sort(), namespace, name);
        let edges = if node.is_empty() { Vec::new() } else { vec![(owner.clone(), Vertex::node(node))] };
        self.graph.write().put(owner, edges);
    }

    /// Such an object is gone.
    pub fn delete_named(&self, kind: Named, namespace: &str, name: &str) {
        self.graph.write().remove(&Vertex::new(kind.sort(), namespace, name));
    }

    fn related(&self, node: &str, sort: Sort, what: &Attributes) -> Verdict {
        if what.name.is_empty() {
            return Err("No Object name found".to_owned());
        }
        let object = Vertex::new(sort, &what.namespace, &what.name);
        allow_if(
            self.graph.read().leads(&object, &Vertex::node(node)),
            &format!("no relationship found between node '{node}' and this object"),
        )
    }

    fn get(&self, node: &str, sort: Sort, what: &Attributes) -> Verdict {
        allow_if(what.verb == "get", "can only get individual resources of this type")?;
        allow_if(what.subresource.is_empty(), "cannot get subresource")?;
        self.related(node, sort, what)
    }

    fn read(&self, node: &str, sort: Sort, what: &Attributes) -> Verdict {
        allow_if(matches!(what.verb.as_str(), "get" | "list" | "watch"), "can only read resources of this type")?;
        allow_if(what.subresource.is_empty(), "cannot read subresource")?;
        allow_if(!what.namespace.is_empty(), "can only read namespaced object of this type")?;
        self.related(node, sort, what)
    }

    fn claim(&self, node: &str, what: &Attributes) -> Verdict {
        if what.subresource != "status" {
            return self.get(node, Sort::Claim, what);
        }
        allow_if(matches!(what.verb.as_str(), "update" | "patch"), "can only get/update/patch this type")?;
        self.related(node, Sort::Claim, what)
    }

    fn account(&self, node: &str, what: &Attributes) -> Verdict {
        if (what.verb.as_str(), what.subresource.as_str()) == ("get", "") {
            return self.get(node, Sort::ServiceAccount, what);
        }
        let one = what.verb == "create" && !what.name.is_empty();
        allow_if(one, "can only create tokens for individual service accounts")?;
        allow_if(what.subresource == "token", "can only create token subresource of serviceaccount")?;
        self.related(node, Sort::ServiceAccount, what)
    }

    fn pod(&self, node: &str, what: &Attributes) -> Verdict {
        match (what.subresource.as_str(), what.verb.as_str()) {
            ("", "get") => self.get(node, Sort::Pod, what),
            ("", "list" | "watch") if what.selects("spec.nodeName", node) => Ok(()),
            ("", "list" | "watch") if !what.name.is_empty() => self.related(node, Sort::Pod, what),
            ("", "list" | "watch") => Err("can only list/watch pods with spec.nodeName field selector".to_owned()),
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            _ => Err(String::new()),
        }
    }

    fn slice(&self, node: &str, what: &Attributes) -> Verdict {
        allow_if(what.subresource.is_empty(), "cannot authorize ResourceSlice subresources")?;
        match what.verb.as_str() {
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" => self.related(node, Sort::ResourceSlice, what),
            "watch" | "list" | "deletecollection" => allow_if(
                what.selects("spec.nodeName", node) || what.selects("nodeName", node),
                "can only list/watch/deletecollection resourceslices with nodeName field selector",
            ),
            _ => Err("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection".to_owned()),
        }
    }

    fn certificate_request(&self, node: &str, what: &Attributes) -> Verdict {
        allow_if(what.subresource.is_empty(), "cannot authorize PodCertificateRequest subresources")?;
        match what.verb.as_str() {
            "create" => Ok(()),
            "get" => self.related(node, Sort::CertificateRequest, what),
            "list" | "watch" => allow_if(
                what.selects("spec.nodeName", node),
                "can only list/watch podcertificaterequests with nodeName field selector",
            ),
            _ => Err(String::new()),
        }
    }

    fn verdict(&self, node: &str, what: &Attributes) -> Verdict {
        match (what.group.as_str(), what.resource.as_str()) {
            ("", "secrets") => self.read(node, Sort::Secret, what),
            ("", "configmaps") => self.read(node, Sort::ConfigMap, what),
            ("", "persistentvolumeclaims") => self.claim(node, what),
            ("", "persistentvolumes") => self.get(node, Sort::Volume, what),
            ("", "serviceaccounts") => self.account(node, what),
            ("", "pods") => self.pod(node, what),
            ("", "nodes") => own_node(node, what),
            ("resource.k8s.io", "resourceclaims") => self.get(node, Sort::ResourceClaim, what),
            ("resource.k8s.io", "resourceslices") => self.slice(node, what),
            ("storage.k8s.io", "volumeattachments") => self.get(node, Sort::Attachment, what),
            ("storage.k8s.io", "csinodes") => csi_node(node, what),
            ("coordination.k8s.io", "leases") => lease(node, what),
            ("certificates.k8s.io", "podcertificaterequests") => self.certificate_request(node, what),
            _ => allow_if(any_allows(&self.rules, what), ""),
        }
    }
}

/// Allowed, or why not.
type Verdict = Result<(), String>;

fn allow_if(holds: bool, otherwise: &str) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn own_node(node: &str, what: &Attributes) -> Verdict {
    match (what.subresource.as_str(), what.verb.as_str()) {
        // Whose Node it is, NodeRestriction asks: at a create the name is in the object alone.
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        ("", "get" | "list" | "watch") if what.name == node => Ok(()),
        ("", "get" | "list" | "watch") if what.name.is_empty() => {
            Err(format!("node '{node}' cannot read all nodes, only its own Node object"))
        }
        ("", "get" | "list" | "watch") => {
            Err(format!("node '{node}' cannot read '{}', only its own Node object", what.name))
        }
        _ => Err(String::new()),
    }
}

fn is_own_write(what: &Attributes) -> bool {
    matches!(what.verb.as_str(), "get" | "create" | "update" | "patch" | "delete")
}

fn lease(node: &str, what: &Attributes) -> Verdict {
    allow_if(is_own_write(what), "can only get, create, update, patch, or delete a node lease")?;
    let why = "can only access leases in the \"kube-node-lease\" system namespace";
    allow_if(what.namespace == LEASE_NAMESPACE, why)?;
    let own = what.verb == "create" || what.name == node;
    allow_if(own, "can only access node lease with the same name as the requesting node")
}

fn csi_node(node: &str, what: &Attributes) -> Verdict {
    allow_if(is_own_write(what), "can only get, create, update, patch, or delete a CSINode")?;
    allow_if(what.subresource.is_empty(), "cannot authorize CSINode subresources")?;
    let own = what.verb == "create" || what.name == node;
    allow_if(own, "can only access CSINode with the same name as the requesting node")
}

impl Authorizer for Nodes {
    fn authorize(&self, who: &Identity, what: &Attributes) -> Decision {
        match node_of(who) {
            None => Decision::NoOpinion(String::new()),
            Some("") => Decision::NoOpinion(format!("unknown node for user {:?}", who.name)),
            Some(node) => match self.verdict(node, what) {
                Ok(()) => Decision::Allow(String::new()),
                Err(why) => Decision::NoOpinion(why),
            },
        }
    }
}

#[cfg(test)]
mod tests;
