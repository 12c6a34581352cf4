//! The network transport: TLS, client certificates, limits, shutdown.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use http::Request;
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::ResolvesClientCert;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sampan_apiserver::{Listen, Options};
use sampan_auth::authority::{Authority, Issued, Purpose};
use sampan_store::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use serde_json::{Value, json};

use crate::support::{Cluster, embedded_store, front_proxies, front_proxy, open_store, read};

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

fn server_purpose() -> Purpose {
    Purpose::Server {
        name: "server".to_owned(),
        dns: vec!["localhost".to_owned()],
        addresses: vec![Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(192, 0, 2, 10).into()],
    }
}

pub(crate) fn server(authority: &Authority) -> ServerConfig {
    let (certificates, key) = chain(&authority.issue(&server_purpose(), sampan_clock::now()).unwrap());
    let clients = WebPkiClientVerifier::builder(Arc::new(roots(authority))).allow_unauthenticated().build();
    let tls = ServerConfig::builder().with_client_cert_verifier(clients.unwrap());
    tls.with_single_cert(certificates, key).unwrap()
}

pub(crate) fn client(authority: &Authority, user: Option<(&str, &str)>) -> ClientConfig {
    match user {
        Some(user) => client_of(authority, authority, user),
        None => ClientConfig::builder().with_root_certificates(roots(authority)).with_no_client_auth(),
    }
}

