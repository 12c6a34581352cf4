//! Endpoints: the older form, one object for each Service of the same name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt};
use sampan_client::{Informer, Key, WorkQueue};

use super::members::{Member, Port};
use super::{Source, WORKERS};
use crate::error::allow_missing;
use crate::runner::{self, Reconcile};
use crate::{Context, Error};

/// Addresses in one object; more are left out and the annotation below says so.
const CAPACITY: usize = 1000;
/// Says that there are more than [`CAPACITY`].
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// The label by which we know our own.
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// Our name in it.
const MANAGER: &str = "endpoint-controller";

struct Controller {
    client: Client,
    source: Arc<Source>,
    endpoints: Informer<Endpoints>,
}

/// Starts the controller.
pub(crate) fn start(context: Context) {
    let queue = WorkQueue::new(&context.tasks);
    let source = Source::new(&context);
    let controller = Arc::new(Controller { endpoints: context.informers.all(), source, client: context.client });
    controller.source.watch(&queue);
    let endpoints = queue.clone();
    controller.endpoints.on_change(move |change| endpoints.add(Key::of(&**change.object())));
    let tasks = context.tasks.clone();
    context.tasks.spawn(async move {
        controller.source.synced().await;
        controller.endpoints.synced().await;
        runner::run("endpoint-controller", controller, &queue, WORKERS, &tasks);
    });
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let api = Api::<Endpoints>::namespaced(self.client.clone(), &key.namespace);
        let existing = self.endpoints.get(key);
        let Some(service) = self.source.services.get(key) else {
            if existing.is_some_and(|endpoints| is_ours(&endpoints)) {
                let deleted = api.delete(&key.name, &DeleteParams::default()).await;
                allow_missing(deleted).map_err(Error::api("deleting Endpoints"))?;
            }
            return Ok(None);
        };
        if service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).is_none() {
            return Ok(None);
        }
        self.write(&api, endpoints(&service, &self.source.members(&service)), existing).await?;
        Ok(None)
    }
}

impl Controller {
    async fn write(
        &self,
        api: &Api<Endpoints>,
        mut wanted: Endpoints,
        existing: Option<Arc<Endpoints>>,
    ) -> Result<(), Error> {
        match existing {
            None => match api.create(&PostParams::default(), &wanted).await {
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
                other => other.map_err(Error::api("creating Endpoints")).map(drop),
            },
            Some(existing) if same(&existing, &wanted) => Ok(()),
            Some(existing) => {
                wanted.metadata.resource_version = existing.resource_version();
                let written = api.replace(&existing.name_any(), &PostParams::default(), &wanted).await;
                allow_missing(written).map_err(Error::api("updating Endpoints")).map(drop)
            }
        }
    }
}

fn is_ours(endpoints: &Endpoints) -> bool {
    endpoints.labels().get(MANAGED_BY).map(String::as_str) == Some(MANAGER)
}

fn same(a: &Endpoints, b: &Endpoints) -> bool {
    let over = |endpoints: &Endpoints| endpoints.annotations().get(OVER_CAPACITY).cloned();
    let subsets = |endpoints: &Endpoints| endpoints.subsets.clone().unwrap_or_default();
    subsets(a) == subsets(b) && a.labels() == b.labels() && over(a) == over(b)
}

/// The Endpoints of `service`: members that share their ports form a subset.
fn endpoints(service: &Service, members: &[Member]) -> Endpoints {
    let mut labels = service.labels().clone();
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let truncated = members.len() > CAPACITY;
    let annotation = || BTreeMap::from([(OVER_CAPACITY.to_owned(), "truncated".to_owned())]);
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: truncated.then(annotation),
            ..ObjectMeta::default()
        },
        subsets: Some(subsets(&members[..members.len().min(CAPACITY)])),
    }
}

fn subsets(members: &[Member]) -> Vec<EndpointSubset> {
    let mut groups: BTreeMap<Vec<Port>, Vec<&Member>> = BTreeMap::new();
    // Those that are ending have no place in this form.
    for member in members.iter().filter(|member| member.ready || !member.terminating) {
        groups.entry(member.ports.clone()).or_default().push(member);
    }
    let addresses = |members: &[&Member], ready: bool| {
        let chosen = members.iter().filter(|member| member.ready == ready);
        Some(chosen.map(|member| address(member)).collect::<Vec<_>>()).filter(|list| !list.is_empty())
    };
    let subset = |(ports, members): (Vec<Port>, Vec<&Member>)| EndpointSubset {
        addresses: addresses(&members, true),
        not_ready_addresses: addresses(&members, false),
        ports: Some(ports.iter().map(port).collect::<Vec<_>>()).filter(|ports| !ports.is_empty()),
    };
    groups.into_iter().map(subset).collect()
}

fn address(member: &Member) -> EndpointAddress {
    EndpointAddress {
        hostname: member.hostname.clone(),
        ip: member.address.clone(),
        node_name: member.node.clone(),
        target_ref: Some(member.target.clone()),
    }
}

fn port(port: &Port) -> EndpointPort {
    EndpointPort {
        app_protocol: port.app_protocol.clone(),
        name: Some(port.name.clone()).filter(|name| !name.is_empty()),
        port: port.number,
        protocol: Some(port.protocol.clone()),
    }
}
