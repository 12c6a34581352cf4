//! The two transports below [`kube::Client`].

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, header};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::Client;
use kube::client::Body;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sampan_auth::{Identity, Peer};
use tower::{BoxError, Service, ServiceExt};

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A dead network path is noticed within twice this time, by HTTP/2 pings.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server's address is no URL.
    #[error("the API server's address {url:?} is no https URL: {why}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate or key cannot be read.
    #[error("reading {what}: {why}")]
    Credentials {
        /// Which of them.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// What an HTTPS client trusts and shows, all PEM.
#[derive(Clone)]
pub struct Credentials {
    /// The certificate authorities to trust.
    pub ca_pem: Vec<u8>,
    /// The client certificate chain.
    pub certificate_pem: Vec<u8>,
    /// Its private key.
    pub key_pem: Vec<u8>,
}

/// A client of the API server in this process, acting as `identity`. `service` is the server's own entry: requests
/// take the same way through it as those from the network. `program` is its user agent, by which objects and the
/// audit log tell who wrote what.
pub fn in_memory<S>(service: S, identity: Identity, program: &'static str) -> Client
where
    S: Service<Request<axum::body::Body>, Response = Response<axum::body::Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    let agent = HeaderValue::from_str(&format!("{program}/{}", env!("CARGO_PKG_VERSION")));
    let agent = agent.expect("invariant: programs have names of plain letters");
    let service = service.map_request(move |request: Request<Body>| {
        let mut request = request.map(axum::body::Body::new);
        request.headers_mut().insert(header::USER_AGENT, agent.clone());
        request.extensions_mut().insert(Peer::InProcess(identity.clone()));
        request
    });
    Client::new(service, "default")
}

/// A client of the API server at `url`, over HTTP/2 and TLS with a client certificate.
pub fn https(url: &str, credentials: &Credentials) -> Result<Client, Error> {
    let base: http::Uri = url.parse().map_err(|e| Error::Address { url: url.to_owned(), why: format!("{e}") })?;
    let authority = match (base.scheme_str(), base.authority()) {
        (Some("https"), Some(authority)) => authority.clone(),
        _ => return Err(Error::Address { url: url.to_owned(), why: "expected https://host:port".to_owned() }),
    };
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls_config(credentials)?)
        .https_only()
        .enable_all_versions()
        .wrap_connector(tcp_connector());
    let client: hyper_util::client::legacy::Client<_, Body> =
        hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .http2_keep_alive_interval(KEEPALIVE)
            .timer(hyper_util::rt::TokioTimer::new())
            .build(connector);
    let service = client.map_request(move |mut request: Request<Body>| {
        *request.uri_mut() = absolute(request.uri(), &authority);
        request
    });
    Ok(Client::new(service, "default"))
}

fn absolute(uri: &http::Uri, authority: &http::uri::Authority) -> http::Uri {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
    let parts = http::Uri::builder().scheme("https").authority(authority.clone()).path_and_query(path);
    parts.build().expect("invariant: scheme, authority and path are each valid")
}

fn tcp_connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector
}

fn tls_config(credentials: &Credentials) -> Result<rustls::ClientConfig, Error> {
    let fault = |what| move |e: &dyn std::fmt::Display| Error::Credentials { what, why: e.to_string() };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&credentials.ca_pem) {
        let certificate = certificate.map_err(|e| fault("the certificate authority")(&e))?;
        roots.add(certificate).map_err(|e| fault("the certificate authority")(&e))?;
    }
    let chain = CertificateDer::pem_slice_iter(&credentials.certificate_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| fault("the client certificate")(&e))?;
    let key = PrivateKeyDer::from_pem_slice(&credentials.key_pem).map_err(|e| fault("the client key")(&e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| fault("the TLS configuration")(&e))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|e| fault("the client certificate")(&e))
}
