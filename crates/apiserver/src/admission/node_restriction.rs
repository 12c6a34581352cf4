//! A node changes its own Node, its lease and the Pods bound to it, nothing else, and not the labels and taints that
//! isolate nodes. What it may read, the node authorizer says.

use std::collections::{BTreeMap, BTreeSet};

use sampan_api::status::{Resource, Status};
use sampan_auth::node::node_of;
use serde_json::Value;

use super::{Operation, Plugin, Request, is_mirror};
use crate::registry::{Attempt, Registry, metadata};

/// Labels in this namespace, and those below it, belong to administrators.
const PROTECTED: &str = "node-restriction.kubernetes.io";
/// The labels of `kubernetes.io` and `k8s.io` that a kubelet sets on its Node.
const KUBELET_LABELS: [&str; 12] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "node.kubernetes.io/windows-build",
];
/// And all below these.
const KUBELET_LABEL_NAMESPACES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

pub(super) struct NodeRestriction;

/// A write by a node.
struct ByNode<'a> {
    registry: &'a Registry,
    attempt: &'a Attempt,
    node: &'a str,
}

impl Plugin for NodeRestriction {
    fn mutate(&self, registry: &Registry, request: &Request<'_>, new: &mut Value) -> Result<(), Status> {
        let Some(by) = ByNode::of(registry, request.attempt)? else { return Ok(()) };
        match (request.operation, request.old) {
            (Operation::Create | Operation::Update, old) => by.write(new, old),
            (Operation::Delete, Some(old)) => by.delete(old),
            _ => Ok(()),
        }
    }
}

/// The audiences for which a Pod has tokens projected into volumes; the empty one is the API server's.
fn audiences_of(pod: &Value) -> BTreeSet<&str> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let sources = volumes.filter_map(|volume| volume["projected"]["sources"].as_array()).flatten();
    let tokens = sources.filter_map(|source| source.get("serviceAccountToken"));
    tokens.map(|token| token["audience"].as_str().unwrap_or_default()).collect()
}

impl<'a> ByNode<'a> {
    /// Whether a node attempts this; one that cannot be told is refused.
    fn of(registry: &'a Registry, attempt: &'a Attempt) -> Result<Option<Self>, Status> {
        match node_of(&attempt.identity) {
            None => Ok(None),
            Some("") => {
                let why = format!("could not determine node from user {:?}", attempt.identity.name);
                Err(attempt.forbidden(&why))
            }
            Some(node) => Ok(Some(Self { registry, attempt, node })),
        }
    }

