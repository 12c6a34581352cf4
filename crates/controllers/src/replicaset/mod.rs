//! ReplicaSet and ReplicationController: as many Pods of one template as asked for.
//!
//! [`keeper`] says what differs between the two; both are called a set here.
//! [`plan`] decides; this file feeds it and carries its plan out. Since the Pods come from a cache that lags behind our
//! own writes, a set is not looked at again before the cache has seen what was created and deleted
//! ([`expectations`]): otherwise every Pod would be made twice.

mod expectations;
mod keeper;
mod plan;
mod rank;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use sampan_client::{Change, EventRecorder, Informer, Key, WorkQueue};
use serde_json::json;

use crate::error::{allow_missing, words};
use crate::owners::{self, Claim};
use crate::runner::{self, Reconcile};
use crate::{Context, Error};
use expectations::Expectations;
use keeper::Keeper;
use plan::{Plan, Seen};

/// Sets worked on at once.
const WORKERS: usize = 8;

struct Controller<K: Keeper> {
    client: Client,
    events: EventRecorder,
    sets: Informer<K>,
    pods: Informer<Pod>,
    expectations: Expectations,
}

/// Starts the controller of ReplicaSets.
pub(crate) fn start(context: Context) {
    start_of_kind::<ReplicaSet>(context);
}

/// Starts the controller of ReplicationControllers.
pub(crate) fn start_former(context: Context) {
    start_of_kind::<ReplicationController>(context);
}

fn start_of_kind<K: Keeper>(context: Context) {
    let queue = WorkQueue::new(&context.tasks);
    let controller = Arc::new(Controller {
        sets: context.informers.all::<K>(),
        pods: context.informers.all(),
        client: context.client,
        events: context.events,
        expectations: Expectations::default(),
    });
    watch(&controller, &queue);
    let tasks = context.tasks.clone();
    context.tasks.spawn(async move {
        controller.sets.synced().await;
        controller.pods.synced().await;
        runner::run(K::CONTROLLER, controller, &queue, WORKERS, &tasks);
    });
}

fn watch<K: Keeper>(controller: &Arc<Controller<K>>, queue: &WorkQueue<Key>) {
    let sets = queue.clone();
    controller.sets.on_change(move |change| sets.add(Key::of(&**change.object())));
    let (pods, seen) = (queue.clone(), Arc::clone(controller));
    controller.pods.on_change(move |change| {
        let pod = change.object();
        if let Some(set) = owners::controller_key(&pod.metadata, &K::kind(&())) {
            match change {
                Change::Applied { old: None, new } => seen.expectations.created(&set, &new.name_any()),
                Change::Applied { new, .. } if new.metadata.deletion_timestamp.is_some() => {
                    seen.expectations.deleted(&set, &new.name_any());
                }
                Change::Applied { .. } => {}
                Change::Deleted(last) => seen.expectations.deleted(&set, &last.name_any()),
            }
            pods.add(set);
        } else if owners::controller(&pod.metadata).is_none() {
            seen.concerned(pod).into_iter().for_each(|set| pods.add(set));
        }
        // A Pod that was released changes its former set too.
        if let Change::Applied { old: Some(old), .. } = change
            && let Some(set) = owners::controller_key(&old.metadata, &K::kind(&()))
        {
            pods.add(set);
        }
    });
}

#[async_trait]
impl<K: Keeper> Reconcile for Controller<K> {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let Some(keeper) = self.sets.get(key) else {
            self.expectations.forget(key);
            return Ok(None);
        };
        let set = keeper.set();
        let pods = self.claim(&keeper, &set).await?;
        let seen = Seen { set: &set, pods: &pods, settled: self.expectations.settled(key), now: sampan_clock::now() };
        let plan = plan::plan(&seen);
        let failure = self.carry_out(key, &keeper, &set, &plan).await;
        let known = failure.as_ref().map(ToString::to_string);
        let status = K::kept(plan::with_failure(&set, &plan.status, known, sampan_clock::now()));
        if set.status.as_ref() != Some(&status) {
            self.write_status(&keeper, status).await?;
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(plan.wake),
        }
    }
}

impl<K: Keeper> Controller<K> {
    /// The sets without which an orphan might want to be.
    fn concerned(&self, pod: &Pod) -> Vec<Key> {
        let matching = |keeper: &Arc<K>| {
            keeper.namespace() == pod.metadata.namespace
                && owners::matches(&keeper.set().spec.selector, pod.metadata.labels.as_ref())
        };
        self.sets.list().iter().filter(|keeper| matching(keeper)).map(|keeper| Key::of(&**keeper)).collect()
    }

