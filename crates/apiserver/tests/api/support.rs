//! An API server in memory on a store of its own, and requests to it.
//!
//! The store is the embedded one, or a prefix in an etcd when `SAMPAN_TEST_STORE=etcd` is in the environment: the same
//! tests hold for both.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use sampan_apiserver::{
    ApiServer, AuditOptions, AuthenticationOptions, AuthorizationOptions, FrontProxy, Handle, MAX_IN_FLIGHT, Options,
    Ranges, RequestHeaders, Version,
};
use sampan_auth::authority::{Authority, Purpose};
use sampan_auth::token::Tokens;
use sampan_auth::{Identity, Peer};
use sampan_store::Store;
use sampan_store::embedded::{self, Embedded};
use sampan_store::etcd::{self, Etcd};
use serde_json::Value;
use tokio::sync::OnceCell;
use tower::ServiceExt as _;

use crate::etcd_server::EtcdServer;

/// A running server with its directory, if it has one.
pub(crate) struct Cluster {
    pub(crate) handle: Handle,
    _dir: Option<tempfile::TempDir>,
}

/// The etcd of all tests of this process.
static ETCD: OnceCell<EtcdServer> = OnceCell::const_new();
/// How many prefixes in it are taken.
static PREFIXES: AtomicUsize = AtomicUsize::new(0);

/// A part of the etcd that nobody else uses.
pub(crate) async fn etcd_prefix() -> etcd::Options {
    let server = ETCD.get_or_init(EtcdServer::start).await;
    let prefix = PREFIXES.fetch_add(1, Ordering::Relaxed);
    etcd::Options { location: format!("etcd://{}/{prefix}", server.address).parse().unwrap(), tls: None }
}

/// A store of its own, with the directory that it is in.
pub(crate) async fn open_store() -> (Arc<dyn Store>, Option<tempfile::TempDir>) {
    if std::env::var_os("SAMPAN_TEST_STORE").is_some_and(|store| store == "etcd") {
        return (Arc::new(Etcd::connect(etcd_prefix().await).await.unwrap()), None);
    }
    embedded_store()
}

/// The same for those who cannot reach an etcd.
pub(crate) fn embedded_store() -> (Arc<dyn Store>, Option<tempfile::TempDir>) {
    let dir = tempfile::tempdir().unwrap();
    (Arc::new(Embedded::open(embedded::Options { dir: dir.path().into() }).unwrap()), Some(dir))
}

impl Cluster {
    /// Starts a server with nothing but what every cluster has.
    pub(crate) async fn start() -> Self {
        Self::configured(|_| ()).await
    }

    /// A server on a store that others may use too.
    pub(crate) async fn on(store: Arc<dyn Store>) -> Self {
        Self::with(store, |_| ()).await
    }

    /// A server with an audit log.
    pub(crate) async fn audited(audit: AuditOptions) -> Self {
        let (store, dir) = open_store().await;
        Self { _dir: dir, ..Self::with(store, |options| options.audit = Some(audit)).await }
    }

    /// A server on a store of its own, with other options.
    pub(crate) async fn configured(change: impl FnOnce(&mut Options)) -> Self {
        let (store, dir) = open_store().await;
        Self { _dir: dir, ..Self::with(store, change).await }
    }

    /// A server on a store that others may use too, with other options.
    pub(crate) async fn with(store: Arc<dyn Store>, change: impl FnOnce(&mut Options)) -> Self {
        let key = Tokens::generate_key().unwrap();
        let mut options = Options {
            store,
            kms: Vec::new(),
            tokens: Arc::new(Tokens::load("https://kubernetes.default.svc", &key).unwrap()),
            ranges: Ranges { addresses: "10.43.0.0/16".parse().unwrap(), node_ports: 30000..=32767 },
            advertised: "192.0.2.1:6443".parse().unwrap(),
            listen: None,
            kubelet_tls: None,
            audit: None,
            authentication: AuthenticationOptions::default(),
            authorization: AuthorizationOptions::default(),
            client_authority_pem: "clients".to_owned(),
            front_proxy: Some(front_proxy(&front_proxies())),
            version: Version::current(),
            max_in_flight: MAX_IN_FLIGHT,
        };
        change(&mut options);
        let handle = ApiServer::start(options).await.unwrap();
        Self { handle, _dir: None }
    }

    /// Sends a request.
    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.handle.service().oneshot(request).await.unwrap()
    }

    /// Sends a request as the administrator; status and JSON body.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        self.typed(method, path, "application/json", body).await
    }

    /// Sends a merge patch as the administrator.
    pub(crate) async fn merge(&self, path: &str, body: &str) -> (u16, Value) {
        self.typed("PATCH", path, "application/merge-patch+json", body).await
    }

    async fn typed(&self, method: &str, path: &str, media_type: &str, body: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("content-type", media_type);
        let request = request.extension(in_process("admin")).body(Body::from(body.to_owned())).unwrap();
        read(self.send(request).await).await
    }
}

/// An authority of front proxies.
pub(crate) fn front_proxies() -> Authority {
    Authority::load(&Authority::generate("front-proxy-ca", sampan_clock::now()).unwrap()).unwrap()
}

/// The server as a front proxy.
pub(crate) fn front_proxy(authority: &Authority) -> FrontProxy {
    let user = Purpose::Client { user: "front-proxy-client".to_owned(), group: None };
    FrontProxy {
        authority_pem: authority.certificate_pem().to_owned(),
        certificate: authority.issue(&user, sampan_clock::now()).unwrap(),
        headers: RequestHeaders::default(),
    }
}

/// The peer that stands for a user; `admin` is in `system:masters`, `system:node:...` a node.
pub(crate) fn in_process(user: &str) -> Peer {
    let groups = match user {
        "admin" => vec!["system:masters".to_owned()],
        node if node.starts_with("system:node:") => vec!["system:nodes".to_owned()],
        _ => Vec::new(),
    };
    Peer::InProcess(Identity { name: user.to_owned(), groups, ..Identity::default() })
}

/// A response's status and JSON body (null if it is none).
pub(crate) async fn read(response: Response<Body>) -> (u16, Value) {
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap_or(Value::Null))
}
