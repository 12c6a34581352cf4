//! Whose certificate is believed at the other end.
//!
//! A bundle may hold the server's own certificate: many installers make one certificate that signs itself and give it
//! out as the authority. Such a certificate is believed as it stands, by its name and its dates.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sampan_streams::tls::Anyone;
use serde_json::Value;

/// Whom to believe.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Trust {
    /// The authorities in this PEM bundle; without any, those of the system.
    Bundle(Vec<u8>),
    /// Whoever answers.
    Anyone,
}

/// A certificate to show, with its key.
pub(crate) type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Trust {
    /// The authorities in a `caBundle`, which is PEM in base64.
    pub(crate) fn of_bundle(value: &Value) -> Result<Self, String> {
        let text = value.as_str().unwrap_or_default();
        STANDARD.decode(text).map(Self::Bundle).map_err(|error| format!("caBundle: {error}"))
    }

    /// The TLS configuration of a client that believes so, and shows a certificate if it has one.
    pub(crate) fn client_config(&self, shown: Option<Shown>) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = self.verifier(&provider)?;
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        match shown {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string()),
        }
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let bundle = match self {
            Self::Anyone => return Ok(Arc::new(Anyone(Arc::clone(provider)))),
            Self::Bundle(pem) => authorities(pem)?,
        };
        let system = bundle.is_empty();
        let roots = if system { system_roots() } else { bundle.clone() };
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots);
        if store.is_empty() {
            return Err("unable to load root certificates: there are none".to_owned());
        }
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
        let inner = inner.build().map_err(|error| error.to_string())?;
        Ok(Arc::new(Verifier { inner, pinned: bundle }))
    }
}

/// The certificates in a PEM bundle.
fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = || "unable to load root certificates: unable to parse bytes as PEM block".to_owned();
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|_| unreadable())?;
    if found.is_empty() && !pem.is_empty() {
        return Err(unreadable());
    }
    Ok(found)
}

/// The system's authorities, read once.
fn system_roots() -> Vec<CertificateDer<'static>> {
    static ROOTS: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    ROOTS.get_or_init(|| rustls_native_certs::load_native_certs().certs).clone()
}

#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    /// Certificates that are believed as they stand.
    pinned: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.pinned.iter().any(|pinned| pinned.as_ref() == shown.as_ref()) {
            return self.inner.verify_server_cert(shown, between, name, stapled, now);
        }
        rustls::client::verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
        let (from, until) = sampan_auth::certificate::validity(shown)
            .map_err(|error| Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error)))))?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if !(from.as_second()..=until.as_second()).contains(&now) {
            return Err(Error::InvalidCertificate(CertificateError::Expired));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, shown, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
