//! The end of a namespace: everything in it is deleted, and then the namespace itself.
//!
//! ```text
//! deletionTimestamp ─> delete all Pods ─> delete all objects of every kind ─> drop the finalizer `kubernetes`
//! ```
//! Each step waits until the last object of the one before is gone: what Pods need (network policies, secrets) is there
//! for as long as they run.
//! Nothing is polled: the deletion of each object brings its namespace back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
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

/// How far the emptying of a namespace has come.
#[derive(Default)]
struct Progress {
    rest: Vec<Rest>,
    /// Why it is not known what kinds there are.
    undiscovered: Option<Error>,
    /// Why objects of some kinds could not be deleted.
    undeleted: Vec<Error>,
}

impl Progress {
    fn is_complete(&self) -> bool {
        self.rest.is_empty() && self.undiscovered.is_none() && self.undeleted.is_empty()
    }
}

/// What is left of one kind in a namespace.
struct Rest {
    /// As `plural.group`.
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
        let progress = self.empty_all(&key.name).await;
        if progress.is_complete() {
            self.finalize(&namespace).await?;
        } else {
            self.report(&namespace, &progress).await?;
        }
        progress.undiscovered.into_iter().chain(progress.undeleted).next().map_or(Ok(None), Err)
    }
}

fn is_pods(resource: &Resource) -> bool {
    resource.api.group.is_empty() && resource.api.plural == "pods"
}

impl Controller {
    /// Deletes what there is of every kind, and says how far that has come.
    async fn empty_all(&self, namespace: &str) -> Progress {
        let mut progress = Progress::default();
        let resources = match discover(&self.client).await {
            Ok(resources) => resources.into_iter().filter(|kind| kind.namespaced),
            Err(error) => {
                progress.undiscovered = Some(error);
                return progress;
            }
        };
        let (pods, others): (Vec<_>, Vec<_>) = resources.partition(is_pods);
        self.empty_some(namespace, &pods, &mut progress).await;
        if progress.is_complete() {
            self.empty_some(namespace, &others, &mut progress).await;
        }
        progress
    }

    /// Deletes what there is of these kinds. One that fails holds back none of the others.
    async fn empty_some(&self, namespace: &str, resources: &[Resource], progress: &mut Progress) {
        for outcome in join_all(resources.iter().map(|resource| self.empty(namespace, resource))).await {
            match outcome {
                Ok(rest) => progress.rest.extend(rest),
                Err(error) => progress.undeleted.push(error),
            }
        }
    }

    /// Deletes what there is of one kind, and says what is left.
    async fn empty(&self, namespace: &str, resource: &Resource) -> Result<Option<Rest>, Error> {
        let api = resource.api(&self.client, namespace);
        let what = || format!("emptying {namespace} of {}", resource.api.plural);
        let list = |api: Api<DynamicObject>| async move { api.list_metadata(&ListParams::default()).await };
        // The kind may have gone since it was discovered.
        let there = allow_missing(list(api.clone()).await).map_err(Error::api(what()))?;
        let Some(there) = there.filter(|there| !there.items.is_empty()) else { return Ok(None) };
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
        let name = format!("{}.{}", resource.api.plural, resource.api.group);
        Ok(Some(Rest { resource: name, objects: left.len(), finalizers }))
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

    async fn report(&self, namespace: &Namespace, progress: &Progress) -> Result<(), Error> {
        let conditions = conditions(namespace, progress, sampan_clock::now());
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
fn conditions(namespace: &Namespace, progress: &Progress, now: Timestamp) -> Vec<NamespaceCondition> {
    let condition = |type_: &str, fault: Option<(&str, String)>, (fine_reason, fine): (&str, &str)| {
        let (status, reason, message) = match fault {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", fine_reason, fine.to_owned()),
        };
        let before = namespace.status.as_ref().and_then(|status| status.conditions.as_ref());
        let before = before.into_iter().flatten().find(|c| c.type_ == type_ && c.status == status);
        NamespaceCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: before.map_or(Some(Time(now)), |before| before.last_transition_time.clone()),
        }
    };
    vec![
        condition(
            "NamespaceDeletionDiscoveryFailure",
            progress.undiscovered.as_ref().map(|error| ("DiscoveryFailed", error.to_string())),
            ("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        condition(
            "NamespaceDeletionContentFailure",
            undeleted(&progress.undeleted).map(|message| ("ContentDeletionFailed", message)),
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        condition(
            "NamespaceContentRemaining",
            remaining(&progress.rest).map(|message| ("SomeResourcesRemain", message)),
            ("ContentRemoved", "All content successfully removed"),
        ),
        condition(
            "NamespaceFinalizersRemaining",
            finalizers_remaining(&progress.rest).map(|message| ("SomeFinalizersRemain", message)),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ]
}

fn undeleted(errors: &[Error]) -> Option<String> {
    let mut words: Vec<String> = errors.iter().map(ToString::to_string).collect();
    words.sort();
    let message = || format!("Failed to delete all resource types, {} remaining: {}", words.len(), words.join(", "));
    (!words.is_empty()).then(message)
}

fn remaining(rest: &[Rest]) -> Option<String> {
    let mut left: Vec<String> =
        rest.iter().map(|rest| format!("{} has {} resource instances", rest.resource, rest.objects)).collect();
    left.sort();
    (!left.is_empty()).then(|| format!("Some resources are remaining: {}", left.join(", ")))
}

fn finalizers_remaining(rest: &[Rest]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finalizer in rest.iter().flat_map(|rest| &rest.finalizers) {
        *counts.entry(finalizer).or_default() += 1;
    }
    let held: Vec<String> =
        counts.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    let message = || format!("Some content in the namespace has finalizers remaining: {}", held.join(", "));
    (!held.is_empty()).then(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The conditions that hold, with their messages.
    #[track_caller]
    fn check(progress: &Progress, want: &[&str]) {
        let all = conditions(&Namespace::default(), progress, Timestamp::UNIX_EPOCH);
        assert_eq!(all.len(), 5, "every condition is there, whether it holds or not");
        let held = all.iter().filter(|condition| condition.status == "True");
        let got: Vec<String> =
            held.map(|c| format!("{}: {}", c.type_, c.message.clone().unwrap_or_default())).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn what_is_left_is_told_by_kind_and_finalizer() {
        let rest = |resource: &str, objects, finalizers: &[&str]| Rest {
            resource: resource.to_owned(),
            objects,
            finalizers: finalizers.iter().map(ToString::to_string).collect(),
        };
        check(&Progress::default(), &[]);
        check(
            &Progress {
                rest: vec![rest("pods.", 2, &["b", "a", "b"]), rest("jobs.batch", 1, &[])],
                ..Progress::default()
            },
            &[
                "NamespaceContentRemaining: Some resources are remaining: jobs.batch has 1 resource instances, pods. has \
                 2 resource instances",
                "NamespaceFinalizersRemaining: Some content in the namespace has finalizers remaining: a in 1 resource \
                 instances, b in 2 resource instances",
            ],
        );
    }
}
