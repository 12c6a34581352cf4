//! The end of a namespace: everything in it is deleted, and then the namespace itself.
//!
//! ```text
//! deletionTimestamp ─> delete all Pods ─> delete all objects of every kind ─> drop the finalizer `kubernetes`
//! ```
//! Each step waits until the last object of the one before is gone: what Pods need (network policies, secrets) is there
//! for as long as they run.
//! Nothing is polled: the deletion of each object brings its namespace back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceSpec, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams, Request};
use kube::{Api, Client, ResourceExt};
use sampan_client::{Informer, Key, WorkQueue};

use crate::error::allow_missing;
use crate::resources::{Feed, News, Resource, discover};
use crate::runner::{self, Reconcile};
use crate::{Context, Error};

/// Namespaces ended at once.
const WORKERS: usize = 2;
/// Our finalizer in `spec.finalizers`.
const FINALIZER: &str = "kubernetes";

struct Controller {
    client: Client,
    namespaces: Informer<Namespace>,
}

/// Whether objects may still be made in `namespace`.
pub(crate) fn is_active(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_none()
}

/// Starts the controller. `feed` tells it of deleted objects.
pub(crate) fn start(context: Context, feed: &Feed) {
    let queue = WorkQueue::new(&context.tasks);
    let namespaces = context.informers.all::<Namespace>();
    let ending = queue.clone();
    namespaces.on_change(move |change| {
        if !is_active(change.object()) {
            ending.add(Key::of(&**change.object()));
        }
    });
    let (emptied, known) = (queue.clone(), namespaces.clone());
    feed.on_news(move |_, news| {
        if let News::Deleted(meta) = news {
            let key = Key::new("", meta.namespace.as_deref().unwrap_or_default());
            if known.get(&key).is_some_and(|namespace| !is_active(&namespace)) {
                emptied.add(key);
            }
        }
    });
    let controller = Arc::new(Controller { client: context.client, namespaces });
    let tasks = context.tasks.clone();
    context.tasks.spawn(async move {
        controller.namespaces.synced().await;
        runner::run("namespace-controller", controller, &queue, WORKERS, &tasks);
    });
}

/// What is left of one kind in a namespace.
struct Rest {
    resource: String,
    /// Objects that are still there.
    objects: usize,
    /// Finalizers that hold them.
    finalizers: Vec<String>,
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let Some(namespace) = self.namespaces.get(key) else { return Ok(None) };
        let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
        if is_active(&namespace) || !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(None);
        }
        let resources = discover(&self.client).await?.into_iter().filter(|kind| kind.namespaced);
        let (pods, others): (Vec<_>, Vec<_>) = resources.partition(is_pods);
        let mut rest = self.empty_all(&key.name, &pods).await?;
        if rest.is_empty() {
            rest = self.empty_all(&key.name, &others).await?;
        }
        if rest.is_empty() {
            self.finalize(&namespace).await?;
        } else {
            self.report(&namespace, &rest).await?;
        }
        Ok(None)
    }
}

fn is_pods(resource: &Resource) -> bool {
    resource.api.group.is_empty() && resource.api.plural == "pods"
}

impl Controller {
    /// Deletes what there is of these kinds, and says what is left.
    async fn empty_all(&self, namespace: &str, resources: &[Resource]) -> Result<Vec<Rest>, Error> {
        let rest = try_join_all(resources.iter().map(|resource| self.empty(namespace, resource))).await?;
        Ok(rest.into_iter().flatten().collect())
    }

