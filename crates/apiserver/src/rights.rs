//! Who may what: the node authorizer and RBAC, both kept in step with the stored objects that they decide from, and the
//! webhooks around them.
//!
//! One follower per kind reads the cache's changes in order. A refusal is final only after everything that the cache
//! holds has been taken over ([`Rights::decide`]): whoever has seen an object has the rights that come of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::PolicyRule;
use sampan_auth::node::{Named, Nodes, node_of};
use sampan_auth::rbac::{MASTERS, Rbac};
use sampan_auth::{Attributes, Authorizer, Decision, Identity};
use sampan_store::Revision;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::authorization::{Chain, Link, Own};
use crate::cache::{Cache, Filter, Object, Room};
use crate::registry::built_in;

const RBAC: &str = "rbac.authorization.k8s.io";
/// The kinds that rights come of; those that this server does not have are passed over.
const KINDS: [(&str, &str); 9] = [
    (RBAC, "ClusterRole"),
    (RBAC, "ClusterRoleBinding"),
    (RBAC, "Role"),
    (RBAC, "RoleBinding"),
    ("", "Pod"),
    ("", "PersistentVolume"),
    ("storage.k8s.io", "VolumeAttachment"),
    ("resource.k8s.io", "ResourceSlice"),
    ("certificates.k8s.io", "PodCertificateRequest"),
];
/// How many changes a follower takes at a time.
const BATCH: usize = 256;
/// How long a refusal waits for the followers to reach what the cache holds.
const CATCH_UP: Duration = Duration::from_secs(1);

/// The authorizers.
pub(crate) struct Rights {
    /// Roles and bindings, also for the rules about granting rights.
    pub(crate) rbac: Rbac,
    nodes: Nodes,
    chain: Chain,
    sources: Vec<Source>,
}

/// A kind that rights come of, and how far its objects have been taken over.
struct Source {
    kind: &'static str,
    room: Arc<Room>,
    taken: watch::Sender<Revision>,
}

impl Rights {
    /// Takes over what is stored now.
    pub(crate) fn load(cache: &Cache, chain: Chain) -> Arc<Self> {
        let source = |(group, kind): (&str, &'static str)| {
            let room = built_in(group, kind).and_then(|kind| cache.room(kind)).ok()?;
            Some(Source { kind, room, taken: watch::Sender::new(0) })
        };
        let sources = KINDS.into_iter().filter_map(source).collect();
        let rights = Self { rbac: Rbac::new(), nodes: Nodes::new(node_rules()), chain, sources };
        for source in &rights.sources {
            rights.take_over(source, &mut BTreeSet::new());
        }
        Arc::new(rights)
    }

