//! Which address is behind a Service's port, as the cache knows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::cache::{Cache, Filter};

/// The label that ties a slice to its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// The Services of the cluster.
pub(crate) struct Services {
    cache: Arc<Cache>,
    /// Whose turn it is among several endpoints.
    turn: AtomicUsize,
}

impl Services {
    /// The Services in `cache`.
    pub(crate) fn new(cache: Arc<Cache>) -> Self {
        Self { cache, turn: AtomicUsize::new(0) }
    }

    /// Host and port behind the port `port` of a Service: one of its ready endpoints, each in its turn.
    pub(crate) fn resolve(&self, namespace: &str, name: &str, port: u16) -> Result<(String, u16), String> {
        let service = self.cache.stored("services").and_then(|room| room.get(&format!("{namespace}/{name}")));
        let service = service.ok_or_else(|| format!("service {name:?} not found"))?.value();
        if service["spec"]["type"] == "ExternalName" {
            return Ok((service["spec"]["externalName"].as_str().unwrap_or_default().to_owned(), port));
        }
        let port_name =
            port_name(&service, port).ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
        self.endpoint(namespace, name, &port_name)
    }

    /// One of the ready endpoints of a Service's port of that name, each in its turn.
    pub(crate) fn endpoint(&self, namespace: &str, name: &str, port_name: &str) -> Result<(String, u16), String> {
        let room = self.cache.stored("endpointslices").ok_or("there are no EndpointSlices")?;
        let (slices, _) = room.snapshot(&Filter::of_namespace(namespace));
        let slices = slices.iter().filter(|slice| slice.labels.get(SERVICE_LABEL).is_some_and(|label| label == name));
        let mut found: Vec<(String, u16)> = slices.flat_map(|slice| endpoints(&slice.value(), port_name)).collect();
        if found.is_empty() {
            return Err(format!("no endpoints available for service {name:?}"));
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % found.len();
        Ok(found.swap_remove(turn))
    }
}

fn port_name(service: &Value, port: u16) -> Option<String> {
    let ports = service["spec"]["ports"].as_array()?;
    let found = ports.iter().find(|candidate| candidate["port"] == port)?;
    Some(found["name"].as_str().unwrap_or_default().to_owned())
}

/// The ready endpoints of a slice.
fn endpoints(slice: &Value, port_name: &str) -> Vec<(String, u16)> {
    let items = |field: &str| slice[field].as_array().map(Vec::as_slice).unwrap_or_default();
    let port = items("ports").iter().find(|port| port["name"].as_str().unwrap_or_default() == port_name);
    let port = port.and_then(|port| u16::try_from(port["port"].as_u64()?).ok());
    let Some(port) = port else { return Vec::new() };
    let ready = items("endpoints").iter().filter(|endpoint| endpoint["conditions"]["ready"] != false);
    ready.filter_map(|endpoint| Some((endpoint["addresses"][0].as_str()?.to_owned(), port))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ready_endpoints_of_the_named_port() {
        let slice = json!({
            "ports": [{ "name": "other", "port": 1 }, { "name": "https", "port": 8443 }],
            "endpoints": [
                { "addresses": ["10.0.0.1"], "conditions": { "ready": false } },
                { "addresses": ["10.0.0.2"] },
                { "addresses": ["10.0.0.3"], "conditions": { "ready": true } },
            ],
        });
        let found = [("10.0.0.2".to_owned(), 8443), ("10.0.0.3".to_owned(), 8443)];
        assert_eq!(endpoints(&slice, "https"), found);
        assert_eq!(endpoints(&slice, ""), []);
    }

    #[test]
    fn ports_of_a_service() {
        let service = json!({ "spec": { "ports": [{ "port": 443, "name": "https" }, { "port": 80 }] } });
        assert_eq!(port_name(&service, 443).as_deref(), Some("https"));
        assert_eq!(port_name(&service, 80).as_deref(), Some(""));
        assert_eq!(port_name(&service, 81), None);
    }
}
