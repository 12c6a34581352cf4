//! An API server in memory on a store in a directory of its own, and requests to it.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use sampan_apiserver::{ApiServer, Handle, Listen, Options, Ranges, Version};
use sampan_auth::token::Tokens;
use sampan_auth::{Identity, Peer};
use sampan_store::embedded::{self, Embedded};
use serde_json::Value;
use tower::ServiceExt as _;

/// A running server with its directory.
pub(crate) struct Cluster {
    pub(crate) handle: Handle,
    _dir: tempfile::TempDir,
}

impl Cluster {
    /// Starts a server with nothing but what every cluster has.
    pub(crate) async fn start() -> Self {
        Self::listening(None, None).await
    }

    /// The same, with ways in and out on the network.
    pub(crate) async fn listening(listen: Option<Listen>, kubelet_tls: Option<Arc<rustls::ClientConfig>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(embedded::Options { dir: dir.path().into() }).unwrap();
        let key = Tokens::generate_key().unwrap();
        let handle = ApiServer::start(Options {
            store: Arc::new(store),
            tokens: Arc::new(Tokens::load("https://kubernetes.default.svc", &key).unwrap()),
            ranges: Ranges { addresses: "10.43.0.0/16".parse().unwrap(), node_ports: 30000..=32767 },
            advertised: "192.0.2.1:6443".parse().unwrap(),
            listen,
            kubelet_tls,
            version: Version::current(),
        })
        .await
        .unwrap();
        Self { handle, _dir: dir }
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
