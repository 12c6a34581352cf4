//! What the DNS knows of the cluster. Pure; the component feeds it, [`crate::answer`] reads it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

use hickory_proto::rr::Name;
use k8s_openapi::api::core::v1::{Pod, Service as ServiceObject};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use sampan_client::Key;

use crate::Error;

/// The label that names a slice's Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// The cluster's names.
#[derive(Debug)]
pub struct Table {
    domain: Name,
    complete: bool,
    generation: u32,
    /// By namespace, then name.
    services: HashMap<String, HashMap<String, Service>>,
    /// By Service, then the slice's name.
    slices: HashMap<Key, BTreeMap<String, Vec<Endpoint>>>,
    owners: HashMap<Ipv4Addr, Key>,
    members: HashMap<Ipv4Addr, BTreeSet<Member>>,
    pods: HashMap<Ipv4Addr, PodNames>,
}

/// A Service's part in names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// How its name is answered.
    pub kind: Kind,
    /// Its ports.
    pub ports: Vec<Port>,
    /// Whether endpoints count that are not ready.
    pub unready_too: bool,
}

/// How a Service's name is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// By its own addresses.
    Addresses(Vec<Ipv4Addr>),
    /// By its endpoints' addresses.
    Headless,
    /// By another name.
    External(Name),
}

/// A named port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Its name; empty where it has none.
    pub name: String,
    /// Lower case: tcp, udp, sctp.
    pub protocol: String,
    /// Its number.
    pub number: u16,
}

/// One address behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub address: Ipv4Addr,
    /// The first label of its own name: its hostname, or its address with dashes.
    pub label: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// An endpoint's own name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its Service.
    pub service: Key,
    /// The label below the Service's name.
    pub label: String,
    slice: String,
}

#[derive(Debug)]
struct PodNames {
    pod: Key,
    containers: BTreeSet<String>,
}

impl Table {
    /// An empty table for names below `domain` (`cluster.local`).
    pub fn new(domain: &str) -> Result<Self, Error> {
        let name = Name::from_ascii(domain.trim_end_matches('.')).map(|name| name.to_lowercase());
        let mut domain = name.map_err(|_| Error::Domain(domain.to_owned()))?;
        domain.set_fqdn(true);
        Ok(Self {
            domain,
            complete: false,
            generation: 1,
            services: HashMap::new(),
            slices: HashMap::new(),
            owners: HashMap::new(),
            members: HashMap::new(),
            pods: HashMap::new(),
        })
    }

    /// Everything has been read once: from now on, what is not in the table does not exist.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// Whether [`complete`](Self::complete) was said.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The domain below which this table has authority.
    pub fn domain(&self) -> &Name {
        &self.domain
    }

    /// Grows with every change: the zone's serial number.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// A Service comes or changes.
    pub fn set_service(&mut self, object: &ServiceObject) {
        let key = Key::of(object);
        self.remove_service(&key);
        let Some(service) = service(object) else { return };
        if let Kind::Addresses(addresses) = &service.kind {
            self.owners.extend(addresses.iter().map(|address| (*address, key.clone())));
        }
        self.services.entry(key.namespace).or_default().insert(key.name, service);
    }

    /// A Service goes.
    pub fn remove_service(&mut self, key: &Key) {
        self.generation = self.generation.wrapping_add(1);
        self.owners.retain_of(self.services.get(&key.namespace).and_then(|all| all.get(&key.name)), key);
        if let Some(namespace) = self.services.get_mut(&key.namespace) {
            namespace.remove(&key.name);
            if namespace.is_empty() {
                self.services.remove(&key.namespace);
            }
        }
    }

    /// A slice comes or changes.
    pub fn set_slice(&mut self, slice: &EndpointSlice) {
        self.remove_slice(slice);
        let Some((service, name)) = slice_key(slice).filter(|_| slice.address_type == "IPv4") else { return };
        let endpoints = endpoints(slice);
        for endpoint in &endpoints {
            let member = Member { service: service.clone(), label: endpoint.label.clone(), slice: name.clone() };
            self.members.entry(endpoint.address).or_default().insert(member);
        }
        self.slices.entry(service).or_default().insert(name, endpoints);
    }

    /// A slice goes.
    pub fn remove_slice(&mut self, slice: &EndpointSlice) {
        self.generation = self.generation.wrapping_add(1);
        let Some((service, name)) = slice_key(slice) else { return };
        let Some(slices) = self.slices.get_mut(&service) else { return };
        for endpoint in slices.remove(&name).unwrap_or_default() {
            if let Some(members) = self.members.get_mut(&endpoint.address) {
                members.retain(|member| member.service != service || member.slice != name);
                if members.is_empty() {
                    self.members.remove(&endpoint.address);
                }
            }
        }
        if slices.is_empty() {
            self.slices.remove(&service);
        }
    }

    /// A Pod comes or changes. One that ended, or shares the node's address, is nobody's source.
    pub fn set_pod(&mut self, pod: &Pod, previous: Option<&Pod>) {
        if let Some(previous) = previous {
            self.remove_pod(previous);
        }
        if let Some(address) = own_address(pod) {
            let spec = pod.spec.as_ref();
            let containers = spec.into_iter().flat_map(|spec| &spec.containers);
            let containers = containers.map(|container| container.name.to_lowercase()).collect();
            self.pods.insert(address, PodNames { pod: Key::of(pod), containers });
        }
    }

