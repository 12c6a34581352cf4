//! The network transport: TLS, client certificates, limits, shutdown.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sampan_apiserver::Listen;
use sampan_auth::authority::{Authority, Issued, Purpose};
use sampan_store::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use serde_json::json;

use crate::support::{Cluster, embedded_store, open_store, read};

/// An API server that listens on loopback.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) door: Arc<Door>,
    _dir: Option<tempfile::TempDir>,
}

/// The way to it.
pub(crate) struct Door {
    pub(crate) authority: Authority,
    pub(crate) address: SocketAddr,
}

impl std::ops::Deref for Site {
    type Target = Door;

    fn deref(&self) -> &Door {
        &self.door
    }
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

pub(crate) fn server(authority: &Authority) -> ServerConfig {
    let purpose = Purpose::Server {
        name: "server".to_owned(),
        dns: vec!["localhost".to_owned()],
        addresses: vec![Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(192, 0, 2, 10).into()],
    };
    let (certificates, key) = chain(&authority.issue(&purpose, sampan_clock::now()).unwrap());
    let clients = WebPkiClientVerifier::builder(Arc::new(roots(authority))).allow_unauthenticated().build();
    let tls = ServerConfig::builder().with_client_cert_verifier(clients.unwrap());
    tls.with_single_cert(certificates, key).unwrap()
}

pub(crate) fn client(authority: &Authority, user: Option<(&str, &str)>) -> ClientConfig {
    let config = ClientConfig::builder().with_root_certificates(roots(authority));
    let Some((user, group)) = user else { return config.with_no_client_auth() };
    let purpose = Purpose::Client { user: user.to_owned(), group: Some(group.to_owned()) };
    let (certificates, key) = chain(&authority.issue(&purpose, sampan_clock::now()).unwrap());
    config.with_client_auth_cert(certificates, key).unwrap()
}

impl Site {
    /// On a store of its own.
    pub(crate) async fn open() -> Self {
        let (store, dir) = open_store().await;
        Self { _dir: dir, ..Self::on(store).await }
    }

    /// Where the network leads nowhere.
    pub(crate) async fn apart() -> Self {
        let (store, dir) = embedded_store();
        Self { _dir: dir, ..Self::on(store).await }
    }

    /// On a store that outlives it.
    pub(crate) async fn on(store: Arc<dyn Store>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let now = sampan_clock::now();
        let authority = Authority::load(&Authority::generate("test", now).unwrap()).unwrap();
        let tls = Arc::new(server(&authority));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kubelets = Arc::new(client(&authority, Some(("kubelet-client", "system:masters"))));
        let cluster = Cluster::on(store, Some(Listen { listener, tls }), Some(kubelets)).await;
        Self { cluster, door: Arc::new(Door { authority, address }), _dir: None }
    }
}

impl Door {
    /// A connection as `user`, with the protocol that is asked for.
    pub(crate) async fn connect(&self, user: (&str, &str), protocol: &str) -> TlsStream<TcpStream> {
        let mut config = client(&self.authority, Some(user));
        config.alpn_protocols = vec![protocol.into()];
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    pub(crate) async fn get(&self, user: Option<(&str, &str)>, path: &str) -> http::Response<hyper::body::Incoming> {
        self.send(user, Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Sends a request over a connection of its own.
    pub(crate) async fn send(
        &self,
        user: Option<(&str, &str)>,
        request: Request<Body>,
    ) -> http::Response<hyper::body::Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(client(&self.authority, user))).connect(name, stream).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
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
async fn large_headers_are_refused() {
    let site = Site::open().await;
    let root = ("root", "system:masters");
    let request = |host: &str| {
        let request = Request::get(format!("{host}/version")).header("host", "localhost");
        request.header("x-long", "x".repeat(100 << 10)).body(Body::empty()).unwrap()
    };
    let stream = TokioIo::new(site.connect(root, "http/1.1").await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(sender.send_request(request("")).await.unwrap().status(), 431);
    let stream = TokioIo::new(site.connect(root, "h2").await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    match sender.send_request(request("https://localhost")).await {
        Ok(response) => assert_eq!(response.status(), 431),
        Err(error) => assert!(!error.is_timeout(), "refused: {error}"),
    }
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

/// Stands for a kubelet: answers one request with what was asked of it, and by whom.
async fn kubelet(authority: &Authority) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server(authority)));
    tokio::spawn(async move {
        let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        let known = stream.get_ref().1.peer_certificates().is_some();
        let answer = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| async move {
            let told = request.headers().contains_key("authorization");
            let body = format!("{} {} known={known} told={told}", request.method(), request.uri());
            Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(body)))
        });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
    });
    address
}

#[tokio::test]
async fn logs_come_from_the_kubelet_of_the_pod_s_node() {
    let site = Site::open().await;
    let kubelet = kubelet(&site.authority).await;
    let node = json!({ "metadata": { "name": "n" }, "status": {
        "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": kubelet.port() } },
    } });
    let account = json!({ "metadata": { "name": "default" } });
    let pod = json!({ "metadata": { "name": "p" }, "spec": {
        "nodeName": "n", "containers": [{ "name": "c", "image": "i" }],
    } });
    let spaced = |kind: &str| format!("/api/v1/namespaces/default/{kind}");
    let made = [("/api/v1/nodes".to_owned(), &node), (spaced("serviceaccounts"), &account), (spaced("pods"), &pod)];
    for (path, object) in made {
        let (code, answer) = site.cluster.admin("POST", &path, &object.to_string()).await;
        assert_eq!(code, 201, "{answer}");
    }
    let root = Some(("root", "system:masters"));
    let response = site.get(root, &format!("{}?tailLines=3&follow=true", spaced("pods/p/log"))).await;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "GET /containerLogs/default/p/c?follow=true&tailLines=3 known=true told=false");
    // The same address is no goal for the proxy, which would reach this machine's own services.
    assert_eq!(site.get(root, "/api/v1/nodes/n/proxy/metrics").await.status(), 400);
    site.cluster.handle.shutdown().await;
}
