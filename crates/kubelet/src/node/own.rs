//! The node's object as the API server has it: what people and controllers have said of the node, its labels and taints
//! above all.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::runtime::watcher;
use kube::{Api, Client};
use sampan_client::{Informer, Key, Tasks};

use super::admission::Offer;
use super::{Node, report};
use crate::{Error, Options};

/// A fresh look at the object takes this long at most: a Pod waits for it, and its deletion meanwhile.
const FRESH: Duration = Duration::from_secs(5);

/// The node's own object.
pub(crate) struct Own {
    api: Api<NodeObject>,
    watched: Informer<NodeObject>,
}

impl Own {
    /// Follows the object of the node that `options` describe, in `tasks`.
    pub(super) fn watch(options: &Options, client: &Client, tasks: &Tasks) -> Self {
        let api = Api::<NodeObject>::all(client.clone());
        let only = watcher::Config::default().fields(&format!("metadata.name={}", options.node_name));
        Self { watched: Informer::start(api.clone(), only, tasks), api }
    }

    /// Returns once the object has been looked for.
    pub(crate) async fn synced(&self) {
        self.watched.synced().await;
    }
}

impl Node {
    /// What the node is to Pods as far as is known here: before it is registered, what it will be registered with.
    pub(crate) fn offer(&self) -> Offer {
        let known = self.own.watched.get(&Key::new("", &self.options.node_name));
        self.offer_of(&known.map_or_else(|| report::object(&self.options), |known| NodeObject::clone(&known)))
    }

    fn offer_of(&self, object: &NodeObject) -> Offer {
        let status = object.status.as_ref();
        let mut allocatable = status.and_then(|status| status.allocatable.clone()).unwrap_or_default();
        allocatable.extend(self.capacity.allocatable.clone());
        let devices = self.devices.counts();
        allocatable.retain(|resource, _| !devices.contains_key(resource));
        Offer {
            name: self.options.node_name.clone(),
            labels: object.metadata.labels.clone().unwrap_or_default(),
            taints: object.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default(),
            allocatable,
        }
    }

    /// The same, fresh from the API server: who labels a node and then sends a Pod there may be faster than the watch.
    pub(crate) async fn fresh_offer(&self) -> Result<Offer, Error> {
        let asked = tokio::time::timeout(FRESH, self.own.api.get(&self.options.node_name)).await;
        let answer = asked.unwrap_or_else(|late| Err(kube::Error::Service(late.into())));
        answer.map(|object| self.offer_of(&object)).map_err(Error::api("reading the node"))
    }
}
