//! Every namespace has a ServiceAccount `default`, for the Pods that name none.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use sampan_client::{Change, Informer, Key, WorkQueue};

use crate::namespaces::is_active;
use crate::runner::{self, Reconcile};
use crate::{Context, Error};

/// The account that Pods get which name none.
const DEFAULT: &str = "default";

struct Controller {
    client: Client,
    namespaces: Informer<Namespace>,
    accounts: Informer<ServiceAccount>,
}

/// Starts the controller.
pub(crate) fn start(context: Context) {
    let queue = WorkQueue::new(&context.tasks);
    let (namespaces, accounts) = (context.informers.all::<Namespace>(), context.informers.all::<ServiceAccount>());
    let fresh = queue.clone();
    namespaces.on_change(move |change| fresh.add(Key::of(&**change.object())));
    let lost = queue.clone();
    accounts.on_change(move |change| {
        if let Change::Deleted(account) = change {
            lost.add(Key::new("", account.metadata.namespace.as_deref().unwrap_or_default()));
        }
    });
    let controller = Arc::new(Controller { client: context.client, namespaces, accounts });
    let tasks = context.tasks.clone();
    context.tasks.spawn(async move {
        controller.namespaces.synced().await;
        controller.accounts.synced().await;
        runner::run("service-account-controller", controller, &queue, 1, &tasks);
    });
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let active = self.namespaces.get(key).is_some_and(|namespace| is_active(&namespace));
        if !active || self.accounts.get(&Key::new(&key.name, DEFAULT)).is_some() {
            return Ok(None);
        }
        let metadata = ObjectMeta { name: Some(DEFAULT.to_owned()), ..ObjectMeta::default() };
        let account = ServiceAccount { metadata, ..ServiceAccount::default() };
        let api = Api::<ServiceAccount>::namespaced(self.client.clone(), &key.name);
        match api.create(&PostParams::default(), &account).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            other => other.map(|_| None).map_err(Error::api("creating the ServiceAccount default")),
        }
    }
}
