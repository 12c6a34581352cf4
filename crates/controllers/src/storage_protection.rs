//! Volumes, claims and attribute classes that are to go wait until nothing uses them; then their finalizer is taken away.
//!
//! A claim is in use by a Pod that names it and has not ended, a volume by the claim it is bound to, an attribute class by
//! claims and volumes that have or want it. Admission adds the finalizers.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kube::api::PostParams;
use kube::{Api, Client, Resource, ResourceExt};
use sampan_client::{Informer, Key, WorkQueue};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::allow_missing;
use crate::runner::{self, Reconcile};
use crate::{Context, Error};

const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";
const CLASS_FINALIZER: &str = "kubernetes.io/vac-protection";

/// Protects claims.
pub(crate) fn start_claims(context: Context) {
    let claims = context.informers.all::<PersistentVolumeClaim>();
    let pods = context.informers.all::<Pod>();
    let queue = WorkQueue::new(&context.tasks);
    let changed = queue.clone();
    claims.on_change(move |change| enqueue(&changed, &**change.object(), CLAIM_FINALIZER));
    let freed = queue.clone();
    pods.on_change(move |change| {
        let namespace = change.object().namespace().unwrap_or_default();
        claims_of(change.object()).for_each(|claim| freed.add(Key::new(&namespace, &claim)));
    });
    let in_use = {
        let pods = pods.clone();
        move |claim: &PersistentVolumeClaim| pods.list().iter().any(|pod| uses(pod, claim))
    };
    let client = context.client.clone();
    let api = move |namespace: &str| Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace);
    let protector =
        Protector { finalizer: CLAIM_FINALIZER, objects: claims, in_use: Box::new(in_use), api: Box::new(api) };
    run("pvc-protection-controller", context, protector, queue, async move { pods.synced().await });
}

/// Protects volumes.
pub(crate) fn start_volumes(context: Context) {
    let volumes = context.informers.all::<PersistentVolume>();
    let queue = WorkQueue::new(&context.tasks);
    let changed = queue.clone();
    volumes.on_change(move |change| enqueue(&changed, &**change.object(), VOLUME_FINALIZER));
    let in_use =
        |volume: &PersistentVolume| volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let api = cluster_api(context.client.clone());
    let protector = Protector { finalizer: VOLUME_FINALIZER, objects: volumes, in_use: Box::new(in_use), api };
    run("pv-protection-controller", context, protector, queue, async {});
}

/// Protects attribute classes.
pub(crate) fn start_attribute_classes(context: Context) {
    let classes = context.informers.all::<VolumeAttributesClass>();
    let claims = context.informers.all::<PersistentVolumeClaim>();
    let volumes = context.informers.all::<PersistentVolume>();
    let queue = WorkQueue::new(&context.tasks);
    let changed = queue.clone();
    classes.on_change(move |change| enqueue(&changed, &**change.object(), CLASS_FINALIZER));
    let (freed, known) = (queue.clone(), classes.clone());
    claims.on_change(move |_| enqueue_all(&freed, &known, CLASS_FINALIZER));
    let (freed, known) = (queue.clone(), classes.clone());
    volumes.on_change(move |_| enqueue_all(&freed, &known, CLASS_FINALIZER));
    let in_use = {
        let (claims, volumes) = (claims.clone(), volumes.clone());
        move |class: &VolumeAttributesClass| {
            let name = class.name_any();
            claims.list().iter().any(|claim| wants(claim, &name))
                || volumes.list().iter().any(|volume| has(volume, &name))
        }
    };
    let api = cluster_api(context.client.clone());
    let protector = Protector { finalizer: CLASS_FINALIZER, objects: classes, in_use: Box::new(in_use), api };
    run("volumeattributesclass-protection-controller", context, protector, queue, async move {
        claims.synced().await;
        volumes.synced().await;
    });
}

/// The API of a namespace.
type ApiOf<K> = Box<dyn Fn(&str) -> Api<K> + Send + Sync>;

/// Takes the finalizer from objects that are to go and that nothing uses.
struct Protector<K> {
    finalizer: &'static str,
    objects: Informer<K>,
    in_use: Box<dyn Fn(&K) -> bool + Send + Sync>,
    api: ApiOf<K>,
}

fn cluster_api<K>(client: Client) -> ApiOf<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>,
{
    Box::new(move |_| Api::all(client.clone()))
}

