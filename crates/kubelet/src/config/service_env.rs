//! The variables that tell a container where Services are: `WEB_SERVICE_HOST`, `WEB_PORT_80_TCP_ADDR` and so on.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;

/// The Service that every container is told about.
const MASTER: (&str, &str) = ("default", "kubernetes");

/// The variables for a Pod of `namespace`: every Service there if `links`, and always the API server's.
pub(crate) fn variables(services: &[Arc<Service>], namespace: &str, links: bool) -> BTreeMap<String, String> {
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        let place =
            (service.metadata.namespace.as_deref().unwrap_or(""), service.metadata.name.as_deref().unwrap_or(""));
        if links && place.0 == namespace {
            chosen.insert(place.1, service);
        } else if place == MASTER {
            chosen.entry(place.1).or_insert(service);
        }
    }
    let mut all = BTreeMap::new();
    for (name, service) in chosen {
        of_service(service, name, &mut all);
    }
    all
}

fn of_service(service: &Service, name: &str, all: &mut BTreeMap<String, String>) {
    let Some(spec) = service.spec.as_ref() else { return };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { return };
    let prefix = name.to_uppercase().replace('-', "_");
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let ports = spec.ports.as_deref().unwrap_or_default();
    all.insert(format!("{prefix}_SERVICE_HOST"), ip.to_owned());
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if index == 0 {
            all.insert(format!("{prefix}_SERVICE_PORT"), port.port.to_string());
            all.insert(format!("{prefix}_PORT"), url.clone());
        }
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let port_name = port_name.to_uppercase().replace('-', "_");
            all.insert(format!("{prefix}_SERVICE_PORT_{port_name}"), port.port.to_string());
        }
        let long = format!("{prefix}_PORT_{}_{protocol}", port.port);
        all.insert(format!("{long}_PROTO"), protocol.to_lowercase());
        all.insert(format!("{long}_PORT"), port.port.to_string());
        all.insert(format!("{long}_ADDR"), ip.to_owned());
        all.insert(long, url);
    }
}
