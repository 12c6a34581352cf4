//! Deployment: moves Pods from old ReplicaSets to the one of the current template, a few at a time.
//!
//! [`plan`] decides: one action at a time on the ReplicaSets, and the status. This file feeds it and carries its plan
//! out; each write names the version it was decided on, so that a stale cache leads to a conflict and never to a wrong
//! write. Rolling back is the client's doing: it writes an old template, whose ReplicaSet is then found again.

mod conditions;
mod history;
mod plan;
mod rollout;
mod template;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use sampan_client::{EventRecorder, Informer, Key, WorkQueue};
use serde_json::json;

use crate::error::allow_missing;
use crate::owners::{self, Claim};
use crate::runner::{self, Reconcile};
use crate::{Context, Error};
use plan::{Action, Plan, Seen};

/// Deployments worked on at once.
const WORKERS: usize = 4;

struct Controller {
    client: Client,
    events: EventRecorder,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
}

/// Starts the controller.
pub(crate) fn start(context: Context) {
    let queue = WorkQueue::new(&context.tasks);
    let controller = Arc::new(Controller {
        deployments: context.informers.all(),
        sets: context.informers.all(),
        pods: context.informers.all(),
        client: context.client,
        events: context.events,
    });
    watch(&controller, &queue);
    let tasks = context.tasks.clone();
    context.tasks.spawn(async move {
        controller.deployments.synced().await;
        controller.sets.synced().await;
        controller.pods.synced().await;
        runner::run("deployment-controller", controller, &queue, WORKERS, &tasks);
    });
}

fn watch(controller: &Arc<Controller>, queue: &WorkQueue<Key>) {
    let deployments = queue.clone();
    controller.deployments.on_change(move |change| deployments.add(Key::of(&**change.object())));
    let (sets, seen) = (queue.clone(), Arc::clone(controller));
    controller.sets.on_change(move |change| {
        let set = change.object();
        match owners::controller_key(&set.metadata, "Deployment") {
            Some(key) => sets.add(key),
            None if owners::controller(&set.metadata).is_none() => {
                seen.concerned(set).into_iter().for_each(|key| sets.add(key));
            }
            None => {}
        }
    });
    // Recreate waits for the last old Pod to go.
    let (pods, seen) = (queue.clone(), Arc::clone(controller));
    controller.pods.on_change(move |change| {
        if let sampan_client::Change::Deleted(pod) = change
            && let Some(set) = owners::controller_key(&pod.metadata, "ReplicaSet").and_then(|key| seen.sets.get(&key))
            && let Some(key) = owners::controller_key(&set.metadata, "Deployment")
        {
            pods.add(key);
        }
    });
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let Some(deployment) = self.deployments.get(key) else { return Ok(None) };
        let sets = self.claim(&deployment).await?;
        let running = self.running_pods(&sets);
        let seen = Seen { deployment: &deployment, sets: &sets, pods: &running, now: sampan_clock::now() };
        let plan = plan::plan(&seen);
        for action in &plan.actions {
            self.carry_out(&deployment, action).await?;
        }
        self.write_status(&deployment, &plan).await?;
        Ok(plan.wake)
    }
}

impl Controller {
    /// The Deployments that an orphaned set might belong to.
    fn concerned(&self, set: &ReplicaSet) -> Vec<Key> {
        let matching = |deployment: &Arc<Deployment>| {
            let selector = &deployment.spec.selector;
            deployment.metadata.namespace == set.metadata.namespace
                && owners::matches(selector, set.metadata.labels.as_ref())
        };
        self.deployments.list().iter().filter(|deployment| matching(deployment)).map(|d| Key::of(&**d)).collect()
    }

    /// The Deployment's sets, after taking what matches and letting go what does not.
    async fn claim(&self, deployment: &Deployment) -> Result<Vec<Arc<ReplicaSet>>, Error> {
        let spec = &deployment.spec;
        let uid = deployment.uid().unwrap_or_default();
        let deleting = deployment.metadata.deletion_timestamp.is_some();
        let mut mine = Vec::new();
        for set in self.sets.list() {
            if set.metadata.namespace != deployment.metadata.namespace {
                continue;
            }
            let owner = match owners::claim(&set.metadata, &uid, deleting, &spec.selector) {
                Claim::Mine => {
                    mine.push(set);
                    continue;
                }
                Claim::Adopt => json!(owners::reference(deployment)),
                Claim::Release => json!({"$patch": "delete", "uid": uid}),
                Claim::Foreign => continue,
            };
            let patch = json!({"metadata": {"uid": set.uid(), "ownerReferences": [owner]}});
            let name = set.name_any();
            let changed =
                self.sets_of(deployment).patch(&name, &PatchParams::default(), &Patch::Strategic(&patch)).await;
            allow_missing(changed).map_err(Error::api(format!("claiming ReplicaSet {name}")))?;
        }
        Ok(mine)
    }