fn run<K: Object>(
    name: &'static str,
    context: Context,
    protector: Protector<K>,
    queue: WorkQueue<Key>,
    others: impl Future<Output = ()> + Send + 'static,
) {
    let (protector, tasks) = (Arc::new(protector), context.tasks.clone());
    context.tasks.spawn(async move {
        others.await;
        protector.objects.synced().await;
        runner::run(name, protector, &queue, 1, &tasks);
    });
}

/// What an object must be to be protected.
trait Object: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug + Send + Sync + 'static {}
impl<K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug + Send + Sync + 'static> Object
    for K
{
}

fn is_leaving<K: Resource>(object: &K, finalizer: &str) -> bool {
    object.meta().deletion_timestamp.is_some() && object.finalizers().iter().any(|own| own == finalizer)
}

fn enqueue<K: Resource<DynamicType = ()>>(queue: &WorkQueue<Key>, object: &K, finalizer: &str) {
    if is_leaving(object, finalizer) {
        queue.add(Key::of(object));
    }
}

fn enqueue_all<K: Object>(queue: &WorkQueue<Key>, known: &Informer<K>, finalizer: &str) {
    known.list().iter().for_each(|object| enqueue(queue, &**object, finalizer));
}

#[async_trait]
impl<K: Object> Reconcile for Protector<K> {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let Some(object) = self.objects.get(key) else { return Ok(None) };
        if !is_leaving(&*object, self.finalizer) || (self.in_use)(&object) {
            return Ok(None);
        }
        let mut freed = (*object).clone();
        freed.finalizers_mut().retain(|own| own != self.finalizer);
        let written = (self.api)(&key.namespace).replace(&key.name, &PostParams::default(), &freed).await;
        allow_missing(written).map_err(Error::api(format!("freeing {key}"))).map(|_| None)
    }
}

/// Names of the claims that a Pod uses, the ones made for it included.
fn claims_of(pod: &Pod) -> impl Iterator<Item = String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let names = volumes.filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pod.name_any(), volume.name)),
        (None, None) => None,
    });
    names.collect::<Vec<_>>().into_iter()
}

fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let has_ended = matches!(phase, Some("Succeeded" | "Failed"));
    let placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let ended_or_unplaced = has_ended || !placed;
    !ended_or_unplaced && pod.namespace() == claim.namespace() && claims_of(pod).any(|name| name == claim.name_any())
}

fn wants(claim: &PersistentVolumeClaim, class: &str) -> bool {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let status = claim.status.as_ref();
    let current = status.and_then(|status| status.current_volume_attributes_class_name.as_deref());
    let target = status.and_then(|status| status.modify_volume_status.as_ref());
    let target = target.and_then(|modify| modify.target_volume_attributes_class_name.as_deref());
    [wanted, current, target].contains(&Some(class))
}

fn has(volume: &PersistentVolume, class: &str) -> bool {
    let name = volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    name == Some(class)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
    use serde_json::json;

    use super::uses;

    #[test]
    fn a_claim_is_in_use_by_pods_that_run_or_may_run() {
        let claim: PersistentVolumeClaim =
            serde_json::from_value(json!({"metadata": {"name": "p-data", "namespace": "a"}, "spec": {}})).unwrap();
        let pod = |namespace: &str, phase: &str, volume: serde_json::Value, node: Option<&str>| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": "p", "namespace": namespace}, "status": {"phase": phase},
                "spec": {"nodeName": node, "containers": [], "volumes": [volume]},
            }))
            .unwrap()
        };
        let named = || json!({"name": "v", "persistentVolumeClaim": {"claimName": "p-data"}});
        assert!(uses(&pod("a", "Running", named(), Some("n")), &claim));
        assert!(uses(&pod("a", "Running", json!({"name": "data", "ephemeral": {}}), Some("n")), &claim));
        assert!(!uses(&pod("a", "Succeeded", named(), Some("n")), &claim));
        assert!(!uses(&pod("a", "Pending", named(), None), &claim), "it is on no node yet, and will not come to one");
        assert!(!uses(&pod("b", "Running", named(), Some("n")), &claim));
        assert!(!uses(&pod("a", "Running", json!({"name": "v", "emptyDir": {}}), Some("n")), &claim));
    }
}
