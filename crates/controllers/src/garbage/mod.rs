//! Garbage collection: what an owner leaves behind goes with it.
//!
//! ```text
//! background: the owner is gone            ─> its dependents are deleted
//! foreground: finalizer foregroundDeletion ─> blocking dependents are deleted first, then the finalizer is dropped
//! orphan:     finalizer orphan             ─> dependents forget their owner, then the finalizer is dropped
//! ```
//! [`graph`] knows who owns whom, from metadata alone; [`verdict`] decides what becomes of an object. The graph may
//! be behind: before anything is deleted, the object and its owners are read from the API itself.

mod graph;
mod verdict;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use parking_lot::Mutex;
use sampan_client::WorkQueue;
use serde_json::json;

use crate::error::allow_missing;
use crate::resources::{Feed, Kinds, Meta, News, Resource};
use crate::{Context, Error};
use graph::{Graph, Node, Uid};
use verdict::{FOREGROUND, ORPHAN, Owner, Verdict};

/// Objects looked at at once.
const WORKERS: usize = 8;

struct Collector {
    client: Client,
    kinds: Kinds,
    graph: Mutex<Graph>,
}

/// Starts the collector. It looks at objects once `feed` has read all of them.
pub(crate) fn start(context: &Context, feed: &Arc<Feed>) {
    let queue = WorkQueue::new(&context.tasks);
    let collector = Arc::new(Collector {
        client: context.client.clone(),
        kinds: feed.kinds(),
        graph: Mutex::new(Graph::default()),
    });
    let (seen, touched) = (Arc::clone(&collector), queue.clone());
    feed.on_news(move |resource, news| {
        // Events own nothing, are owned by nothing, and are many.
        if resource.api.kind == "Event" {
            return;
        }
        let mut graph = seen.graph.lock();
        let uids = match news {
            News::Applied(meta) => graph.apply(resource, meta),
            News::Deleted(meta) => graph.delete(meta),
        };
        uids.into_iter().for_each(|uid| touched.add(uid));
    });
    for _ in 0..WORKERS {
        context.tasks.spawn(work(Arc::clone(&collector), queue.clone()));
    }
}

async fn work(collector: Arc<Collector>, queue: WorkQueue<Uid>) {
    while let Some(uid) = queue.next().await {
        match collector.look_at(&uid).await {
            Ok(()) => queue.forget(&uid),
            Err(error) => {
                tracing::debug!(%uid, %error, "trying again");
                queue.retry(uid.clone());
            }
        }
        queue.done(&uid);
    }
}

impl Collector {
    async fn look_at(&self, uid: &Uid) -> Result<(), Error> {
        let Some(node) = self.graph.lock().node(uid) else { return Ok(()) };
        let Some(live) = self.live(&node).await? else { return Ok(()) };
        let deleting = live.deletion_timestamp.is_some();
        let has = |finalizer: &str| live.finalizers.iter().flatten().any(|f| f == finalizer);
        if deleting && has(ORPHAN) {
            return self.orphan(&node).await;
        }
        if deleting && has(FOREGROUND) {
            return self.foreground(&node).await;
        }
        if deleting {
            return Ok(());
        }
        self.judge(&node, &live).await
    }

    /// Does with an object what its owners ask for.
    async fn judge(&self, node: &Node, live: &ObjectMeta) -> Result<(), Error> {
        let owners = self.owners(node, live).await?;
        let dependents = self.graph.lock().has_dependents(&node.uid);
        match verdict::decide(&owners, live, dependents) {
            Verdict::Keep => Ok(()),
            Verdict::Forget(uids) => self.forget_owners(node, live, &uids).await,
            Verdict::Delete(policy) => self.delete(node, policy).await,
            Verdict::LeaveCircle => {
                self.unblock_owners(node, live).await?;
                self.delete(node, PropagationPolicy::Foreground).await
            }
        }
    }

    /// The object's metadata as the API has it now, if it is still the same object.
    async fn live(&self, node: &Node) -> Result<Option<ObjectMeta>, Error> {
        let api = node.resource.api(&self.client, &node.key.namespace);
        let found = allow_missing(api.get_metadata(&node.key.name).await);
        let found: Option<Meta> = found.map_err(Error::api(format!("reading {}", node.key)))?;
        Ok(found.map(|object| object.metadata).filter(|meta| meta.uid.as_deref() == Some(&*node.uid)))
    }

