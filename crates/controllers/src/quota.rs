//! ResourceQuotas tell how much of their namespace is used: added up again whenever something goes or changes that they
//! count. Admission adds what comes; this takes off what goes, and corrects what never came.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use sampan_api::amounts::{self, Amounts};
use sampan_api::quota::{self, Resource as Counted};
use sampan_client::{Informer, Key, WorkQueue};
use serde_json::{Value, json};

use crate::error::allow_missing;
use crate::resources::{Feed, Kinds, News};
use crate::runner::{self, Reconcile};
use crate::{Context, Error};

/// Everything is added up again this often while a quota is there, as upstream does, should a charge have stayed
/// without its object.
const RESYNC: Duration = Duration::from_secs(5 * 60);

struct Controller {
    client: Client,
    quotas: Informer<ResourceQuota>,
    kinds: Kinds,
}

/// Starts the controller over what `feed` tells.
pub(crate) fn start(context: Context, feed: &Feed) {
    let queue = WorkQueue::new(&context.tasks);
    let quotas = context.informers.all::<ResourceQuota>();
    let changed = queue.clone();
    quotas.on_change(move |change| {
        let quota = change.object();
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        if hard != quota.status.as_ref().and_then(|status| status.hard.as_ref()) {
            changed.add(Key::of(&**quota));
        }
    });
    let (freed, known) = (queue.clone(), quotas.clone());
    feed.on_news(move |resource, news| {
        // A Service may change its type and a claim its size; of everything else only the end counts.
        let matters = matches!(news, News::Deleted(_))
            || (resource.api.group.is_empty()
                && matches!(resource.api.kind.as_str(), "Service" | "PersistentVolumeClaim"));
        if matters {
            enqueue(&freed, &known, meta_of(news).namespace.as_deref());
        }
    });
    let (ended, known) = (queue.clone(), quotas.clone());
    context.informers.all::<Pod>().on_change(move |change| {
        let phase = change.object().status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            enqueue(&ended, &known, change.object().namespace().as_deref());
        }
    });
    let controller = Arc::new(Controller { client: context.client, quotas, kinds: feed.kinds() });
    let tasks = context.tasks.clone();
    context.tasks.spawn(async move {
        controller.quotas.synced().await;
        runner::run("resourcequota-controller", controller, &queue, 1, &tasks);
    });
}

fn meta_of<'n>(news: &'n News<'_>) -> &'n k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
    match news {
        News::Applied(meta) | News::Deleted(meta) => meta,
    }
}

fn enqueue(queue: &WorkQueue<Key>, quotas: &Informer<ResourceQuota>, namespace: Option<&str>) {
    let inside = quotas.list().into_iter().filter(|quota| quota.namespace().as_deref() == namespace);
    inside.for_each(|quota| queue.add(Key::of(&*quota)));
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        // Of one moment: what is written back must stand on what was counted.
        let Some(seen) = self.quotas.get(key) else { return Ok(None) };
        let mut quota = serde_json::to_value(&*seen).unwrap_or_default();
        let used = self.count(&key.namespace, &quota).await?;
        let status = json!({ "hard": quota["spec"]["hard"].clone(), "used": amounts::write(&used) });
        if quota["status"] != status {
            quota["status"] = status;
            self.write(key, quota).await?;
        }
        Ok(Some(RESYNC))
    }
}

impl Controller {
    /// What is used now of everything that the quota bounds.
    async fn count(&self, namespace: &str, quota: &Value) -> Result<Amounts, Error> {
        let hard = amounts::read(&quota["spec"]["hard"]);
        let mut sum: Amounts = hard.keys().map(|name| (name.clone(), sampan_api::quantity::Quantity::ZERO)).collect();
        for resource in self.kinds.all().into_iter().filter(|resource| resource.namespaced) {
            let counted = Counted { group: &resource.api.group, plural: &resource.api.plural };
            if !hard.keys().any(|name| counted.is_counted_as(name)) {
                continue;
            }
            let listed = resource.api(&self.client, namespace).list(&ListParams::default()).await;
            let objects = listed.map_err(Error::api(format!("counting {}", resource.api.plural)))?.items;
            let objects: Vec<Value> = objects.iter().map(whole).collect();
            amounts::add(&mut sum, &quota::used(quota, counted, objects.iter(), sampan_clock::now()));
        }
        Ok(sum)
    }

    async fn write(&self, key: &Key, quota: Value) -> Result<(), Error> {
        let quota: ResourceQuota = serde_json::from_value(quota)
            .map_err(|error| Error::Invalid { key: key.clone(), why: error.to_string() })?;
        let api = Api::<ResourceQuota>::namespaced(self.client.clone(), &key.namespace);
        let written = api.replace_status(&key.name, &PostParams::default(), &quota).await;
        allow_missing(written).map_err(Error::api("telling what a quota has used")).map(drop)
    }
}

/// The object with its metadata in it, as the rules of quotas read it.
fn whole(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}