    fn require(&self, holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Status> {
        if holds { Ok(()) } else { Err(self.attempt.forbidden(&otherwise())) }
    }

    fn write(&self, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        let Attempt { kind, subresource, .. } = self.attempt;
        match (kind.group, kind.plural, *subresource) {
            ("", "pods", "eviction") => self.eviction(),
            ("", "pods", _) => self.pod(new, old),
            ("", "nodes", _) => self.own_node(new, old),
            ("", "persistentvolumeclaims", _) => self.claim(new, old),
            ("", "serviceaccounts", "token") => self.token(&new["spec"]),
            ("coordination.k8s.io", "leases", _) => self.lease(),
            ("storage.k8s.io", "csinodes", _) => self.csi_node(),
            ("resource.k8s.io", "resourceslices", _) => self.slice(new, old),
            ("certificates.k8s.io", "podcertificaterequests", _) if old.is_none() => self.pod_certificate(&new["spec"]),
            _ => Ok(()),
        }
    }

    /// A node deletes only what is its own.
    fn delete(&self, old: &Value) -> Result<(), Status> {
        let node = self.node;
        match (self.attempt.kind.group, self.attempt.kind.plural) {
            ("", "pods") => self.require(old["spec"]["nodeName"] == node, || {
                format!("node {node:?} can only delete pods with spec.nodeName set to itself")
            }),
            ("", "nodes") => self.itself(),
            ("coordination.k8s.io", "leases") => self.lease(),
            ("storage.k8s.io", "csinodes") => self.csi_node(),
            ("resource.k8s.io", "resourceslices") => self.slice(old, Some(old)),
            _ => Ok(()),
        }
    }

    fn found_pod(&self, name: &str) -> Result<Value, Status> {
        let pod = self.registry.peek("", "Pod", &self.attempt.namespace, name);
        pod.ok_or_else(|| Status::not_found(Resource { group: "", name: "pods" }, name))
    }

    /// A node asks for certificates of the Pods that it runs, in the names of what they really are.
    fn pod_certificate(&self, spec: &Value) -> Result<(), Status> {
        let text = |field: &str| spec[field].as_str().unwrap_or_default();
        let asked = text("nodeName");
        self.require(asked == self.node, || {
            format!("PodCertificateRequest.Spec.NodeName={asked:?}, which is not the requesting node {:?}", self.node)
        })?;
        let pod = self.found_pod(text("podName"))?;
        let bound = pod["spec"]["nodeName"] == self.node;
        self.require(bound, || {
            format!("pod {:?} is not assigned to the requesting node {:?}", text("podName"), self.node)
        })?;
        self.require(!is_mirror(&pod), || format!("pod {:?} is a mirror pod", text("podName")))?;
        self.require(pod["spec"]["serviceAccountName"] == spec["serviceAccountName"], || {
            format!("pod {:?} does not run as the ServiceAccount {:?}", text("podName"), text("serviceAccountName"))
        })?;
        let namespace = &self.attempt.namespace;
        let account = self.registry.peek("", "ServiceAccount", namespace, text("serviceAccountName"));
        let node = self.registry.peek("", "Node", "", self.node);
        for (field, object) in [("podUID", Some(pod)), ("serviceAccountUID", account), ("nodeUID", node)] {
            let own = object.is_some_and(|object| object["metadata"]["uid"] == text(field));
            self.require(own, || format!("PodCertificateRequest.Spec.{field}={:?} is not what is there", text(field)))?;
        }
        Ok(())
    }

    /// A node evicts only Pods that are bound to it.
    fn eviction(&self) -> Result<(), Status> {
        let pod = self.found_pod(&self.attempt.name)?;
        self.require(pod["spec"]["nodeName"] == self.node, || {
            format!("node {} can only evict pods with spec.nodeName set to itself", self.node)
        })
    }

    /// A node gets tokens for the Pods bound to it alone: `spec` is the TokenRequest's.
    fn token(&self, spec: &Value) -> Result<(), Status> {
        let reference = &spec["boundObjectRef"];
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let (name, uid) = (text("name"), text("uid"));
        let to_pod = text("apiVersion") == "v1" && text("kind") == "Pod" && !name.is_empty();
        self.require(to_pod, || "node requested token not bound to a pod".to_owned())?;
        self.require(!uid.is_empty(), || "node requested token with a pod binding without a uid".to_owned())?;
        let pod = self.found_pod(name)?;
        self.require(metadata::text(&pod, "uid") == uid, || {
            format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            )
        })?;
        self.require(pod["spec"]["nodeName"] == self.node, || {
            "node requested token bound to a pod scheduled on a different node".to_owned()
        })?;
        let allowed = audiences_of(&pod);
        let mut asked = spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str);
        match asked.find(|audience| !allowed.contains(audience)) {
            None => Ok(()),
            Some(audience) => self.require(false, || format!("audience {audience:?} not found in pod spec volume")),
        }
    }

    fn pod(&self, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        let node = self.node;
        match (self.attempt.subresource, old) {
            ("", None) => self.mirror(new),
            ("", Some(_)) => self.require(false, || {
                format!("unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods")
            }),
            ("status", Some(old)) => self.pod_status(new, old),
            (other, _) => self.require(false, || {
                format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed")
            }),
        }
    }

    fn pod_status(&self, new: &Value, old: &Value) -> Result<(), Status> {
        let node = self.node;
        self.require(old["spec"]["nodeName"] == node, || {
            format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself")
        })?;
        self.require(labels(new) == labels(old), || format!("node {node:?} cannot update labels through pod status"))?;
        let claims = |pod: &Value| pod["status"]["resourceClaimStatuses"].as_array().cloned().unwrap_or_default();
        self.require(claims(new) == claims(old), || format!("node {node:?} cannot update resource claim statues"))
    }

    /// A Pod that mirrors what the node runs by itself is bound to it, owned by it, and refers to nothing of the API.
    fn mirror(&self, pod: &Value) -> Result<(), Status> {
        let node = self.node;
        self.require(is_mirror(pod), || {
            format!(
                "pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods"
            )
        })?;
        self.require(pod["spec"]["nodeName"] == node, || {
            format!("node {node:?} can only create pods with spec.nodeName set to itself")
        })?;
        self.owner(pod)?;
        let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or_default();
        self.require(account.is_empty(), || {
            format!("node {node:?} can not create pods that reference a service account")
        })?;
        match reference(&pod["spec"]) {
            None => Ok(()),
            Some(what) => self.require(false, || format!("node {node:?} can not create pods that reference {what}")),
        }
    }

    fn owner(&self, pod: &Value) -> Result<(), Status> {
        let node = self.node;
        let owners = pod["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
        self.require(owners.len() <= 1, || {
            format!("node {node:?} can only create pods with a single owner reference set to itself")
        })?;
        let owner = owners.first().unwrap_or(&Value::Null);
        let own = owner["apiVersion"] == "v1" && owner["kind"] == "Node" && owner["name"] == node;
        self.require(own, || format!("node {node:?} can only create pods with an owner reference set to itself"))?;
        self.require(owner["controller"] == true, || {
            format!("node {node:?} can only create pods with a controller owner reference set to itself")
        })?;
        self.require(owner["blockOwnerDeletion"] != true, || {
            format!("node {node:?} must not set blockOwnerDeletion on an owner reference")
        })?;
        let found = self.registry.peek("", "Node", "", node);
        let found = found.ok_or_else(|| Status::not_found(Resource { group: "", name: "nodes" }, node))?;
        let (expected, got) = (owner["uid"].as_str().unwrap_or_default(), metadata::text(&found, "uid"));
        self.require(expected == got, || format!("node {node} UID mismatch: expected {expected} got {got}"))
    }

    fn itself(&self) -> Result<(), Status> {
        let (node, name) = (self.node, &self.attempt.name);
        self.require(name == node, || format!("node {node:?} is not allowed to modify node {name:?}"))
    }

    fn own_node(&self, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        let node = self.node;
        self.itself()?;
        let forbidden = forbidden_labels(&labels(new), &old.map(labels).unwrap_or_default()).join(", ");
        let Some(old) = old else {
            return self.require(forbidden.is_empty(), || {
                format!("node {node:?} is not allowed to set the following labels: {forbidden}")
            });
        };
        let taints = |object: &Value| object["spec"]["taints"].as_array().cloned().unwrap_or_default();
        self.require(taints(new) == taints(old), || format!("node {node:?} is not allowed to modify taints"))?;
        let owners = |object: &Value| object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        self.require(owners(new) == owners(old), || format!("node {node:?} is not allowed to modify ownerReferences"))?;
        self.require(forbidden.is_empty(), || format!("is not allowed to modify labels: {forbidden}"))
    }

    fn claim(&self, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        let status = self.attempt.subresource == "status";
        self.require(status, || "may only update PVC status".to_owned())?;
        let same = old.is_none_or(|old| without_sizes(new) == without_sizes(old));
        self.require(same, || {
            format!(
                "node {:?} is not allowed to update fields other than status.capacity and status.conditions",
                self.node
            )
        })
    }

    fn lease(&self) -> Result<(), Status> {
        self.require(self.attempt.namespace == "kube-node-lease", || {
            "can only access leases in the \"kube-node-lease\" system namespace".to_owned()
        })?;
        self.require(self.attempt.name == self.node, || {
            "can only access node lease with the same name as the requesting node".to_owned()
        })
    }

    fn csi_node(&self) -> Result<(), Status> {
        self.require(self.attempt.name == self.node, || {
            "can only access CSINode with the same name as the requesting node".to_owned()
        })
    }

    fn slice(&self, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        let verb = if old.is_none() { "create" } else { "delete" };
        self.require(old.unwrap_or(new)["spec"]["nodeName"] == self.node, || {
            format!("can only {verb} ResourceSlice with the same NodeName as the requesting node")
        })
    }
}