    /// A Pod goes.
    pub fn remove_pod(&mut self, pod: &Pod) {
        let Some(address) = own_address(pod) else { return };
        // The address may be another Pod's by now.
        if self.pods.get(&address).is_some_and(|names| names.pod == Key::of(pod)) {
            self.pods.remove(&address);
        }
    }

    /// The Service of that name.
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.services.get(namespace)?.get(name)
    }

    /// Whether the namespace has a Service.
    pub fn has_services(&self, namespace: &str) -> bool {
        self.services.contains_key(namespace)
    }

    /// The usable endpoints of a Service, in order.
    pub fn endpoints<'a>(&'a self, namespace: &str, name: &str) -> impl Iterator<Item = &'a Endpoint> {
        let unready_too = self.service(namespace, name).is_some_and(|service| service.unready_too);
        let slices = self.slices.get(&Key::new(namespace, name)).into_iter().flat_map(BTreeMap::values);
        slices.flatten().filter(move |endpoint| endpoint.ready || unready_too)
    }

    /// The Service that has this address.
    pub fn owner(&self, address: Ipv4Addr) -> Option<&Key> {
        self.owners.get(&address)
    }

    /// The endpoints that have this address.
    pub fn members(&self, address: Ipv4Addr) -> impl Iterator<Item = &Member> {
        self.members.get(&address).into_iter().flatten()
    }

    /// The namespace of the Pod at `source`, if it has a container of that name.
    pub fn container(&self, source: Ipv4Addr, name: &str) -> Option<&str> {
        let names = self.pods.get(&source)?;
        names.containers.contains(name).then_some(names.pod.namespace.as_str())
    }
}

/// Takes a Service's addresses out of an index.
trait RetainOf {
    fn retain_of(&mut self, service: Option<&Service>, key: &Key);
}

impl RetainOf for HashMap<Ipv4Addr, Key> {
    fn retain_of(&mut self, service: Option<&Service>, key: &Key) {
        let Some(Service { kind: Kind::Addresses(addresses), .. }) = service else { return };
        for address in addresses {
            // The address may be another Service's by now.
            if self.get(address) == Some(key) {
                self.remove(address);
            }
        }
    }
}

fn service(object: &ServiceObject) -> Option<Service> {
    let spec = object.spec.as_ref()?;
    let kind = if spec.type_.as_deref() == Some("ExternalName") {
        let mut name = Name::from_ascii(spec.external_name.as_deref()?).ok()?;
        name.set_fqdn(true);
        Kind::External(name)
    } else if spec.cluster_ip.as_deref() == Some("None") {
        Kind::Headless
    } else {
        let many = spec.cluster_ips.as_deref().unwrap_or_default();
        let one = spec.cluster_ip.as_slice().iter().filter(|_| many.is_empty());
        Kind::Addresses(many.iter().chain(one).filter_map(|address| address.parse().ok()).collect())
    };
    let ports = spec.ports.iter().flatten();
    let ports = ports.filter_map(|p| port(p.name.as_deref(), p.protocol.as_deref(), Some(p.port))).collect();
    Some(Service { kind, ports, unready_too: spec.publish_not_ready_addresses == Some(true) })
}

fn endpoints(slice: &EndpointSlice) -> Vec<Endpoint> {
    let ports = slice.ports.iter().flatten();
    let ports: Vec<Port> = ports.filter_map(|p| port(p.name.as_deref(), p.protocol.as_deref(), p.port)).collect();
    let endpoint = |one: &k8s_openapi::api::discovery::v1::Endpoint| {
        let address: Ipv4Addr = one.addresses.first()?.parse().ok()?;
        let label = one.hostname.as_deref().filter(|hostname| !hostname.is_empty()).map(str::to_lowercase);
        Some(Endpoint {
            address,
            label: label.unwrap_or_else(|| address.to_string().replace('.', "-")),
            ready: one.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true),
            ports: ports.clone(),
        })
    };
    slice.endpoints.iter().flatten().filter_map(endpoint).collect()
}

fn port(name: Option<&str>, protocol: Option<&str>, number: Option<i32>) -> Option<Port> {
    Some(Port {
        name: name.unwrap_or_default().to_lowercase(),
        protocol: protocol.unwrap_or("tcp").to_lowercase(),
        number: u16::try_from(number?).ok()?,
    })
}

fn slice_key(slice: &EndpointSlice) -> Option<(Key, String)> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_LABEL)?;
    Some((Key::new(slice.metadata.namespace.as_deref()?, service), slice.metadata.name.clone()?))
}

fn own_address(pod: &Pod) -> Option<Ipv4Addr> {
    let on_host = pod.spec.as_ref()?.host_network == Some(true);
    let status = pod.status.as_ref().filter(|_| !on_host)?;
    let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    status.pod_ip.as_deref().filter(|_| !ended)?.parse().ok()
}
