//! Every namespace has a ConfigMap `kube-root-ca.crt` with the cluster's certificate authority, for its Pods.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::runtime::watcher;
use kube::{Api, Client};
use sampan_client::{Informer, Key, WorkQueue};

use crate::namespaces::is_active;
use crate::runner::{self, Reconcile};
use crate::{Context, Error};

/// Name of the ConfigMap.
const NAME: &str = "kube-root-ca.crt";
/// Its one key.
const FILE: &str = "ca.crt";

struct Controller {
    client: Client,
    namespaces: Informer<Namespace>,
    published: Informer<ConfigMap>,
    wanted: BTreeMap<String, String>,
}

/// Starts the controller. `shared` reads; only the ConfigMaps of that one name are watched.
pub(crate) fn start(context: Context, shared: Client, ca_pem: &str) {
    let queue = WorkQueue::new(&context.tasks);
    let config = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let published = Informer::<ConfigMap>::start(Api::all(shared), config, &context.tasks);
    let namespaces = context.informers.all::<Namespace>();
    let fresh = queue.clone();
    namespaces.on_change(move |change| fresh.add(Key::of(&**change.object())));
    let changed = queue.clone();
    published.on_change(move |change| {
        changed.add(Key::new("", change.object().metadata.namespace.as_deref().unwrap_or_default()));
    });
    let wanted = BTreeMap::from([(FILE.to_owned(), ca_pem.to_owned())]);
    let controller = Arc::new(Controller { client: context.client, namespaces, published, wanted });
    let tasks = context.tasks.clone();
    context.tasks.spawn(async move {
        controller.namespaces.synced().await;
        controller.published.synced().await;
        runner::run("root-ca-cert-publisher", controller, &queue, 1, &tasks);
    });
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let active = self.namespaces.get(key).is_some_and(|namespace| is_active(&namespace));
        let existing = self.published.get(&Key::new(&key.name, NAME));
        if !active || existing.as_ref().is_some_and(|map| map.data.as_ref() == Some(&self.wanted)) {
            return Ok(None);
        }
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &key.name);
        let mut map = existing.map(|map| (*map).clone()).unwrap_or_default();
        map.data = Some(self.wanted.clone());
        map.binary_data = None;
        if map.metadata.name.is_some() {
            let written = api.replace(NAME, &PostParams::default(), &map).await;
            return written.map(|_| None).map_err(Error::api("restoring kube-root-ca.crt"));
        }
        map.metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
        match api.create(&PostParams::default(), &map).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            other => other.map(|_| None).map_err(Error::api("publishing kube-root-ca.crt")),
        }
    }
}