/// What of the API a Pod's spec refers to, if anything.
fn reference(spec: &Value) -> Option<&'static str> {
    let of_volume =
        |field: &str| spec["volumes"].as_array().into_iter().flatten().any(|volume| !volume[field].is_null());
    let projected = |field: &str| {
        let volumes = spec["volumes"].as_array().into_iter().flatten();
        let sources = volumes.filter_map(|volume| volume["projected"]["sources"].as_array()).flatten();
        sources.into_iter().any(|source| !source[field].is_null())
    };
    let in_env = |whole: &str, key: &str| {
        let lists = ["containers", "initContainers", "ephemeralContainers"].into_iter();
        let containers = lists.filter_map(|list| spec[list].as_array()).flatten();
        containers.into_iter().any(|container| {
            let each = |list: &str| container[list].as_array().into_iter().flatten();
            each("envFrom").any(|from| !from[whole].is_null())
                || each("env").any(|one| !one["valueFrom"][key].is_null())
        })
    };
    let pulls = spec["imagePullSecrets"].as_array().is_some_and(|secrets| !secrets.is_empty());
    let found = [
        (pulls || of_volume("secret") || projected("secret") || in_env("secretRef", "secretKeyRef"), "secrets"),
        (of_volume("configMap") || projected("configMap") || in_env("configMapRef", "configMapKeyRef"), "configmaps"),
        (projected("clusterTrustBundle"), "clustertrustbundles"),
        (of_volume("persistentVolumeClaim"), "persistentvolumeclaims"),
        (spec["resourceClaims"].as_array().is_some_and(|claims| !claims.is_empty()), "resourceclaims"),
    ];
    found.into_iter().find_map(|(is, what)| is.then_some(what))
}

