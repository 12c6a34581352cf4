//! Where a probe or hook goes: ports by name, schemes, default hosts.

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::http::Request;

/// The request of an `httpGet`; the Pod's own address unless it names a host.
pub(crate) fn http(get: &HTTPGetAction, container: &Container, pod_ip: &str) -> Result<Request, String> {
    let host = get.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(pod_ip);
    let path = get.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(Request {
        tls: get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("HTTPS")),
        host: host.to_owned(),
        port: port(&get.port, container)?,
        path: format!("{slash}{path}"),
        headers: get.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect(),
    })
}

/// Host and port of a `tcpSocket`.
pub(crate) fn tcp(socket: &TCPSocketAction, container: &Container, pod_ip: &str) -> Result<(String, u16), String> {
    let host = socket.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(pod_ip);
    Ok((host.to_owned(), port(&socket.port, container)?))
}

fn port(wish: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match wish {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    let valid = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
    valid.ok_or_else(|| match wish {
        IntOrString::Int(number) => format!("invalid port number: {number}"),
        IntOrString::String(name) => format!("port {name} not found"),
    })
}