    /// The sets' Pods that have not ended.
    fn running_pods(&self, sets: &[Arc<ReplicaSet>]) -> Vec<Arc<Pod>> {
        let uids: Vec<String> = sets.iter().filter_map(|set| set.uid()).collect();
        let ours = |pod: &Pod| uids.iter().any(|uid| owners::is_controlled_by(&pod.metadata, uid));
        let ended = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
            phase == "Succeeded" || phase == "Failed"
        };
        self.pods.list().into_iter().filter(|pod| ours(pod) && !ended(pod)).collect()
    }

    fn sets_of(&self, deployment: &Deployment) -> Api<ReplicaSet> {
        Api::namespaced(self.client.clone(), &deployment.namespace().unwrap_or_default())
    }

    async fn carry_out(&self, deployment: &Deployment, action: &Action) -> Result<(), Error> {
        match action {
            Action::Create(set) => self.create(deployment, set).await,
            Action::Scale { set, to, annotations } => self.scale(deployment, set, *to, annotations).await,
            Action::Annotate { set, annotations } => {
                let patch =
                    json!({"metadata": {"annotations": annotations, "resourceVersion": set.resource_version()}});
                self.patch_set(deployment, set, &patch).await
            }
            Action::AnnotateDeployment(annotations) => {
                let api =
                    Api::<Deployment>::namespaced(self.client.clone(), &deployment.namespace().unwrap_or_default());
                let mut updated = deployment.clone();
                updated.annotations_mut().extend(annotations.clone());
                let written = api.replace(&deployment.name_any(), &PostParams::default(), &updated).await;
                allow_missing(written).map_err(Error::api("writing the revision")).map(drop)
            }
            Action::Delete(set) => {
                let name = set.name_any();
                let deleted = self.sets_of(deployment).delete(&name, &DeleteParams::background()).await;
                allow_missing(deleted).map_err(Error::api(format!("deleting ReplicaSet {name}"))).map(drop)
            }
        }
    }

    async fn create(&self, deployment: &Deployment, set: &ReplicaSet) -> Result<(), Error> {
        let name = set.name_any();
        match self.sets_of(deployment).create(&PostParams::default(), set).await {
            Ok(_) => {
                let replicas = set.spec.replicas.unwrap_or_default();
                let text = format!("Scaled up replica set {name} from 0 to {replicas}");
                self.events.normal(&deployment.object_ref(&()), "ScalingReplicaSet", text);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
                self.resolve_name(deployment, set).await
            }
            Err(source) => Err(Error::Api { what: format!("creating ReplicaSet {name}"), source }),
        }
    }

    /// The name for our template is taken: by our own set, which the cache has not seen yet, or by another template whose
    /// hash collides. Then the next hash is tried.
    async fn resolve_name(&self, deployment: &Deployment, set: &ReplicaSet) -> Result<(), Error> {
        let name = set.name_any();
        let taken = self.sets_of(deployment).get_opt(&name).await.map_err(Error::api("reading a ReplicaSet"))?;
        let same = taken.is_some_and(|taken| {
            owners::is_controlled_by(&taken.metadata, &deployment.uid().unwrap_or_default())
                && template::equal(taken.spec.template.as_ref(), deployment)
        });
        if same {
            return Ok(());
        }
        let mut updated = deployment.clone();
        let status = updated.status.get_or_insert_default();
        status.collision_count = Some(status.collision_count.unwrap_or_default() + 1);
        self.replace_status(&updated).await
    }

    async fn scale(
        &self,
        deployment: &Deployment,
        set: &ReplicaSet,
        to: i32,
        annotations: &plan::Annotations,
    ) -> Result<(), Error> {
        let from = plan::replicas(set);
        let patch = json!({"metadata": {"annotations": annotations, "resourceVersion": set.resource_version()},
            "spec": {"replicas": to}});
        self.patch_set(deployment, set, &patch).await?;
        if from != to {
            let direction = if to > from { "up" } else { "down" };
            let text = format!("Scaled {direction} replica set {} from {from} to {to}", set.name_any());
            self.events.normal(&deployment.object_ref(&()), "ScalingReplicaSet", text);
        }
        Ok(())
    }

    async fn patch_set(
        &self,
        deployment: &Deployment,
        set: &ReplicaSet,
        patch: &serde_json::Value,
    ) -> Result<(), Error> {
        let name = set.name_any();
        let patched = self.sets_of(deployment).patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        allow_missing(patched).map_err(Error::api(format!("scaling ReplicaSet {name}"))).map(drop)
    }

    async fn write_status(&self, deployment: &Deployment, plan: &Plan) -> Result<(), Error> {
        if deployment.status.as_ref() == Some(&plan.status) {
            return Ok(());
        }
        let updated = Deployment { status: Some(plan.status.clone()), ..deployment.clone() };
        self.replace_status(&updated).await
    }

    async fn replace_status(&self, updated: &Deployment) -> Result<(), Error> {
        let api = Api::<Deployment>::namespaced(self.client.clone(), &updated.namespace().unwrap_or_default());
        let written = api.replace_status(&updated.name_any(), &PostParams::default(), updated).await;
        allow_missing(written).map_err(Error::api("writing the status")).map(drop)
    }
}