fn labels(object: &Value) -> BTreeMap<String, String> {
    crate::cache::labels(object)
}

/// The labels that differ and that no kubelet may set.
fn forbidden_labels(new: &BTreeMap<String, String>, old: &BTreeMap<String, String>) -> Vec<String> {
    let all: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
    let differs = |label: &&&String| new.get(**label) != old.get(**label);
    all.iter().filter(differs).filter(|label| is_forbidden(label)).map(|label| (**label).clone()).collect()
}

fn is_forbidden(label: &str) -> bool {
    let namespace = label.split_once('/').map_or("", |(namespace, _)| namespace);
    let within =
        |domain: &str| namespace == domain || namespace.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    let kubelets = KUBELET_LABELS.contains(&label) || KUBELET_LABEL_NAMESPACES.iter().any(|domain| within(domain));
    within(PROTECTED) || ((within("kubernetes.io") || within("k8s.io")) && !kubelets)
}

/// A claim without what a kubelet writes into its status.
fn without_sizes(claim: &Value) -> Value {
    let mut claim = claim.clone();
    if let Some(status) = claim["status"].as_object_mut() {
        for field in ["capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"] {
            status.remove(field);
        }
    }
    if let Some(meta) = claim["metadata"].as_object_mut() {
        meta.remove("resourceVersion");
        meta.remove("managedFields");
    }
    claim
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kubelets_set_their_own_labels_alone() {
        for (label, forbidden) in [
            ("team", false),
            ("example.com/team", false),
            ("kubernetes.io/hostname", false),
            ("node.kubernetes.io/anything", false),
            ("sub.kubelet.kubernetes.io/anything", false),
            ("topology.kubernetes.io/zone", false),
            ("kubernetes.io/other", true),
            ("node-role.kubernetes.io/control-plane", true),
            ("sub.k8s.io/x", true),
            ("node-restriction.kubernetes.io/x", true),
            ("sub.node-restriction.kubernetes.io/x", true),
            ("notkubernetes.io/x", false),
        ] {
            assert_eq!(is_forbidden(label), forbidden, "{label}");
        }
    }

    #[test]
    fn references_to_the_api_are_found_wherever_they_are() {
        let check = |spec: Value, want: Option<&str>| assert_eq!(reference(&spec), want, "{spec}");
        check(json!({"containers": [{"name": "c"}], "volumes": [{"name": "v", "emptyDir": {}}]}), None);
        check(json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}), Some("secrets"));
        check(json!({"imagePullSecrets": [{"name": "s"}]}), Some("secrets"));
        check(json!({"initContainers": [{"envFrom": [{"configMapRef": {"name": "m"}}]}]}), Some("configmaps"));
        let env = json!([{"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
        check(json!({"containers": [{"env": env}]}), Some("secrets"));
        let projected = json!({"sources": [{"configMap": {"name": "m"}}]});
        check(json!({"volumes": [{"name": "v", "projected": projected}]}), Some("configmaps"));
        check(json!({"volumes": [{"persistentVolumeClaim": {"claimName": "c"}}]}), Some("persistentvolumeclaims"));
    }
}
