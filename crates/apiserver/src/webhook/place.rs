//! Where a webhook is, as objects say it.

use rustls_pki_types::ServerName;
use serde_json::Value;

use super::trust::Trust;

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// A host, by name or address.
    Host(String, u16),
    /// A port of a Service.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port.
        port: u16,
    },
}

/// A place that speaks HTTPS, and whom to believe there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Where to connect.
    pub(crate) address: Address,
    /// The path with its leading slash, and a query; or empty.
    pub(crate) path: String,
    /// Whose certificate is believed.
    pub(crate) trust: Trust,
}

impl Place {
    /// The place of a `clientConfig` of a webhook or a conversion.
    pub(crate) fn of_client_config(config: &Value) -> Result<Self, String> {
        let trust = Trust::of_bundle(&config["caBundle"])?;
        if let Some(url) = config["url"].as_str() {
            return Self::of_url(url, trust);
        }
        let service = &config["service"];
        let path = service["path"].as_str().unwrap_or_default();
        let path = if path.is_empty() || path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { address: Self::of_service(service)?, path, trust })
    }

    /// The place of a URL.
    pub(crate) fn of_url(url: &str, trust: Trust) -> Result<Self, String> {
        let (address, path) = of_url(url)?;
        Ok(Self { address, path, trust })
    }

    /// The address of a reference to a Service's port.
    pub(crate) fn of_service(service: &Value) -> Result<Address, String> {
        let text = |field: &str| service[field].as_str().unwrap_or_default().to_owned();
        let port = service["port"].as_u64().unwrap_or(443);
        let port = u16::try_from(port).map_err(|_| format!("invalid port {port}"))?;
        Ok(Address::Service { namespace: text("namespace"), name: text("name"), port })
    }

    /// The whole URL.
    pub(crate) fn url(&self) -> String {
        match &self.address {
            Address::Host(host, 443) => format!("https://{}{}", bracketed(host), self.path),
            Address::Host(host, port) => format!("https://{}:{port}{}", bracketed(host), self.path),
            Address::Service { namespace, name, port } => format!("https://{name}.{namespace}.svc:{port}{}", self.path),
        }
    }

    /// The name that the other side's certificate must have.
    pub(crate) fn server_name(&self) -> Result<ServerName<'static>, String> {
        let name = match &self.address {
            Address::Host(host, _) => host.clone(),
            Address::Service { namespace, name, .. } => format!("{name}.{namespace}.svc"),
        };
        ServerName::try_from(name.clone()).map_err(|_| format!("invalid server name {name:?}"))
    }
}

fn of_url(url: &str) -> Result<(Address, String), String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("parse {url:?}: {error}"))?;
    let host = uri.host().ok_or_else(|| format!("parse {url:?}: no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let path = if uri.path() == "/" && !url.ends_with('/') { "" } else { uri.path() };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Ok((Address::Host(host, uri.port_u16().unwrap_or(443)), format!("{path}{query}")))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(config: Value, url: &str, name: &str) {
        let place = Place::of_client_config(&config).unwrap();
        assert_eq!(place.url(), url);
        assert_eq!(place.server_name().unwrap().to_str(), name);
    }

    #[test]
    fn places() {
        let service = |more: Value| {
            let mut service = json!({ "name": "s", "namespace": "n" });
            service.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "service": service })
        };
        check(service(json!({ "path": "/p" })), "https://s.n.svc:443/p", "s.n.svc");
        check(service(json!({ "port": 8443 })), "https://s.n.svc:8443", "s.n.svc");
        check(json!({ "url": "https://h.example/a/b" }), "https://h.example/a/b", "h.example");
        check(json!({ "url": "https://h:99" }), "https://h:99", "h");
        check(json!({ "url": "https://[::1]:99/" }), "https://[::1]:99/", "::1");
        assert!(Place::of_client_config(&json!({ "url": "https://h", "caBundle": "*" })).is_err());
    }
}
