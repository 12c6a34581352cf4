//! The TLS configuration of the kubelet's API.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use sampan_auth::{Identity, certificate, handshake::Vouching};

use crate::Error;

/// How the server shows itself, and who vouches for its clients.
#[derive(Clone)]
pub struct Tls {
    pub(super) config: Arc<ServerConfig>,
    clients: Vouching,
}

impl Tls {
    /// Serves with `certificate_pem` and `key_pem`; a client's certificate, if it shows one, must be of the cluster's
    /// authority `ca_pem`. A client without such a one needs a bearer token: there is no anonymous access.
    ///
    /// # Errors
    /// One of the three cannot be read.
    pub fn new(ca_pem: &[u8], certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, Error> {
        let clients = Vouching::new([ca_pem]).map_err(fault)?;
        let chain = CertificateDer::pem_slice_iter(certificate_pem).collect::<Result<Vec<_>, _>>().map_err(fault)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(fault)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(fault)?
            .with_client_cert_verifier(clients.handshake())
            .with_single_cert(chain, key)
            .map_err(fault)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), clients })
    }

    /// Whom the chain that a client has shown names, if the cluster's authority vouches for it.
    pub(super) fn user(&self, chain: &[CertificateDer<'_>]) -> Option<Identity> {
        let shown = chain.first()?;
        if let Err(why) = self.clients.vouches(chain) {
            tracing::debug!(%why, "kubelet API: nobody vouches for a client certificate");
            return None;
        }
        certificate::identity(shown).ok()
    }
}

fn fault(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Serve(std::io::Error::other(error))
}