/// A client of a server that has its certificate from `theirs`; the client has its own from `ours`.
fn client_of(theirs: &Authority, ours: &Authority, (user, group): (&str, &str)) -> ClientConfig {
    let purpose = Purpose::Client { user: user.to_owned(), group: Some(group.to_owned()) };
    let (certificates, key) = chain(&ours.issue(&purpose, sampan_clock::now()).unwrap());
    let config = ClientConfig::builder().with_root_certificates(roots(theirs));
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
        Self::with(store, |_| ()).await
    }

    /// On a store of its own, with other options.
    pub(crate) async fn configured(change: impl FnOnce(&mut Options)) -> Self {
        let (store, dir) = open_store().await;
        Self { _dir: dir, ..Self::with(store, change).await }
    }

    async fn with(store: Arc<dyn Store>, change: impl FnOnce(&mut Options)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let now = sampan_clock::now();
        let authority = Authority::load(&Authority::generate("test", now).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kubelets = Arc::new(client(&authority, Some(("kubelet-client", "system:masters"))));
        let certificate = authority.issue(&server_purpose(), now).unwrap();
        let cluster = Cluster::with(store, |options| {
            options.listen = Some(Listen { listener, certificate });
            options.client_authority_pem = authority.certificate_pem().to_owned();
            options.kubelet_tls = Some(kubelets);
            change(options);
        });
        Self { cluster: cluster.await, door: Arc::new(Door { authority, address }), _dir: None }
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
        self.send_through(client(&self.authority, user), request).await
    }

    /// Sends a request over a connection made so.
    async fn send_through(&self, tls: ClientConfig, request: Request<Body>) -> http::Response<hyper::body::Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap();
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

/// Who the server believes sent a request with the headers of a front proxy, over a connection made so.
async fn told(site: &Site, tls: ClientConfig, headers: &[(&str, &str)]) -> (u16, Value) {
    let mut request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews");
    for (name, value) in [("content-type", "application/json")].iter().chain(headers) {
        request = request.header(*name, *value);
    }
    let answer = site.send_through(tls, request.body(Body::from("{}")).unwrap()).await;
    let (code, answer) = read(answer.map(Body::new)).await;
    (code, answer["status"]["userInfo"].clone())
}

#[tokio::test]
async fn front_proxies_say_who_is_there_and_nobody_else_does() {
    let proxies = front_proxies();
    let site = Site::configured(|options| {
        let mut front = front_proxy(&proxies);
        front.headers.allowed_names.push("outer-proxy".to_owned());
        front.headers.username.push("X-User".to_owned());
        options.front_proxy = Some(front);
    })
    .await;
    let headers = [
        ("x-remote-user", "ann"),
        ("x-remote-uid", "7"),
        ("x-remote-group", "a"),
        ("x-remote-group", "b"),
        ("x-remote-extra-example.org%2frealm", "corp"),
    ];
    let proxy = |name| client_of(&site.authority, &proxies, (name, "system:masters"));
    let ann = json!({
        "username": "ann", "uid": "7", "groups": ["a", "b", "system:authenticated"],
        "extra": { "example.org/realm": ["corp"] },
    });
    assert_eq!(told(&site, proxy("front-proxy-client"), &headers).await, (201, ann));
    let (code, user) = told(&site, proxy("outer-proxy"), &[("X-User", "bob")]).await;
    assert_eq!((code, &user["username"]), (201, &json!("bob")));

    // Its certificate makes the proxy no user itself, and a name that is not allowed no proxy.
    assert_eq!(told(&site, proxy("front-proxy-client"), &[]).await.0, 401);
    assert_eq!(told(&site, proxy("front-proxy-client"), &[("x-remote-group", "system:masters")]).await.0, 401);
    assert_eq!(told(&site, proxy("another"), &headers).await.0, 401);
    // The same headers from a user, or from nobody.
    let (code, user) = told(&site, client(&site.authority, Some(("front-proxy-client", "people"))), &headers).await;
    assert_eq!((code, &user["groups"]), (201, &json!(["people", "system:authenticated"])));
    assert_eq!(told(&site, client(&site.authority, None), &headers).await.0, 401);

    // Aggregated servers are told the same.
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let (_, published) = site.cluster.admin("GET", path, "").await;
    let data = &published["data"];
    assert_eq!(data["client-ca-file"], site.authority.certificate_pem());
    assert_eq!(data["requestheader-client-ca-file"], proxies.certificate_pem());
    assert_eq!(data["requestheader-allowed-names"], r#"["front-proxy-client","outer-proxy"]"#);
    assert_eq!(data["requestheader-username-headers"], r#"["X-Remote-User","X-User"]"#);
    site.cluster.handle.shutdown().await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_makes_no_user() {
    let site = Site::open().await;
    let foreign = Authority::load(&Authority::generate("foreign", sampan_clock::now()).unwrap()).unwrap();
    let stranger = || client_of(&site.authority, &foreign, ("root", "system:masters"));
    // Not even what is for everybody.
    for path in ["/api/v1/namespaces", "/readyz"] {
        let answer = site.send_through(stranger(), Request::get(path).body(Body::empty()).unwrap()).await;
        let (code, answer) = read(answer.map(Body::new)).await;
        let want = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "Unauthorized", "reason": "Unauthorized", "code": 401 });
        assert_eq!((code, answer), (401, want), "{path}");
    }
    // A token says who is there all the same.
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    assert_eq!(site.cluster.admin("POST", accounts, r#"{"metadata":{"name":"ann"}}"#).await.0, 201);
    let (_, made) = site.cluster.admin("POST", &format!("{accounts}/ann/token"), r#"{"spec":{}}"#).await;
    let token = format!("Bearer {}", made["status"]["token"].as_str().unwrap());
    let (code, user) = told(&site, stranger(), &[("authorization", &token)]).await;
    assert_eq!((code, &user["username"]), (201, &json!("system:serviceaccount:default:ann")));
    site.cluster.handle.shutdown().await;
}

/// Shows a certificate without having its key.
#[derive(Debug)]
struct Copied(Arc<CertifiedKey>);

impl ResolvesClientCert for Copied {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_opens_nothing() {
    let site = Site::open().await;
    let root = Purpose::Client { user: "root".to_owned(), group: Some("system:masters".to_owned()) };
    let issue = || chain(&site.authority.issue(&root, sampan_clock::now()).unwrap());
    let ((shown, own), (_, other)) = (issue(), issue());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (key, works) in [(&own, true), (&other, false)] {
            let key = rustls::crypto::ring::sign::any_supported_type(key).unwrap();
            let copied = Copied(Arc::new(CertifiedKey::new(shown.clone(), key)));
            let config = ClientConfig::builder_with_protocol_versions(&[version]);
            let config = config.with_root_certificates(roots(&site.authority));
            let config = config.with_client_cert_resolver(Arc::new(copied));
            assert_eq!(answers(&site, config).await, works, "{version:?}");
        }
    }
    site.cluster.handle.shutdown().await;
}

/// Whether there is any answer over a connection made so: the client may learn late that the server has closed it.
async fn answers(site: &Site, tls: ClientConfig) -> bool {
    let stream = TcpStream::connect(site.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let Ok(stream) = TlsConnector::from(Arc::new(tls)).connect(name, stream).await else { return false };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/readyz").header("host", "localhost").body(Body::empty()).unwrap();
    sender.send_request(request).await.is_ok()
}

#[tokio::test]
async fn a_certificate_is_a_credential_with_a_name() {
    let site = Site::open().await;
    let (code, user) = told(&site, client(&site.authority, Some(("ann", "people"))), &[]).await;
    let id = user["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap();
    let digits = id.strip_prefix("X509SHA256=").unwrap();
    assert!(code == 201 && digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{user}");
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

/// A request whose body comes in pieces, and its answer, which has come whole before the first of them.
async fn answered_early(site: &Site) -> (u16, mpsc::Sender<Bytes>) {
    let stream = TokioIo::new(site.connect(("eve", "people"), "h2").await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let (pieces, mut sent) = mpsc::channel(1);
    let body = futures::stream::poll_fn(move |context| sent.poll_recv(context)).map(Ok::<Bytes, Infallible>);
    let request = Request::post("https://localhost/api/v1/namespaces/default/configmaps");
    let response = sender.send_request(request.body(Body::from_stream(body)).unwrap()).await.unwrap();
    let (code, _) = read(response.map(Body::new)).await;
    // What the server says right behind that answer has come before this one.
    let other = Request::get("https://localhost/version").body(Body::empty()).unwrap();
    assert_eq!(sender.send_request(other).await.unwrap().status(), 200);
    (code, pieces)
}

#[tokio::test]
async fn an_early_answer_does_not_cut_its_request_off() {
    let site = Site::open().await;
    let (code, pieces) = answered_early(&site).await;
    assert_eq!(code, 403);
    for _ in 0..3 {
        pieces.send(Bytes::from_static(b"{}")).await.expect("the body is still taken");
    }
    drop(pieces);
    site.cluster.handle.shutdown().await;
}

#[tokio::test]
async fn a_request_without_end_is_cut_off() {
    let site = Site::open().await;
    let (_, pieces) = answered_early(&site).await;
    while pieces.send(Bytes::from_static(&[0; 64 << 10])).await.is_ok() {}
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
