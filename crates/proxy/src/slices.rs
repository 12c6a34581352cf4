//! EndpointSlices by the Service they belong to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use sampan_client::{Change, Key};

/// The label that names a slice's Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// All slices, found by Service.
#[derive(Default)]
pub(crate) struct Slices(HashMap<Key, BTreeMap<String, Arc<EndpointSlice>>>);

impl Slices {
    /// Takes a change in; returns the Services that it touches.
    pub(crate) fn take(&mut self, change: &Change<EndpointSlice>) -> Vec<Key> {
        let (gone, come) = match change {
            Change::Applied { old, new } => (old.as_ref(), Some(new)),
            Change::Deleted(last) => (Some(last), None),
        };
        let gone = gone.and_then(|slice| Some((service(slice)?, slice)));
        if let Some((service, slice)) = &gone {
            self.remove(service, slice);
        }
        let come = come.and_then(|slice| Some((service(slice)?, slice)));
        if let Some((service, slice)) = &come {
            let name = Key::of(&***slice).name;
            self.0.entry(service.clone()).or_default().insert(name, Arc::clone(slice));
        }
        gone.into_iter().chain(come).map(|(service, _)| service).collect()
    }

    /// The slices of one Service.
    pub(crate) fn of(&self, service: &Key) -> Vec<Arc<EndpointSlice>> {
        self.0.get(service).map(|slices| slices.values().cloned().collect()).unwrap_or_default()
    }

    fn remove(&mut self, service: &Key, slice: &EndpointSlice) {
        if let Some(slices) = self.0.get_mut(service) {
            slices.remove(&Key::of(slice).name);
            if slices.is_empty() {
                self.0.remove(service);
            }
        }
    }
}

fn service(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_LABEL)?;
    Some(Key::new(slice.metadata.namespace.as_deref()?, name))
}
