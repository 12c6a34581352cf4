//! Slices of the Endpoints that somebody else writes, for Services that select no Pods: whoever reads slices alone, as
//! the proxy and DNS do, learns of them too.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort as OldPort, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, ResourceExt};
use sampan_client::{Informer, Key, WorkQueue};

use super::WORKERS;
use super::kept::{Kept, MANAGED_BY, Plan, SERVICE_NAME};
use crate::owners;
use crate::runner::{self, Reconcile};
use crate::{Context, Error};

/// Our name on slices.
const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// The label by which Endpoints ask to be left alone.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// The annotation of Endpoints that are no endpoints but the lock of a leader.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Addresses of one subset that are mirrored.
const CAPACITY: usize = 1000;

struct Controller {
    client: Client,
    services: Informer<Service>,
    endpoints: Informer<Endpoints>,
    kept: Kept,
}

/// Starts the controller.
pub(crate) fn start(context: Context) {
    let queue = WorkQueue::new(&context.tasks);
    let controller = Arc::new(Controller {
        services: context.informers.all(),
        endpoints: context.informers.all(),
        kept: Kept::by(MANAGER, &context),
        client: context.client,
    });
    let (services, endpoints) = (queue.clone(), queue.clone());
    controller.services.on_change(move |change| services.add(Key::of(&**change.object())));
    controller.endpoints.on_change(move |change| endpoints.add(Key::of(&**change.object())));
    controller.kept.watch(&queue);
    let tasks = context.tasks.clone();
    context.tasks.spawn(async move {
        controller.services.synced().await;
        controller.endpoints.synced().await;
        controller.kept.synced().await;
        runner::run("endpointslicemirroring-controller", controller, &queue, WORKERS, &tasks);
    });
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let endpoints = self.endpoints.get(key).filter(|endpoints| is_mirrored(endpoints));
        let endpoints = endpoints.filter(|_| self.services.get(key).is_some_and(|service| selects_nothing(&service)));
        let wanted = endpoints.map(|endpoints| mirrors(&endpoints)).unwrap_or_default();
        let api = Api::<EndpointSlice>::namespaced(self.client.clone(), &key.namespace);
        plan(wanted, &self.kept.of(key)).carry_out(&api).await?;
        Ok(None)
    }
}

fn is_mirrored(endpoints: &Endpoints) -> bool {
    endpoints.labels().get(SKIP).map(String::as_str) != Some("true")
        && !endpoints.annotations().contains_key(LEADER)
        && endpoints.metadata.deletion_timestamp.is_none()
}

fn selects_nothing(service: &Service) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_none() && service.metadata.deletion_timestamp.is_none()
}

/// What is to be done so that `wanted` are the only slices there are.
fn plan(wanted: Vec<EndpointSlice>, existing: &[Arc<EndpointSlice>]) -> Plan {
    let mut plan = Plan::default();
    let surplus = existing.iter().filter(|slice| wanted.iter().all(|wanted| wanted.name_any() != slice.name_any()));
    plan.delete = surplus.map(|slice| slice.name_any()).collect();
    for wanted in wanted {
        match existing.iter().find(|slice| slice.name_any() == wanted.name_any()) {
            None => plan.create.push(wanted),
            Some(slice) if same(slice, &wanted) => {}
            Some(slice) => {
                let metadata = ObjectMeta { labels: wanted.metadata.labels.clone(), ..slice.metadata.clone() };
                plan.update.push(EndpointSlice { metadata, ..wanted });
            }
        }
    }
    plan
}

fn same(a: &EndpointSlice, b: &EndpointSlice) -> bool {
    a.endpoints == b.endpoints && a.ports == b.ports && a.labels() == b.labels()
}

