//! One Service with its EndpointSlices: which frontends does it have on this node, and which endpoints serve each?
//!
//! Pure. The rules are upstream's: ready endpoints; where none is ready, those that still serve while they terminate;
//! the traffic policies choose between all endpoints and the node's own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::frontend::{At, Backends, Empty, Frontend, Protocol, Side};

/// How long a client keeps its endpoint unless the Service says otherwise, in seconds.
const DEFAULT_STICKY_SECONDS: u32 = 10_800;
/// Services with this label are another proxy's business.
const OTHER_PROXY_LABEL: &str = "service.kubernetes.io/service-proxy-name";

/// What a plan needs to know of the node.
#[derive(Debug, Clone)]
pub struct Node {
    /// The node's name, as endpoints carry it.
    pub name: String,
    /// The addresses of its own Pods.
    pub pod_cidr: Ipv4Net,
    /// Where Services' addresses come from.
    pub service_cidr: Ipv4Net,
    /// Addresses that the node answers itself: the cluster DNS.
    pub skip: Vec<Ipv4Addr>,
}

/// The frontends of a Service and their backends.
pub type Wanted = BTreeMap<Frontend, Backends>;

/// Decides what a Service needs on this node.
pub fn plan(service: &Service, slices: &[&EndpointSlice], node: &Node) -> Wanted {
    let mut wanted = Wanted::new();
    let Some(spec) = service.spec.as_ref().filter(|_| is_ours(service)) else { return wanted };
    for port in spec.ports.iter().flatten() {
        let (Some(protocol), Ok(number)) = (Protocol::parse(port.protocol.as_deref()), u16::try_from(port.port)) else {
            continue;
        };
        let choice = Choice::new(slices, port, node);
        let to = |at, side, port| Frontend { side, at, protocol, port };
        let sticky = sticky_seconds(spec);
        for address in cluster_addresses(spec).filter(|address| !node.skip.contains(address)) {
            let local = spec.internal_traffic_policy.as_deref() == Some("Local");
            let frontend = to(At::Address(address), Side::Everyone, number);
            wanted.insert(frontend, choice.backends(local, sticky));
        }
        for (at, number) in external(service, spec, port, number) {
            wanted.insert(to(at, Side::Everyone, number), choice.backends(false, sticky));
            if spec.external_traffic_policy.as_deref() == Some("Local") {
                wanted.insert(to(at, Side::Outside, number), choice.backends(true, sticky));
            }
        }
    }
    wanted
}

/// Whether a Service has an address that a proxy serves.
fn is_ours(service: &Service) -> bool {
    let labelled = service.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(OTHER_PROXY_LABEL));
    let external_name = service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("ExternalName"));
    !labelled && !external_name
}

fn sticky_seconds(spec: &ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let configured = config.and_then(|client| client.timeout_seconds);
    Some(configured.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(DEFAULT_STICKY_SECONDS))
}

/// The Service's own IPv4 addresses. A headless Service (`None`) has none.
fn cluster_addresses(spec: &ServiceSpec) -> impl Iterator<Item = Ipv4Addr> {
    let many = spec.cluster_ips.as_deref().unwrap_or_default();
    let one = spec.cluster_ip.as_slice().iter().filter(|_| many.is_empty());
    many.iter().chain(one).filter_map(|address| address.parse().ok())
}

/// Where the Service is reached from outside: its node port, external and load balancer addresses.
fn external(service: &Service, spec: &ServiceSpec, port: &ServicePort, number: u16) -> Vec<(At, u16)> {
    let node_port = port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let balanced = balancer.into_iter().flatten();
    // With mode Proxy the balancer wants to see its own traffic.
    let balanced = balanced.filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
    let balanced = balanced.filter_map(|ingress| ingress.ip.as_ref());
    let addresses = spec.external_ips.iter().flatten().chain(balanced).filter_map(|address| address.parse().ok());
    let node = node_port.map(|port| (At::Node, port));
    addresses.map(|address| (At::Address(address), number)).chain(node).collect()
}

/// A port's endpoints, by what a policy may choose between.
struct Choice {
    all: BTreeSet<SocketAddrV4>,
    local: BTreeSet<SocketAddrV4>,
}

impl Choice {
    fn new(slices: &[&EndpointSlice], port: &ServicePort, node: &Node) -> Self {
        let candidates: Vec<Candidate> = slices.iter().flat_map(|slice| candidates(slice, port, node)).collect();
        Self { all: usable(&candidates, |_| true), local: usable(&candidates, |candidate| candidate.local) }
    }

    fn backends(&self, local: bool, sticky_seconds: Option<u32>) -> Backends {
        let chosen = if local { &self.local } else { &self.all };
        let empty = if self.all.is_empty() { Empty::Refuse } else { Empty::Drop };
        Backends { endpoints: chosen.iter().copied().collect(), sticky_seconds, empty }
    }
}

struct Candidate {
    address: SocketAddrV4,
    local: bool,
    ready: bool,
    /// Terminating, but still willing: better than nobody.
    last_resort: bool,
}

fn candidates(slice: &EndpointSlice, port: &ServicePort, node: &Node) -> Vec<Candidate> {
    let name = port.name.as_deref().unwrap_or_default();
    let ports = slice.ports.iter().flatten();
    let mut ports = ports.filter(|candidate| candidate.name.as_deref().unwrap_or_default() == name);
    let number = ports.next().and_then(|port| u16::try_from(port.port?).ok());
    let Some(number) = number.filter(|_| slice.address_type == "IPv4") else { return Vec::new() };
    slice.endpoints.iter().flatten().filter_map(|endpoint| candidate(endpoint, number, node)).collect()
}

fn candidate(endpoint: &Endpoint, port: u16, node: &Node) -> Option<Candidate> {
    let address = endpoint.addresses.first()?.parse().ok()?;
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|conditions| conditions.terminating).unwrap_or(false);
    Some(Candidate {
        address: SocketAddrV4::new(address, port),
        local: endpoint.node_name.as_deref() == Some(&node.name),
        ready,
        last_resort: serving && terminating,
    })
}

fn usable(candidates: &[Candidate], eligible: impl Fn(&Candidate) -> bool) -> BTreeSet<SocketAddrV4> {
    let pick = |wanted: fn(&Candidate) -> bool| -> BTreeSet<SocketAddrV4> {
        let chosen = candidates.iter().filter(|candidate| eligible(candidate) && wanted(candidate));
        chosen.map(|candidate| candidate.address).collect()
    };
    let ready = pick(|candidate| candidate.ready);
    if ready.is_empty() { pick(|candidate| candidate.last_resort) } else { ready }
}
