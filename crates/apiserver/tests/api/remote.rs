//! An HTTPS server on loopback that stands for someone else's: webhooks, aggregated APIs.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sampan_auth::authority::{Authority, Purpose};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A running server; it ends with the test.
pub(crate) struct Remote {
    pub(crate) address: SocketAddr,
    /// The PEM of its authority, in base64, as a `caBundle` carries it.
    pub(crate) bundle: String,
}

impl Remote {
    /// Starts a server that is called `localhost` and `dns`, and answers so.
    pub(crate) async fn start<F, A>(dns: &[&str], answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let now = sampan_clock::now();
        let authority = Authority::load(&Authority::generate("remote", now).unwrap()).unwrap();
        let dns = dns.iter().chain(&["localhost"]).map(|name| (*name).to_owned()).collect();
        let purpose = Purpose::Server { name: "remote".to_owned(), dns, addresses: vec![Ipv4Addr::LOCALHOST.into()] };
        let issued = authority.issue(&purpose, now).unwrap();
        let chain = CertificateDer::pem_slice_iter(issued.certificate_pem.as_bytes()).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
        let mut tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain.unwrap(), key).unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(tls)), answer));
        Self { address, bundle: STANDARD.encode(authority.certificate_pem()) }
    }
}

async fn serve<F, A>(listener: TcpListener, acceptor: TlsAcceptor, answer: F)
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, answer) = (acceptor.clone(), answer.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| {
                let answer = answer.clone();
                async move { Ok::<_, Infallible>(answer(request).await) }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
    }
}