    /// Follows all kinds until `stop`.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let each = self.sources.iter().map(|source| self.follow_one(source, &stop));
        futures::future::join_all(each).await;
    }

    async fn follow_one(&self, source: &Source, stop: &CancellationToken) {
        let mut moved = source.room.subscribe();
        let mut known = BTreeSet::new();
        let mut cursor = self.take_over(source, &mut known);
        while !stop.is_cancelled() {
            moved.mark_unchanged();
            match source.room.since(cursor, BATCH) {
                Ok(changes) if changes.is_empty() => {
                    stop.run_until_cancelled(moved.changed()).await;
                }
                Ok(changes) => {
                    for change in changes {
                        match (&change.before, &change.after) {
                            (_, Some(object)) => self.apply(source, object, &mut known),
                            (Some(object), None) => {
                                self.delete(source, &object.namespace, &object.name);
                                known.remove(&key(object));
                            }
                            (None, None) => {}
                        }
                        cursor = change.revision;
                    }
                    source.taken.send_replace(cursor);
                }
                // Too far behind: everything anew.
                Err(_) => cursor = self.take_over(source, &mut known),
            }
        }
    }

    /// Takes over all objects of a kind; those of `known` that are gone are forgotten.
    fn take_over(&self, source: &Source, known: &mut BTreeSet<(Box<str>, Box<str>)>) -> Revision {
        let (objects, revision) = source.room.snapshot(&Filter::default());
        let mut gone = std::mem::take(known);
        for object in &objects {
            gone.remove(&key(object));
            self.apply(source, object, known);
        }
        gone.iter().for_each(|(namespace, name)| self.delete(source, namespace, name));
        source.taken.send_replace(revision);
        revision
    }

    fn apply(&self, source: &Source, object: &Object, known: &mut BTreeSet<(Box<str>, Box<str>)>) {
        known.insert(key(object));
        let Rights { rbac, nodes, .. } = self;
        match source.kind {
            "ClusterRole" => read(object).iter().for_each(|role| rbac.apply_cluster_role(role)),
            "ClusterRoleBinding" => read(object).iter().for_each(|binding| rbac.apply_cluster_binding(binding)),
            "Role" => read(object).iter().for_each(|role| rbac.apply_role(role)),
            "RoleBinding" => read(object).iter().for_each(|binding| rbac.apply_binding(binding)),
            "Pod" => read(object).iter().for_each(|pod| nodes.apply_pod(pod)),
            "PersistentVolume" => read(object).iter().for_each(|volume| nodes.apply_volume(volume)),
            kind => {
                if let Some(kind) = named(kind) {
                    let node = object.value()["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
                    nodes.apply_named(kind, &object.namespace, &object.name, &node);
                }
            }
        }
    }

    fn delete(&self, source: &Source, namespace: &str, name: &str) {
        match source.kind {
            "ClusterRole" | "Role" => self.rbac.delete_role(namespace, name),
            "ClusterRoleBinding" | "RoleBinding" => self.rbac.delete_binding(namespace, name),
            "Pod" => self.nodes.delete_pod(namespace, name),
            "PersistentVolume" => self.nodes.delete_volume(name),
            kind => named(kind).into_iter().for_each(|kind| self.nodes.delete_named(kind, namespace, name)),
        }
    }

    /// The decision of whoever is to be asked, in their order, by all that the cache holds now.
    pub(crate) async fn decide(&self, who: &Identity, what: &Attributes) -> Decision {
        if is_master(who) {
            return Decision::Allow(String::new());
        }
        let mut reasons = Vec::new();
        for link in &self.chain.0 {
            let decision = match link {
                Link::Own(own) => self.decide_here(*own, who, what).await,
                Link::Webhook(webhook) => webhook.decide(who, what).await,
            };
            match decision {
                Decision::Allow(reason) => return Decision::Allow(reason),
                Decision::Deny(reason) => {
                    reasons.push(reason);
                    return Decision::Deny(joined(reasons));
                }
                Decision::NoOpinion(reason) => reasons.push(reason),
            }
        }
        Decision::NoOpinion(joined(reasons))
    }

    async fn decide_here(&self, own: Own, who: &Identity, what: &Attributes) -> Decision {
        let at_once = self.ask_own(own, who, what);
        if matches!(at_once, Decision::Allow(_)) || self.is_current() {
            return at_once;
        }
        // In time or not, what is known then decides.
        let _ = tokio::time::timeout(CATCH_UP, self.catch_up()).await;
        self.ask_own(own, who, what)
    }

    fn ask_own(&self, own: Own, who: &Identity, what: &Attributes) -> Decision {
        let mut reasons = Vec::new();
        let authorizers: [(bool, &dyn Authorizer); 2] = [(own.node, &self.nodes), (own.rbac, &self.rbac)];
        for (_, authorizer) in authorizers.iter().filter(|(asked, _)| *asked) {
            match authorizer.authorize(who, what) {
                Decision::NoOpinion(reason) => reasons.push(reason),
                decided => return decided,
            }
        }
        Decision::NoOpinion(joined(reasons))
    }

    fn is_current(&self) -> bool {
        self.sources.iter().all(|source| *source.taken.borrow() >= source.room.revision())
    }

    async fn catch_up(&self) {
        for source in &self.sources {
            let target = source.room.revision();
            let _ = source.taken.subscribe().wait_for(|taken| *taken >= target).await;
        }
    }

    /// All rules that hold for `who` in `namespace`, and why these may not be all.
    pub(crate) fn rules_for(&self, who: &Identity, namespace: &str) -> (Vec<PolicyRule>, Option<&'static str>) {
        let incomplete = node_of(who).map(|_| "node authorizer does not support user rule resolution");
        (self.rbac.rules_for(who, namespace), incomplete)
    }
}

/// What this server's own authorizers say; webhooks cannot be asked from within a decision.
impl Authorizer for Rights {
    fn authorize(&self, who: &Identity, what: &Attributes) -> Decision {
        if is_master(who) {
            return Decision::Allow(String::new());
        }
        self.ask_own(self.chain.own(), who, what)
    }
}

fn is_master(who: &Identity) -> bool {
    who.groups.iter().any(|group| group == MASTERS)
}

fn joined(mut reasons: Vec<String>) -> String {
    reasons.retain(|reason| !reason.is_empty());
    reasons.join("\n")
}

/// What every node may by the role `system:node`.
fn node_rules() -> Vec<PolicyRule> {
    let roles = sampan_auth::bootstrap::bootstrap().roles;
    let role = roles.into_iter().find(|role| role.metadata.name.as_deref() == Some("system:node"));
    role.and_then(|role| role.rules).unwrap_or_default()
}

fn named(kind: &str) -> Option<Named> {
    match kind {
        "VolumeAttachment" => Some(Named::VolumeAttachment),
        "ResourceSlice" => Some(Named::ResourceSlice),
        "PodCertificateRequest" => Some(Named::PodCertificateRequest),
        _ => None,
    }
}

fn key(object: &Object) -> (Box<str>, Box<str>) {
    (object.namespace.clone(), object.name.clone())
}

/// What cannot be read gives no rights.
fn read<T: DeserializeOwned>(object: &Object) -> Option<T> {
    serde_json::from_slice(&object.json())
        .inspect_err(|error| tracing::error!(%error, name = %object.name, "an object that gives rights cannot be read"))
        .ok()
}
