//! The network transport: TLS, client certificates, limits, shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sampan_apiserver::Listen;
use sampan_auth::authority::{Authority, Issued, Purpose};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::support::{Cluster, read};

struct Site {
    cluster: Cluster,
    authority: Authority,
    address: SocketAddr,
}

fn chain(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(issued.certificate_pem.as_bytes()).collect::<Result<_, _>>().unwrap();
    (chain, PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap())
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap()).unwrap();
    roots
}

impl Site {
    async fn open() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let now = sampan_clock::now();
        let authority = Authority::load(&Authority::generate("test", now).unwrap()).unwrap();
        let purpose = Purpose::Server {
            name: "kube-apiserver".to_owned(),
            dns: vec!["localhost".to_owned()],
            addresses: Vec::new(),
        };
        let (certificates, key) = chain(&authority.issue(&purpose, now).unwrap());
        let clients = WebPkiClientVerifier::builder(Arc::new(roots(&authority))).allow_unauthenticated().build();
        let tls = ServerConfig::builder().with_client_cert_verifier(clients.unwrap());
        let tls = Arc::new(tls.with_single_cert(certificates, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cluster = Cluster::listening(Some(Listen { listener, tls })).await;
        Self { cluster, authority, address }
    }

    fn client(&self, user: Option<(&str, &str)>) -> ClientConfig {
        let config = ClientConfig::builder().with_root_certificates(roots(&self.authority));
        let Some((user, group)) = user else { return config.with_no_client_auth() };
        let purpose = Purpose::Client { user: user.to_owned(), group: Some(group.to_owned()) };
        let (certificates, key) = chain(&self.authority.issue(&purpose, sampan_clock::now()).unwrap());
        config.with_client_auth_cert(certificates, key).unwrap()
    }

    async fn get(&self, user: Option<(&str, &str)>, path: &str) -> http::Response<hyper::body::Incoming> {
        self.send(user, Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn send(&self, user: Option<(&str, &str)>, request: Request<Body>) -> http::Response<hyper::body::Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(self.client(user))).connect(name, stream).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }
}

#[tokio::test]
async fn certificates_say_who_is_there() {
    let site = Site::open().await;
    let whole = |path| site.get(Some(("root", "system:masters")), path);
    assert_eq!(whole("/api/v1/namespaces").await.status(), 200);
    let (code, answer) = read(site.get(Some(("eve", "people")), "/api/v1/secrets").await.map(Body::new)).await;
    assert_eq!((code, answer["reason"].as_str()), (403, Some("Forbidden")));
    assert_eq!(site.get(None, "/api/v1/namespaces").await.status(), 401);
    assert_eq!(site.get(None, "/readyz").await.status(), 200);
    site.cluster.handle.shutdown().await;
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let site = Site::open().await;
    let request = Request::post("/api/v1/namespaces/default/configmaps").header("content-type", "application/json");
    let request = request.body(Body::from(vec![b' '; (3 << 20) + 1])).unwrap();
    assert_eq!(site.send(Some(("root", "system:masters")), request).await.status(), 413);
    site.cluster.handle.shutdown().await;
}

#[tokio::test]
async fn shutdown_ends_watches() {
    let site = Site::open().await;
    let mut watch = site.get(Some(("root", "system:masters")), "/api/v1/namespaces?watch=1").await.into_body();
    watch.frame().await.unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(10), site.cluster.handle.shutdown()).await.expect("an end in time");
    while let Some(Ok(_)) = watch.frame().await {}
}