/// The slices that say what `endpoints` say: one for each subset and family of addresses. Their names follow from the
/// Endpoints, so that a cache that lags cannot lead to more of them.
fn mirrors(endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let uid: String = endpoints.uid().unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).take(5).collect();
    let mut labels = endpoints.labels().clone();
    labels.insert(SERVICE_NAME.to_owned(), endpoints.name_any());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut slices = Vec::new();
    for (number, subset) in endpoints.subsets.iter().flatten().enumerate() {
        for (family, members) in by_family(subset) {
            slices.push(EndpointSlice {
                address_type: family.to_owned(),
                endpoints: Some(members),
                metadata: ObjectMeta {
                    name: Some(format!("{}-{uid}-{number}-{}", endpoints.name_any(), family.to_lowercase())),
                    namespace: endpoints.namespace(),
                    labels: Some(labels.clone()),
                    owner_references: Some(vec![owners::reference(endpoints)]),
                    ..ObjectMeta::default()
                },
                ports: Some(subset.ports.iter().flatten().map(port).collect()),
            });
        }
    }
    slices
}

/// The subset's members by family; a family without any is left out.
fn by_family(subset: &EndpointSubset) -> Vec<(&'static str, Vec<Endpoint>)> {
    let ready = subset.addresses.iter().flatten().map(|address| (address, true));
    let unready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
    let mut families = vec![("IPv4", Vec::new()), ("IPv6", Vec::new())];
    for (address, ready) in ready.chain(unready).take(CAPACITY) {
        match address.ip.parse() {
            Ok(IpAddr::V4(_)) => families[0].1.push(member(address, ready)),
            Ok(IpAddr::V6(_)) => families[1].1.push(member(address, ready)),
            Err(_) => {}
        }
    }
    families.retain(|(_, members)| !members.is_empty());
    families
}

fn member(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn port(port: &OldPort) -> EndpointPort {
    EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        app_protocol: port.app_protocol.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, from_value, json};

    fn endpoints(subsets: Value) -> Endpoints {
        from_value(json!({"metadata": {"name": "db", "namespace": "n", "uid": "ab-cdef-1", "labels": {"a": "b"}},
            "subsets": subsets}))
        .unwrap()
    }

    #[track_caller]
    fn check(subsets: Value, want: &[&str]) {
        let told = |slice: &EndpointSlice| {
            let ports = slice.ports.iter().flatten().filter_map(|port| port.port).map(|port| port.to_string());
            let mark = |endpoint: &Endpoint| match endpoint.conditions.as_ref().and_then(|c| c.ready) {
                Some(true) => endpoint.addresses[0].clone(),
                _ => format!("{}-", endpoint.addresses[0]),
            };
            let members: Vec<_> = slice.endpoints.iter().flatten().map(mark).collect();
            format!("{} [{} {}]", slice.name_any(), ports.collect::<Vec<_>>().join("/"), members.join(","))
        };
        assert_eq!(mirrors(&endpoints(subsets)).iter().map(told).collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_slice_for_each_subset_and_family() {
        check(json!([]), &[]);
        check(
            json!([{"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "notReadyAddresses": [{"ip": "10.0.0.2"}],
                    "ports": [{"port": 80}, {"port": 81, "name": "b"}]},
                   {"addresses": [{"ip": "10.0.0.3"}], "ports": [{"port": 90}]}]),
            &[
                "db-abcde-0-ipv4 [80/81 10.0.0.1,10.0.0.2-]",
                "db-abcde-0-ipv6 [80/81 fd00::1]",
                "db-abcde-1-ipv4 [90 10.0.0.3]",
            ],
        );
    }

    #[test]
    fn what_is_right_is_left_alone() {
        let one = |ip: &str| mirrors(&endpoints(json!([{"addresses": [{"ip": ip}], "ports": [{"port": 80}]}])));
        let existing = [Arc::new(one("10.0.0.1").remove(0))];
        let count = |plan: Plan| (plan.create.len(), plan.update.len(), plan.delete.len());
        assert_eq!(count(plan(one("10.0.0.1"), &[])), (1, 0, 0));
        assert_eq!(count(plan(one("10.0.0.1"), &existing)), (0, 0, 0));
        assert_eq!(count(plan(one("10.0.0.2"), &existing)), (0, 1, 0));
        assert_eq!(count(plan(Vec::new(), &existing)), (0, 0, 1));
    }

    #[test]
    fn some_want_no_mirror() {
        let mut endpoints = endpoints(json!([]));
        assert!(is_mirrored(&endpoints));
        endpoints.labels_mut().insert(SKIP.to_owned(), "true".to_owned());
        assert!(!is_mirrored(&endpoints));
    }
}
