//! Where a Service's traffic may go: EndpointSlices, and the older Endpoints for those who still read them.
//!
//! Both follow from the same pure [`members`]: the Pods that a Service selects, with what is known of each. [`slices`]
//! and [`legacy`] lay them out in the two forms. What others write in the older form, [`mirror`] says in the newer one.

mod kept;
mod legacy;
mod members;
mod mirror;
mod slices;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use sampan_client::{Change, Informer, Key, WorkQueue};

use crate::Context;
use crate::owners;

/// Services worked on at once.
const WORKERS: usize = 4;

pub(crate) use legacy::start as start_legacy;
pub(crate) use mirror::start as start_mirror;
pub(crate) use slices::start as start_slices;

/// What both controllers read.
struct Source {
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
}

impl Source {
    fn new(context: &Context) -> Arc<Self> {
        let informers = &context.informers;
        Arc::new(Self { services: informers.all(), pods: informers.all(), nodes: informers.all() })
    }

    async fn synced(&self) {
        self.services.synced().await;
        self.pods.synced().await;
        self.nodes.synced().await;
    }

    /// Puts every Service in `queue` whose members may have changed.
    fn watch(self: &Arc<Self>, queue: &WorkQueue<Key>) {
        let services = queue.clone();
        self.services.on_change(move |change| services.add(Key::of(&**change.object())));
        let (pods, source) = (queue.clone(), Arc::clone(self));
        self.pods.on_change(move |change| {
            let touched: Vec<&Pod> = match change {
                Change::Applied { old: Some(old), new } if members::same(old, new) => return,
                Change::Applied { old, new } => old.as_deref().into_iter().chain([&**new]).collect(),
                Change::Deleted(last) => vec![last],
            };
            touched.into_iter().flat_map(|pod| source.selecting(pod)).for_each(|key| pods.add(key));
        });
    }

    /// The Services that select `pod`.
    fn selecting(&self, pod: &Pod) -> Vec<Key> {
        let services = self.services.list();
        let concerned = services.iter().filter(|service| members::selects(service, pod));
        concerned.map(|service| Key::of(&**service)).collect()
    }

    fn members(&self, service: &Service) -> Vec<members::Member> {
        let zone = |node: &str| {
            let node = self.nodes.get(&Key::new("", node))?;
            node.metadata.labels.as_ref()?.get("topology.kubernetes.io/zone").cloned()
        };
        let pods = self.pods.list();
        let mut selected: Vec<_> = pods.iter().filter(|pod| members::selects(service, pod)).collect();
        selected.sort_by_key(|pod| Key::of(&***pod));
        selected.into_iter().filter_map(|pod| members::member(service, pod, &zone)).collect()
    }
}

/// Whether the object of `meta` was made for `service` as it is now, not for an earlier one of its name.
fn is_for(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta, service: &Service) -> bool {
    owners::is_controlled_by(meta, service.metadata.uid.as_deref().unwrap_or_default())
}
