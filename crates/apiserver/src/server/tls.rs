//! How the server shows itself, and what a client's certificate makes of it: a user, a front proxy, or nothing.
//!
//! Two authorities vouch for clients, each for one thing alone: a certificate of the front proxies' authority makes
//! nobody a user, whatever names stand in it.
//!
//! The handshake takes any certificate whose key the client proves to have; whom it makes of the client is decided behind
//! it. So who shows a stranger's certificate is answered (401, or as the token says that comes with it), as upstream does.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use sampan_auth::authority::Issued;
use sampan_auth::{Peer, certificate};

use crate::aggregator::FrontProxy;

/// Takes whatever certificate comes: the client must have its key, nobody must vouch for it.
#[derive(Debug)]
struct AnyCertificate {
    /// The authorities that clients are told of, so that they find the certificate to show.
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
        // Nothing follows from it: see [`Authorities::peer`].
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

/// Why the server cannot listen with the certificates it was given.
type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Who vouches for clients.
pub(super) struct Authorities {
    users: Arc<dyn ClientCertVerifier>,
    front_proxies: Option<FrontProxies>,
}

struct FrontProxies {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Their common names; any when empty.
    allowed_names: Vec<String>,
}

/// The TLS configuration with which to listen, and what it takes of clients' certificates. Nobody must show one.
pub(super) fn configure(
    served: &Issued,
    users_pem: &str,
    front: Option<&FrontProxy>,
) -> Result<(ServerConfig, Authorities), Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let front_pem = front.map(|front| front.authority_pem.as_str());
    let told = verifier([Some(users_pem), front_pem].into_iter().flatten(), &provider)?;
    let front_proxies = front.map(|front| {
        let verifier = verifier([front.authority_pem.as_str()], &provider)?;
        Ok::<_, Fault>(FrontProxies { verifier, allowed_names: front.headers.allowed_names.clone() })
    });
    let authorities =
        Authorities { users: verifier([users_pem], &provider)?, front_proxies: front_proxies.transpose()? };
    let chain = CertificateDer::pem_slice_iter(served.certificate_pem.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(served.key_pem.as_bytes())?;
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config =
        config.with_client_cert_verifier(Arc::new(AnyCertificate { told })).with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((config, authorities))
}

fn verifier<'a>(
    bundles: impl IntoIterator<Item = &'a str>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Fault> {
    let mut roots = RootCertStore::empty();
    for bundle in bundles {
        for authority in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(authority?)?;
        }
    }
    let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
    Ok(builder.allow_unauthenticated().build()?)
}

impl Authorities {
    /// Who is at the other end of a connection from `address` that showed `chain` in its handshake.
    pub(super) fn peer(&self, address: SocketAddr, chain: &[CertificateDer<'_>]) -> Peer {
        let [shown, between @ ..] = chain else {
            return Peer::Remote { address, user: None, front_proxy: false, stranger: false };
        };
        let front_proxy = self.is_front_proxy(shown, between);
        if let Err(why) = self.users.verify_client_cert(shown, between, UnixTime::now()) {
            tracing::debug!(%why, "nobody vouches for a client certificate");
            return Peer::Remote { address, user: None, front_proxy, stranger: true };
        }
        let named = certificate::identity(shown);
        let user = named.inspect_err(|why| tracing::debug!(%why, "a client certificate names no user")).ok();
        Peer::Remote { address, user, front_proxy, stranger: false }
    }

    fn is_front_proxy(&self, shown: &CertificateDer<'_>, between: &[CertificateDer<'_>]) -> bool {
        let Some(FrontProxies { verifier, allowed_names }) = &self.front_proxies else { return false };
        if verifier.verify_client_cert(shown, between, UnixTime::now()).is_err() {
            return false;
        }
        let name = certificate::common_name(shown).unwrap_or_default();
        let allowed = allowed_names.is_empty() || allowed_names.contains(&name);
        if !allowed {
            tracing::debug!(name, "a front proxy's name is not among those allowed");
        }
        allowed
    }
}