    /// The Pods of a set, after taking what matches and letting go what does not.
    async fn claim(&self, keeper: &K, set: &ReplicaSet) -> Result<Vec<Arc<Pod>>, Error> {
        let spec = &set.spec;
        let uid = set.uid().unwrap_or_default();
        let deleting = set.metadata.deletion_timestamp.is_some();
        let mut mine = Vec::new();
        for pod in self.pods.list() {
            if pod.metadata.namespace != set.metadata.namespace {
                continue;
            }
            match owners::claim(&pod.metadata, &uid, deleting, &spec.selector) {
                Claim::Mine => mine.push(pod),
                Claim::Adopt if is_active(&pod) => {
                    if self.adopt(keeper, &pod).await? {
                        mine.push(pod);
                    }
                }
                Claim::Release => self.release(keeper, &pod).await?,
                Claim::Adopt | Claim::Foreign => {}
            }
        }
        Ok(mine)
    }

    async fn adopt(&self, keeper: &K, pod: &Pod) -> Result<bool, Error> {
        let patch = json!({"metadata": {"uid": pod.uid(), "ownerReferences": [owners::reference(keeper)]}});
        let what = || format!("adopting Pod {}", pod.name_any());
        let pods = self.pods_of(keeper);
        let adopted = pods.patch(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&patch)).await;
        Ok(allow_missing(adopted).map_err(Error::api(what()))?.is_some())
    }

    async fn release(&self, keeper: &K, pod: &Pod) -> Result<(), Error> {
        let patch = json!({"metadata": {"uid": pod.uid(),
            "ownerReferences": [{"$patch": "delete", "uid": keeper.uid()}]}});
        let released =
            self.pods_of(keeper).patch(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&patch)).await;
        allow_missing(released).map_err(Error::api(format!("releasing Pod {}", pod.name_any()))).map(drop)
    }

    fn pods_of(&self, keeper: &K) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &keeper.namespace().unwrap_or_default())
    }

    /// Creates or deletes what the plan says. Returns the first failure.
    async fn carry_out(&self, key: &Key, keeper: &K, set: &ReplicaSet, plan: &Plan) -> Option<Error> {
        if plan.create > 0 {
            let pod = plan::pod(set, owners::reference(keeper));
            return self.create(key, keeper, &pod, plan.create).await.err();
        }
        let deletions = plan.delete.iter().map(|pod| self.delete(key, keeper, pod));
        join_all(deletions).await.into_iter().find_map(Result::err)
    }

    /// Creates Pods in batches of 1, 2, 4, ...: a template that is refused is refused once, not hundreds of times.
    async fn create(&self, key: &Key, keeper: &K, pod: &Pod, count: usize) -> Result<(), Error> {
        let mut left = count;
        let mut batch = 1;
        while left > 0 {
            let size = batch.min(left);
            let outcomes = join_all((0..size).map(|_| self.create_one(key, keeper, pod))).await;
            outcomes.into_iter().collect::<Result<Vec<()>, _>>()?;
            left -= size;
            batch *= 2;
        }
        Ok(())
    }

    async fn create_one(&self, key: &Key, keeper: &K, pod: &Pod) -> Result<(), Error> {
        match self.pods_of(keeper).create(&PostParams::default(), pod).await {
            Ok(pod) => {
                let name = pod.name_any();
                if self.pods.get(&Key::new(&key.namespace, &name)).is_none() {
                    self.expectations.expect_created(key, &name);
                    // The cache may have seen it between the two lines above.
                    if self.pods.get(&Key::new(&key.namespace, &name)).is_some() {
                        self.expectations.created(key, &name);
                    }
                }
                self.events.normal(&keeper.object_ref(&()), "SuccessfulCreate", format!("Created pod: {name}"));
                Ok(())
            }
            Err(source) => {
                let text = format!("Error creating: {}", words(&source));
                self.events.warning(&keeper.object_ref(&()), "FailedCreate", text);
                Err(Error::Api { what: "creating a Pod".to_owned(), source })
            }
        }
    }

    async fn delete(&self, key: &Key, keeper: &K, pod: &Pod) -> Result<(), Error> {
        let name = pod.name_any();
        self.expectations.expect_deleted(key, &name);
        let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        match allow_missing(self.pods_of(keeper).delete(&name, &params).await) {
            Ok(Some(_)) => {
                self.events.normal(&keeper.object_ref(&()), "SuccessfulDelete", format!("Deleted pod: {name}"));
                Ok(())
            }
            Ok(None) => {
                self.expectations.deleted(key, &name);
                Ok(())
            }
            Err(source) => {
                self.expectations.deleted(key, &name);
                self.events.warning(
                    &keeper.object_ref(&()),
                    "FailedDelete",
                    format!("Error deleting: {}", words(&source)),
                );
                Err(Error::Api { what: format!("deleting Pod {name}"), source })
            }
        }
    }

    async fn write_status(&self, keeper: &K, status: ReplicaSetStatus) -> Result<(), Error> {
        let api = Api::<K>::namespaced(self.client.clone(), &keeper.namespace().unwrap_or_default());
        let written = api.replace_status(&keeper.name_any(), &PostParams::default(), &keeper.with_status(status)).await;
        allow_missing(written).map_err(Error::api("writing the status")).map(drop)
    }
}

/// Whether a Pod counts: not ended and not being deleted.
fn is_active(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    phase != "Succeeded" && phase != "Failed" && pod.metadata.deletion_timestamp.is_none()
}
