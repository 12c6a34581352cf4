//! `pods/proxy`, `services/proxy`, `nodes/proxy`: plain HTTP passed on.

use sampan_api::kind::KindRef;
use sampan_api::status::Status;
use serde_json::Value;

use super::dial::Backend;
use super::{Goal, kubelet, target};
use crate::cache::{Filter, Match};
use crate::registry::built_in;
use crate::server::{Call, Server};
use crate::verbs::attempt;

/// The path behind the proxy, with the request's query.
fn path_behind(call: &Call) -> String {
    let path = if call.info.rest.is_empty() { "/" } else { &call.info.rest };
    match call.head.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// To a node: its kubelet.
pub(super) async fn node(server: &Server, kind: &KindRef, call: &Call) -> Result<Goal, Status> {
    let (_, name, port) = target::split_name(&call.info.name)?;
    let node = server.registry.get(&attempt(kind, call)?.named(name), Match::Newest).await?.value();
    let backend = kubelet(server, &node)?;
    if !port.is_empty() && port.parse() != Ok(backend.port) {
        return Err(Status::bad_request("only the kubelet's own port of a node can be reached"));
    }
    Ok(Goal { backend: Backend { loopback_allowed: false, ..backend }, path: path_behind(call), explain: false })
}

/// To a Pod's own address.
pub(super) async fn pod(server: &Server, kind: &KindRef, call: &Call) -> Result<Goal, Status> {
    let (scheme, name, port) = target::split_name(&call.info.name)?;
    let pod = server.registry.get(&attempt(kind, call)?.named(name), Match::Newest).await?.value();
    let ip = pod["status"]["podIP"].as_str().filter(|ip| !ip.is_empty());
    let ip = ip.ok_or_else(|| Status::bad_request("address not allowed"))?;
    let port = match port {
        "" => first_port(&pod).unwrap_or(80),
        text => text.parse().map_err(|_| Status::bad_request(format!("invalid port {text:?}")))?,
    };
    Ok(Goal { backend: plain(scheme, ip, port)?, path: path_behind(call), explain: false })
}

fn first_port(pod: &Value) -> Option<u16> {
    let containers = pod["spec"]["containers"].as_array()?;
    let mut ports = containers.iter().filter_map(|container| container["ports"][0]["containerPort"].as_u64());
    ports.next().and_then(|port| u16::try_from(port).ok())
}

/// Whose certificate could be believed behind an address is not known, so there is no TLS to Pods.
fn plain(scheme: &str, host: &str, port: u16) -> Result<Backend, Status> {
    if scheme == "https" {
        return Err(Status::bad_request("https backends cannot be reached through the proxy"));
    }
    Ok(Backend { host: host.to_owned(), port, tls: None, loopback_allowed: false })
}

/// To one of the ready endpoints of a Service.
pub(super) async fn service(server: &Server, kind: &KindRef, call: &Call) -> Result<Goal, Status> {
    let (scheme, name, port) = target::split_name(&call.info.name)?;
    let attempt = attempt(kind, call)?.named(name);
    let service = server.registry.get(&attempt, Match::Newest).await?.value();
    let port_name = service_port(&service, port)
        .ok_or_else(|| Status::unavailable(format!("no service port {port:?} found for service {name:?}")))?;
    let slices = built_in("discovery.k8s.io", "EndpointSlice")?;
    let filter = Filter::of_namespace(&attempt.namespace);
    let (slices, _) = server.registry.cache.room(slices)?.snapshot(&filter);
    let of_service = slices.iter().filter(|s| s.labels.get("kubernetes.io/service-name").is_some_and(|n| n == name));
    let endpoint = of_service.map(|slice| slice.value()).find_map(|slice| endpoint(&slice, &port_name));
    let (host, port) =
        endpoint.ok_or_else(|| Status::unavailable(format!("no endpoints available for service {name:?}")))?;
    Ok(Goal { backend: plain(scheme, &host, port)?, path: path_behind(call), explain: false })
}

/// The name (which may be empty) of the Service's port of that name or number; of the only one if none is said.
fn service_port(service: &Value, wanted: &str) -> Option<String> {
    let ports = service["spec"]["ports"].as_array()?;
    let matches = |port: &&Value| {
        wanted == port["name"].as_str().unwrap_or_default()
            || wanted.parse() == Ok(port["port"].as_u64().unwrap_or_default())
    };
    let found = if wanted.is_empty() && ports.len() == 1 { ports.first() } else { ports.iter().find(matches) };
    found.map(|port| port["name"].as_str().unwrap_or_default().to_owned())
}

fn endpoint(slice: &Value, port_name: &str) -> Option<(String, u16)> {
    let named = |port: &&Value| port["name"].as_str().unwrap_or_default() == port_name;
    let port = slice["ports"].as_array()?.iter().find(named)?["port"].as_u64()?;
    let ready = |endpoint: &&Value| endpoint["conditions"]["ready"] != false;
    let address = slice["endpoints"].as_array()?.iter().find(ready)?["addresses"][0].as_str()?;
    Some((address.to_owned(), u16::try_from(port).ok()?))
}
