//! The slices that one controller keeps, of all there are, and what becomes of them.

use std::sync::Arc;

use futures::future::try_join_all;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use sampan_client::{Informer, Key, WorkQueue};

use crate::error::allow_missing;
use crate::{Context, Error};

/// The label that names the Service of a slice.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label that says whose slice it is.
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// The slices of one controller.
pub(super) struct Kept {
    manager: &'static str,
    slices: Informer<EndpointSlice>,
}

impl Kept {
    /// Those that `manager` has labelled as its own.
    pub(super) fn by(manager: &'static str, context: &Context) -> Self {
        Self { manager, slices: context.informers.all() }
    }

    pub(super) async fn synced(&self) {
        self.slices.synced().await;
    }

    /// Puts the Service of every slice that changes in `queue`.
    pub(super) fn watch(&self, queue: &WorkQueue<Key>) {
        let (queue, manager) = (queue.clone(), self.manager);
        self.slices.on_change(move |change| {
            let slice = change.object();
            if let Some(service) = slice.labels().get(SERVICE_NAME).filter(|_| is_of(manager, slice)) {
                queue.add(Key::new(&slice.namespace().unwrap_or_default(), service));
            }
        });
    }

    /// Those of a Service.
    pub(super) fn of(&self, service: &Key) -> Vec<Arc<EndpointSlice>> {
        let of_service = |slice: &Arc<EndpointSlice>| {
            slice.metadata.namespace.as_deref() == Some(&service.namespace)
                && slice.labels().get(SERVICE_NAME) == Some(&service.name)
                && is_of(self.manager, slice)
        };
        self.slices.list().into_iter().filter(of_service).collect()
    }
}

fn is_of(manager: &str, slice: &EndpointSlice) -> bool {
    slice.labels().get(MANAGED_BY).is_some_and(|by| by == manager)
}

/// What is to be done with slices.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) create: Vec<EndpointSlice>,
    pub(super) update: Vec<EndpointSlice>,
    pub(super) delete: Vec<String>,
}

impl Plan {
    /// Does it.
    pub(super) async fn carry_out(&self, api: &Api<EndpointSlice>) -> Result<(), Error> {
        try_join_all(self.create.iter().map(|slice| create(api, slice))).await?;
        try_join_all(self.update.iter().map(|slice| update(api, slice))).await?;
        try_join_all(self.delete.iter().map(|name| delete(api, name))).await?;
        Ok(())
    }
}

async fn create(api: &Api<EndpointSlice>, slice: &EndpointSlice) -> Result<(), Error> {
    match api.create(&PostParams::default(), slice).await {
        Ok(_) => Ok(()),
        // Its name follows from what it is for: the cache has just not seen it yet, and will bring us back.
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        Err(source) => Err(Error::Api { what: "creating an EndpointSlice".to_owned(), source }),
    }
}

async fn update(api: &Api<EndpointSlice>, slice: &EndpointSlice) -> Result<(), Error> {
    let written = api.replace(&slice.name_any(), &PostParams::default(), slice).await;
    allow_missing(written).map_err(Error::api("updating an EndpointSlice")).map(drop)
}

async fn delete(api: &Api<EndpointSlice>, name: &str) -> Result<(), Error> {
    let deleted = api.delete(name, &DeleteParams::default()).await;
    allow_missing(deleted).map_err(Error::api("deleting an EndpointSlice")).map(drop)
}
