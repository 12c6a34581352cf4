//! HTTP to one endpoint: connections, trust and time limits. It decides nothing about what is sent.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use sampan_streams::tls::Anyone;

use super::PullOptions;
use super::dialer::Dialer;
use super::error::Error;
use super::hosts::Trust;

const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const AGENT: HeaderValue = HeaderValue::from_static(concat!("sampan/", env!("CARGO_PKG_VERSION")));

/// Connections under one trust.
pub(super) struct Transport {
    client: Client<HttpsConnector<Dialer>, Full<Bytes>>,
    /// How long nothing may come.
    stall: Duration,
}

impl Transport {
    pub(super) fn new(trust: &Trust, dial: Option<Duration>, options: &PullOptions) -> Result<Self, Error> {
        let dialer = Dialer::new(dial.unwrap_or(DIAL_TIMEOUT).min(options.stall_timeout), &options.proxy);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config(trust)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(dialer);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { client, stall: options.stall_timeout })
    }

    /// Sends one request and waits for the beginning of its answer.
    pub(super) async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        request.headers_mut().insert(USER_AGENT, AGENT);
        let (method, url) = (request.method().to_string(), shown(request.uri()));
        let failed = |reason: String| Error::Request { method, url, reason };
        match tokio::time::timeout(self.stall, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(failed(causes(&error))),
            Err(_) => Err(failed(format!("no answer within {:?}", self.stall))),
        }
    }

    /// The next bytes of a body; `None` at its end.
    pub(super) async fn next(&self, body: &mut Incoming, what: &str) -> Result<Option<Bytes>, Error> {
        let failed = |reason: String| Error::Transfer { what: what.to_owned(), reason };
        loop {
            match tokio::time::timeout(self.stall, body.frame()).await {
                Err(_) => return Err(failed(format!("nothing came for {:?}", self.stall))),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(failed(causes(&error))),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// A whole body of at most `limit` bytes.
    pub(super) async fn all(&self, mut body: Incoming, what: &str, limit: usize) -> Result<Bytes, Error> {
        let mut all = BytesMut::new();
        while let Some(bytes) = self.next(&mut body, what).await? {
            if all.len() + bytes.len() > limit {
                return Err(Error::content(what, format!("it is larger than {limit} bytes")));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }
}

/// A URL as it may be shown: a query can hold a signature that is as good as a password.
pub(super) fn shown(uri: &Uri) -> String {
    let text = uri.to_string();
    text.split('?').next().unwrap_or_default().to_owned()
}

/// An error with what led to it: the outermost alone rarely says it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        next = cause.source();
    }
    words
}

fn config(trust: &Trust) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::content("TLS", error.to_string()))?;
    let builder = if trust.skip_verify {
        // Somebody has written that into the registry's settings.
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
    } else {
        builder.with_root_certificates(authorities(&trust.authorities)?)
    };
    match &trust.client {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let unreadable = |path: &Path, reason: String| Error::Hosts { path: path.to_path_buf(), reason };
            let chain = certificates(certificate)?;
            let own = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error.to_string()))?;
            builder.with_client_auth_cert(chain, own).map_err(|error| unreadable(certificate, error.to_string()))
        }
    }
}

/// The system's authorities, and those of `files`.
fn authorities(files: &[std::path::PathBuf]) -> Result<RootCertStore, Error> {
    static SYSTEM: OnceLock<RootCertStore> = OnceLock::new();
    let mut roots = SYSTEM
        .get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        })
        .clone();
    for file in files {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|error| Error::Hosts { path: file.clone(), reason: error.to_string() })?;
        }
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| Error::Hosts { path: file.to_path_buf(), reason: error.to_string() })
}
