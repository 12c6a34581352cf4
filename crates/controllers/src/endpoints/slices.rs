//! EndpointSlices: at most 100 members each, one group of slices for each set of ports.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, ResourceExt};
use sampan_client::{Key, WorkQueue};

use super::kept::{Kept, MANAGED_BY, Plan, SERVICE_NAME};
use super::members::{Member, Port};
use super::{Source, WORKERS, is_for};
use crate::owners;
use crate::runner::{self, Reconcile};
use crate::{Context, Error};

/// Members of one slice.
const SLICE_SIZE: usize = 100;
/// Ours.
const MANAGER: &str = "endpointslice-controller.k8s.io";
/// The label of slices of headless Services.
const HEADLESS: &str = "service.kubernetes.io/headless";

struct Controller {
    client: Client,
    source: Arc<Source>,
    kept: Kept,
}

/// Starts the controller.
pub(crate) fn start(context: Context) {
    let queue = WorkQueue::new(&context.tasks);
    let source = Source::new(&context);
    let kept = Kept::by(MANAGER, &context);
    let controller = Arc::new(Controller { kept, source, client: context.client });
    controller.source.watch(&queue);
    controller.kept.watch(&queue);
    let tasks = context.tasks.clone();
    context.tasks.spawn(async move {
        controller.source.synced().await;
        controller.kept.synced().await;
        runner::run("endpointslice-controller", controller, &queue, WORKERS, &tasks);
    });
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        // The slices of a deleted Service go with it, by their owner reference.
        let Some(service) = self.source.services.get(key) else { return Ok(None) };
        let selects = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).is_some();
        if !selects || service.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let mut existing = self.kept.of(key);
        existing.retain(|slice| is_for(&slice.metadata, &service));
        existing.sort_by_key(|slice| slice.name_any());
        let plan = plan(&service, &self.source.members(&service), &existing);
        let api = Api::<EndpointSlice>::namespaced(self.client.clone(), &key.namespace);
        plan.carry_out(&api).await?;
        Ok(None)
    }
}

/// Decides what becomes of the slices. Members stay in the slice they are in, so that a change of one Pod writes one slice.
fn plan(service: &Service, members: &[Member], existing: &[Arc<EndpointSlice>]) -> Plan {
    let mut plan = Plan::default();
    let mut groups: BTreeMap<Vec<Port>, Vec<&Member>> = BTreeMap::new();
    for member in members {
        groups.entry(member.ports.clone()).or_default().push(member);
    }
    if groups.is_empty() {
        // A Service without members has one empty slice, by which clients see that it is known.
        groups.insert(Vec::new(), Vec::new());
    }
    let mut free: Vec<_> = existing.iter().map(|slice| (**slice).clone()).collect();
    for (ports, members) in groups {
        let ports = endpoint_ports(&ports);
        let (matching, rest): (Vec<_>, Vec<_>) = free.into_iter().partition(|slice| slice.ports == ports);
        free = rest;
        place(&mut plan, service, (ports, members), matching);
    }
    // What is left can take other ports, or is of no use.
    for slice in free {
        match plan.create.pop() {
            Some(new) => plan.update.push(EndpointSlice { metadata: slice.metadata, ..new }),
            None => plan.delete.push(slice.name_any()),
        }
    }
    name_first(&mut plan, service, existing);
    plan
}

/// Lays the members of one set of ports out over the slices that have those ports, and over new ones.
fn place(
    plan: &mut Plan,
    service: &Service,
    (ports, members): (Option<Vec<EndpointPort>>, Vec<&Member>),
    slices: Vec<EndpointSlice>,
) {
    let mut wanted: HashMap<&str, Endpoint> = HashMap::new();
    let mut order = Vec::new();
    for member in members {
        let uid = member.target.uid.as_deref().unwrap_or_default();
        wanted.insert(uid, endpoint(member));
        order.push(uid);
    }
    let mut kept: Vec<(EndpointSlice, Vec<Endpoint>)> = Vec::new();
    for slice in slices {
        let uids = slice.endpoints.iter().flatten().filter_map(|e| e.target_ref.as_ref()?.uid.as_deref());
        let endpoints = uids.filter_map(|uid| wanted.remove(uid)).take(SLICE_SIZE).collect();
        kept.push((slice, endpoints));
    }
    let mut added: Vec<Endpoint> = order.into_iter().filter_map(|uid| wanted.remove(uid)).collect();
    for (_, endpoints) in &mut kept {
        let room = SLICE_SIZE.saturating_sub(endpoints.len()).min(added.len());
        endpoints.extend(added.drain(..room));
    }
    let last_empty = kept.iter().all(|(_, endpoints)| endpoints.is_empty());
    for (at, (slice, endpoints)) in kept.iter().enumerate() {
        if endpoints.is_empty() && !(last_empty && at == 0) {
            plan.delete.push(slice.name_any());
        } else if slice.endpoints.as_deref().unwrap_or_default() != *endpoints || !labelled(slice, service) {
            let mut updated = slice.clone();
            updated.endpoints = Some(endpoints.clone());
            updated.metadata.labels = Some(labels(service));
            plan.update.push(updated);
        }
    }
    if kept.is_empty() || !added.is_empty() {
        let chunks: Vec<Vec<Endpoint>> =
            if added.is_empty() { vec![Vec::new()] } else { added.chunks(SLICE_SIZE).map(<[_]>::to_vec).collect() };
        plan.create.extend(chunks.into_iter().map(|endpoints| slice(service, ports.clone(), endpoints)));
    }
}

/// The first slice of a Service gets a name that follows from the Service, so that a controller whose cache lags cannot
/// make two of them.
fn name_first(plan: &mut Plan, service: &Service, existing: &[Arc<EndpointSlice>]) {
    if existing.is_empty()
        && let Some(first) = plan.create.first_mut()
    {
        let uid: String = service.uid().unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect();
        let tail: String = uid.chars().take(5).collect();
        first.metadata.generate_name = None;
        first.metadata.name = Some(format!("{}-{tail}", service.name_any()));
    }
}

fn slice(service: &Service, ports: Option<Vec<EndpointPort>>, endpoints: Vec<Endpoint>) -> EndpointSlice {
    EndpointSlice {
        address_type: "IPv4".to_owned(),
        endpoints: Some(endpoints),
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.name_any())),
            namespace: service.namespace(),
            labels: Some(labels(service)),
            owner_references: Some(vec![owners::reference(service)]),
            ..ObjectMeta::default()
        },
        ports,
    }
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.insert(SERVICE_NAME.to_owned(), service.name_any());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let headless = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None");
    if headless {
        labels.insert(HEADLESS.to_owned(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels
}

fn labelled(slice: &EndpointSlice, service: &Service) -> bool {
    *slice.labels() == labels(service)
}

fn endpoint_ports(ports: &[Port]) -> Option<Vec<EndpointPort>> {
    let one = |port: &Port| EndpointPort {
        name: Some(port.name.clone()),
        port: Some(port.number),
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    };
    Some(ports.iter().map(one).collect::<Vec<_>>()).filter(|ports| !ports.is_empty())
}

fn endpoint(member: &Member) -> Endpoint {
    Endpoint {
        addresses: vec![member.address.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(member.ready),
            serving: Some(member.serving),
            terminating: Some(member.terminating),
        }),
        hostname: member.hostname.clone(),
        node_name: member.node.clone(),
        target_ref: Some(member.target.clone()),
        zone: member.zone.clone(),
        ..Endpoint::default()
    }
}

#[cfg(test)]
#[path = "slices_tests.rs"]
mod tests;