    /// Deletes what there is of one kind, and says what is left.
    async fn empty(&self, namespace: &str, resource: &Resource) -> Result<Option<Rest>, Error> {
        let api = resource.api(&self.client, namespace);
        let what = || format!("emptying {namespace} of {}", resource.api.plural);
        let list = |api: Api<DynamicObject>| async move { api.list_metadata(&ListParams::default()).await };
        let there = list(api.clone()).await.map_err(Error::api(what()))?;
        if there.items.is_empty() {
            return Ok(None);
        }
        if there.items.iter().any(|object| object.metadata.deletion_timestamp.is_none()) {
            api.delete_collection(&DeleteParams::background(), &ListParams::default())
                .await
                .map_err(Error::api(what()))?;
        }
        let left = list(api).await.map_err(Error::api(what()))?.items;
        if left.is_empty() {
            return Ok(None);
        }
        let finalizers = left.iter().flat_map(|object| object.finalizers().to_vec()).collect();
        let group = if resource.api.group.is_empty() { String::new() } else { format!(".{}", resource.api.group) };
        Ok(Some(Rest { resource: format!("{}{group}", resource.api.plural), objects: left.len(), finalizers }))
    }

    async fn finalize(&self, namespace: &Namespace) -> Result<(), Error> {
        let name = namespace.name_any();
        let mut emptied = namespace.clone();
        let spec = emptied.spec.get_or_insert_with(NamespaceSpec::default);
        spec.finalizers.get_or_insert_default().retain(|finalizer| finalizer != FINALIZER);
        let body = serde_json::to_vec(&emptied).unwrap_or_default();
        let request = Request::new("/api/v1/namespaces")
            .replace_subresource("finalize", &name, &PostParams::default(), body)
            .map_err(|e| Error::Api { what: format!("finalizing {name}"), source: kube::Error::BuildRequest(e) })?;
        let done = self.client.request::<Namespace>(request).await;
        allow_missing(done).map_err(Error::api(format!("finalizing {name}"))).map(drop)
    }

    async fn report(&self, namespace: &Namespace, rest: &[Rest]) -> Result<(), Error> {
        let conditions = conditions(namespace, rest, sampan_clock::now());
        if namespace.status.as_ref().and_then(|status| status.conditions.as_ref()) == Some(&conditions) {
            return Ok(());
        }
        let mut reported = namespace.clone();
        reported.status.get_or_insert_with(NamespaceStatus::default).conditions = Some(conditions);
        let api = Api::<Namespace>::all(self.client.clone());
        let written = api.replace_status(&namespace.name_any(), &PostParams::default(), &reported).await;
        allow_missing(written).map_err(Error::api("reporting what is left")).map(drop)
    }
}

/// The conditions that say why a namespace is still there, in upstream's words.
fn conditions(namespace: &Namespace, rest: &[Rest], now: Timestamp) -> Vec<NamespaceCondition> {
    let left: Vec<String> =
        rest.iter().map(|rest| format!("{} has {} resource instances", rest.resource, rest.objects)).collect();
    let mut held: Vec<String> = rest.iter().flat_map(|rest| rest.finalizers.clone()).collect();
    held.sort();
    let mut counts: Vec<(String, usize)> = Vec::new();
    for finalizer in held {
        match counts.last_mut() {
            Some((last, count)) if *last == finalizer => *count += 1,
            _ => counts.push((finalizer, 1)),
        }
    }
    let held: Vec<String> =
        counts.into_iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    vec![
        condition(
            namespace,
            ("NamespaceContentRemaining", !left.is_empty()),
            ("SomeResourcesRemain", format!("Some resources are remaining: {}", left.join(", "))),
            ("ContentRemoved", "All content successfully removed"),
            now,
        ),
        condition(
            namespace,
            ("NamespaceFinalizersRemaining", !held.is_empty()),
            (
                "SomeFinalizersRemain",
                format!("Some content in the namespace has finalizers remaining: {}", held.join(", ")),
            ),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            now,
        ),
    ]
}

fn condition(
    namespace: &Namespace,
    (type_, holds): (&str, bool),
    (yes_reason, yes): (&str, String),
    (no_reason, no): (&str, &str),
    now: Timestamp,
) -> NamespaceCondition {
    let (status, reason, message) = if holds { ("True", yes_reason, yes) } else { ("False", no_reason, no.to_owned()) };
    let before = namespace.status.as_ref().and_then(|status| status.conditions.as_ref());
    let before = before.into_iter().flatten().find(|c| c.type_ == type_ && c.status == status);
    NamespaceCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: before.map_or(Some(Time(now)), |before| before.last_transition_time.clone()),
    }
}
