//! Clients' certificates in a TLS handshake.
//!
//! The handshake takes any certificate whose key the client proves to have; whom it makes of the client is decided behind
//! it, by those who vouch ([`Vouching`]). So who shows a stranger's certificate is answered (401, or as the token says that
//! comes with it), as upstream does, and not just cut off.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use crate::Error;

/// The authorities that vouch for clients.
#[derive(Clone, Debug)]
pub struct Vouching(Arc<dyn ClientCertVerifier>);

impl Vouching {
    /// The authorities in these bundles, PEM. Fails if there is none, or one that cannot be read.
    pub fn new<'a>(bundles: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for authority in bundles.into_iter().flat_map(CertificateDer::pem_slice_iter) {
            roots.add(authority.map_err(unusable)?).map_err(unusable)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        Ok(Self(builder.allow_unauthenticated().build().map_err(unusable)?))
    }

    /// What a server is configured with: nobody must show a certificate, any is taken, and clients are told of these
    /// authorities, so that they find the one to show.
    pub fn handshake(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::new(AnyCertificate { told: Arc::clone(&self.0) })
    }

    /// Whether one of the authorities vouches now for the first certificate of the `chain` that a client has shown; if
    /// not, why.
    pub fn vouches(&self, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        let [shown, between @ ..] = chain else { return Err(unusable("there is none")) };
        self.0.verify_client_cert(shown, between, UnixTime::now()).map_err(unusable)?;
        Ok(())
    }
}

fn unusable(why: impl std::fmt::Display) -> Error {
    Error::Certificate(why.to_string())
}

/// Takes whatever certificate comes: the client must have its key, nobody must vouch for it.
#[derive(Debug)]
struct AnyCertificate {
    told: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.told.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _shown: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // Nothing follows from it: see [`Vouching::vouches`].
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.told.verify_tls12_signature(message, shown, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.told.verify_tls13_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.told.supported_verify_schemes()
    }
}
