//! `pods/proxy`, `services/proxy`, `nodes/proxy`: HTTP passed on, with every method, and whatever it is upgraded to.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use sampan_api::kind::KindRef;
use sampan_api::status::Status;
use serde_json::Value;

use super::dial::Backend;
use super::links::Links;
use super::{Goal, Via, kubelet, target};
use crate::cache::Match;
use crate::server::{Call, Server};
use crate::verbs::attempt;
use crate::webhook::Trust;

/// By which way a client came, for those behind the proxy who care.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Where a request to a proxy goes.
pub(super) async fn goal(server: &Server, kind: &KindRef, call: &Call) -> Result<Goal, Status> {
    let backend = match kind.plural {
        "pods" => pod(server, kind, call).await?,
        "services" => service(server, kind, call).await?,
        "nodes" => node(server, kind, call).await?,
        _ => return Err(Status::no_such_path()),
    };
    let path = &call.info.path;
    let links = Links {
        prefix: path.strip_suffix(&call.info.rest).unwrap_or(path).to_owned(),
        backend: backend.authority(),
        asked: asked_host(call),
    };
    Ok(Goal { backend, path: path_behind(call), via: Via::Proxy(links) })
}

/// What the client calls this server.
fn asked_host(call: &Call) -> String {
    let named = call.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let named = named.or_else(|| call.head.uri.authority().map(|authority| authority.as_str()));
    named.unwrap_or_default().to_owned()
}

/// The path behind the proxy, with the request's query.
fn path_behind(call: &Call) -> String {
    let path = if call.info.rest.is_empty() { "/" } else { &call.info.rest };
    format!("{path}{}", query(call))
}

fn query(call: &Call) -> String {
    call.head.uri.query().map(|query| format!("?{query}")).unwrap_or_default()
}

/// Whether a page is asked for by a path that its relative links would not lead back to.
pub(super) fn wants_root(call: &Call) -> bool {
    let reads = matches!(call.head.method, Method::GET | Method::HEAD);
    reads && call.info.rest.is_empty() && !sampan_streams::proxy::is_upgrade(call.headers())
}

/// Sends the client to the same path with a slash.
pub(super) fn to_root(call: &Call) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::from_str(&format!("{}/{}", call.info.path, query(call))) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Tells those behind the proxy where the request came from and went to.
pub(super) fn sign(headers: &mut HeaderMap, from: Option<SocketAddr>, path: &str) {
    let before = headers.get_all(FORWARDED_FOR).into_iter().filter_map(|value| value.to_str().ok());
    let chain: Vec<String> = before.map(str::to_owned).chain(from.map(|from| from.ip().to_string())).collect();
    for (name, value) in [(FORWARDED_FOR, chain.join(", ")), (FORWARDED_URI, path.to_owned())] {
        if let Some(value) = HeaderValue::from_str(&value).ok().filter(|value| !value.is_empty()) {
            headers.insert(name, value);
        }
    }
}

/// To a node: its kubelet, or another port of it.
async fn node(server: &Server, kind: &KindRef, call: &Call) -> Result<Backend, Status> {
    let (scheme, name, port) = target::split_name(&call.info.name)?;
    let node = server.registry.get(&attempt(kind, call)?.named(name), Match::Newest).await?.value();
    let kubelet = kubelet(server, &node)?;
    if port.is_empty() || port.parse() == Ok(kubelet.port) {
        return Ok(Backend { loopback_allowed: false, ..kubelet });
    }
    backend(scheme, &kubelet.host, number(port)?)
}

/// To a Pod's own address.
async fn pod(server: &Server, kind: &KindRef, call: &Call) -> Result<Backend, Status> {
    let (scheme, name, port) = target::split_name(&call.info.name)?;
    let pod = server.registry.get(&attempt(kind, call)?.named(name), Match::Newest).await?.value();
    let ip = pod["status"]["podIP"].as_str().filter(|ip| !ip.is_empty());
    let ip = ip.ok_or_else(|| Status::bad_request("address not allowed"))?;
    let port = match port {
        "" => first_port(&pod).unwrap_or(if scheme == "https" { 443 } else { 80 }),
        text => number(text)?,
    };
    backend(scheme, ip, port)
}

fn number(port: &str) -> Result<u16, Status> {
    port.parse().map_err(|_| Status::bad_request(format!("invalid port {port:?}")))
}

fn first_port(pod: &Value) -> Option<u16> {
    let containers = pod["spec"]["containers"].as_array()?;
    let mut ports = containers.iter().filter_map(|container| container["ports"][0]["containerPort"].as_u64());
    ports.next().and_then(|port| u16::try_from(port).ok())
}

/// An address that is not this server's own. Whose certificate it should show is not known: as upstream, TLS keeps
/// listeners out, not impostors.
fn backend(scheme: &str, host: &str, port: u16) -> Result<Backend, Status> {
    let tls = match scheme {
        "https" => Some(Arc::new(Trust::Anyone.client_config(None).map_err(|why| Status::internal(&why))?)),
        _ => None,
    };
    Ok(Backend { host: host.to_owned(), port, tls, loopback_allowed: false })
}

/// To one of the ready endpoints of a Service.
async fn service(server: &Server, kind: &KindRef, call: &Call) -> Result<Backend, Status> {
    let (scheme, name, port) = target::split_name(&call.info.name)?;
    let attempt = attempt(kind, call)?.named(name);
    let service = server.registry.get(&attempt, Match::Newest).await?.value();
    let port_name = service_port(&service, port)
        .ok_or_else(|| Status::unavailable(format!("no service port {port:?} found for service {name:?}")))?;
    let (host, port) = server
        .registry
        .caller
        .services()
        .endpoint(&attempt.namespace, name, &port_name)
        .map_err(Status::unavailable)?;
    backend(scheme, &host, port)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_of_a_service() {
        let one = json!({ "spec": { "ports": [{ "name": "web", "port": 80 }] } });
        let two = json!({ "spec": { "ports": [{ "name": "web", "port": 80 }, { "name": "tls", "port": 443 }] } });
        let check = |service: &Value, wanted: &str, want: Option<&str>| {
            assert_eq!(service_port(service, wanted).as_deref(), want, "{wanted}");
        };
        check(&one, "", Some("web"));
        check(&one, "80", Some("web"));
        check(&two, "tls", Some("tls"));
        check(&two, "443", Some("tls"));
        check(&two, "", None);
        check(&two, "81", None);
    }

    #[test]
    fn the_way_is_told() {
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, HeaderValue::from_static("192.0.2.1"));
        headers.insert(FORWARDED_URI, HeaderValue::from_static("/forged"));
        sign(&mut headers, Some("192.0.2.2:7".parse().unwrap()), "/api/v1/nodes/n/proxy/x");
        assert_eq!(headers[FORWARDED_FOR], "192.0.2.1, 192.0.2.2");
        assert_eq!(headers[FORWARDED_URI], "/api/v1/nodes/n/proxy/x");
    }
}
