//! The TLS configuration of the kubelet's API.

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use crate::Error;

/// Serves with `certificate_pem` and `key_pem`; a client's certificate, if it shows one, must be of the cluster's
/// authority `ca_pem`. A client without one needs a bearer token: there is no anonymous access.
///
/// # Errors
/// One of the three cannot be read.
pub fn tls_config(ca_pem: &[u8], certificate_pem: &[u8], key_pem: &[u8]) -> Result<ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem) {
        roots.add(certificate.map_err(fault)?).map_err(fault)?;
    }
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(fault)?;
    let chain = CertificateDer::pem_slice_iter(certificate_pem).collect::<Result<Vec<_>, _>>().map_err(fault)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(fault)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(fault)?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(fault)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn fault(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Serve(std::io::Error::other(error))
}