    /// The object's owners, each with what became of it.
    async fn owners(&self, node: &Node, live: &ObjectMeta) -> Result<Vec<Owner>, Error> {
        let mut owners = Vec::new();
        for reference in live.owner_references.iter().flatten() {
            let known = self.graph.lock().node(&Uid::from(reference.uid.as_str()));
            let owner = match known {
                Some(owner) if owner.foreground => Owner::WaitingForDependents(reference.uid.clone()),
                Some(_) => Owner::There,
                None => self.look_up(node, reference).await?,
            };
            owners.push(owner);
        }
        Ok(owners)
    }

    /// An owner that the graph does not know may be newer than the graph.
    async fn look_up(&self, node: &Node, reference: &OwnerReference) -> Result<Owner, Error> {
        let (group, version) = reference.api_version.split_once('/').unwrap_or(("", &reference.api_version));
        let of_kind = |resource: &Resource| {
            resource.api.kind == reference.kind && resource.api.group == group && resource.api.version == version
        };
        let Some(resource) = self.kinds.find(of_kind) else {
            // An owner of a kind that nobody serves: it cannot be known to be gone.
            return Ok(Owner::There);
        };
        if resource.namespaced && node.key.namespace.is_empty() {
            // A cluster-wide object cannot be owned by one in a namespace; upstream leaves it alone.
            return Ok(Owner::There);
        }
        let found = resource.api(&self.client, &node.key.namespace).get_metadata(&reference.name).await;
        let found: Option<Meta> = allow_missing(found).map_err(Error::api(format!("reading {}", reference.name)))?;
        match found {
            Some(owner) if owner.metadata.uid.as_deref() == Some(&reference.uid) => Ok(Owner::There),
            _ => Ok(Owner::Gone(reference.uid.clone())),
        }
    }

    async fn delete(&self, node: &Node, policy: PropagationPolicy) -> Result<(), Error> {
        let preconditions = Preconditions { uid: Some(node.uid.to_string()), resource_version: None };
        let params = DeleteParams {
            propagation_policy: Some(policy),
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        let api = node.resource.api(&self.client, &node.key.namespace);
        let deleted = api.delete(&node.key.name, &params).await;
        allow_missing(deleted).map_err(Error::api(format!("deleting {}", node.key))).map(drop)
    }

    async fn forget_owners(&self, node: &Node, live: &ObjectMeta, gone: &[String]) -> Result<(), Error> {
        let kept: Vec<_> = live.owner_references.iter().flatten().filter(|owner| !gone.contains(&owner.uid)).collect();
        let patch =
            json!({"metadata": {"ownerReferences": kept, "uid": live.uid, "resourceVersion": live.resource_version}});
        self.patch(node, &patch).await
    }

    async fn unblock_owners(&self, node: &Node, live: &ObjectMeta) -> Result<(), Error> {
        let unblocking = |owner: &OwnerReference| OwnerReference { block_owner_deletion: Some(false), ..owner.clone() };
        let owners: Vec<_> = live.owner_references.iter().flatten().map(unblocking).collect();
        let patch =
            json!({"metadata": {"ownerReferences": owners, "uid": live.uid, "resourceVersion": live.resource_version}});
        self.patch(node, &patch).await
    }

    async fn foreground(&self, node: &Node) -> Result<(), Error> {
        let blocking = self.graph.lock().blocking_dependents(&node.uid);
        if blocking.is_empty() {
            return self.drop_finalizer(node, FOREGROUND).await;
        }
        // Their own turn deletes them; each one that goes brings the owner back.
        for dependent in blocking {
            let Some(live) = self.live(&dependent).await? else { continue };
            if live.deletion_timestamp.is_none() {
                self.judge(&dependent, &live).await?;
            }
        }
        Ok(())
    }

    async fn orphan(&self, node: &Node) -> Result<(), Error> {
        let dependents = self.graph.lock().dependents(&node.uid);
        for dependent in dependents {
            if let Some(live) = self.live(&dependent).await? {
                self.forget_owners(&dependent, &live, &[node.uid.to_string()]).await?;
            }
        }
        self.drop_finalizer(node, ORPHAN).await
    }

    async fn drop_finalizer(&self, node: &Node, finalizer: &str) -> Result<(), Error> {
        let Some(live) = self.live(node).await? else { return Ok(()) };
        let kept: Vec<_> = live.finalizers.iter().flatten().filter(|f| *f != finalizer).collect();
        let patch =
            json!({"metadata": {"finalizers": kept, "uid": live.uid, "resourceVersion": live.resource_version}});
        self.patch(node, &patch).await
    }

    async fn patch(&self, node: &Node, patch: &serde_json::Value) -> Result<(), Error> {
        let api = node.resource.api(&self.client, &node.key.namespace);
        let patched = api.patch_metadata(&node.key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        allow_missing(patched).map_err(Error::api(format!("patching {}", node.key))).map(drop)
    }
}
