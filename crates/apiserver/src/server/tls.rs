//! How the server shows itself, and what a client's certificate makes of it: a user, a front proxy, or nothing.
//!
//! Two authorities vouch for clients, each for one thing alone: a certificate of the front proxies' authority makes
//! nobody a user, whatever names stand in it.
//! Behind the handshake, that is, which takes any certificate: see [`sampan_auth::handshake`].

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sampan_auth::authority::Issued;
use sampan_auth::handshake::Vouching;
use sampan_auth::{Peer, certificate};

use crate::aggregator::FrontProxy;

/// Why the server cannot listen with the certificates it was given.
type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Who vouches for clients.
pub(super) struct Authorities {
    users: Vouching,
    front_proxies: Option<FrontProxies>,
}

struct FrontProxies {
    authority: Vouching,
    /// Their common names; any when empty.
    allowed_names: Vec<String>,
}

/// The TLS configuration with which to listen, and what it takes of clients' certificates. Nobody must show one.
pub(super) fn configure(
    served: &Issued,
    users_pem: &str,
    front: Option<&FrontProxy>,
) -> Result<(ServerConfig, Authorities), Fault> {
    let users_pem = users_pem.as_bytes();
    let front_pem = front.map(|front| front.authority_pem.as_bytes());
    let told = Vouching::new([Some(users_pem), front_pem].into_iter().flatten())?;
    let front_proxies = front.map(|front| {
        let authority = Vouching::new([front.authority_pem.as_bytes()])?;
        Ok::<_, Fault>(FrontProxies { authority, allowed_names: front.headers.allowed_names.clone() })
    });
    let authorities = Authorities { users: Vouching::new([users_pem])?, front_proxies: front_proxies.transpose()? };
    let chain = CertificateDer::pem_slice_iter(served.certificate_pem.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(served.key_pem.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_client_cert_verifier(told.handshake()).with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((config, authorities))
}

impl Authorities {
    /// Who is at the other end of a connection from `address` that showed `chain` in its handshake.
    pub(super) fn peer(&self, address: SocketAddr, chain: &[CertificateDer<'_>]) -> Peer {
        let [shown, ..] = chain else {
            return Peer::Remote { address, user: None, front_proxy: false, stranger: false };
        };
        let front_proxy = self.is_front_proxy(chain);
        if let Err(why) = self.users.vouches(chain) {
            tracing::debug!(%why, "nobody vouches for a client certificate");
            return Peer::Remote { address, user: None, front_proxy, stranger: true };
        }
        let named = certificate::identity(shown);
        let user = named.inspect_err(|why| tracing::debug!(%why, "a client certificate names no user")).ok();
        Peer::Remote { address, user, front_proxy, stranger: false }
    }

    fn is_front_proxy(&self, chain: &[CertificateDer<'_>]) -> bool {
        let Some(FrontProxies { authority, allowed_names }) = &self.front_proxies else { return false };
        if authority.vouches(chain).is_err() {
            return false;
        }
        let name = chain.first().and_then(|shown| certificate::common_name(shown).ok()).unwrap_or_default();
        let allowed = allowed_names.is_empty() || allowed_names.contains(&name);
        if !allowed {
            tracing::debug!(name, "a front proxy's name is not among those allowed");
        }
        allowed
    }
}
