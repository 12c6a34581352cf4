//! Connections that end elsewhere: logs, exec, attach and port-forward at a kubelet; the proxies to Pods, Services and
//! nodes.
//!
//! [`target`] decides where to and with which path, purely; [`dial`] opens the connection; `sampan_streams` carries the
//! request over and splices what follows. Redirects are never followed, and what is dialled is what was checked. What
//! comes back through a proxy has its links turned by [`page`].

mod dial;
mod html;
mod links;
mod log;
mod options;
mod page;
mod proxy;
mod target;

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use sampan_api::kind::KindRef;
use sampan_api::status::Status;
use sampan_streams::Sessions;
use serde_json::Value;

use self::dial::{Backend, Connection};
use self::links::Links;
use crate::cache::Match;
use crate::server::{Answer, Call, Server};
use crate::verbs::attempt;

/// The way to the kubelets.
pub(crate) struct Kubelets {
    tls: Option<Arc<rustls::ClientConfig>>,
    /// The owner of all upgraded connections.
    pub(crate) sessions: Sessions,
}

impl Kubelets {
    /// With the server's identity towards kubelets; without one there is no way to them.
    pub(crate) fn new(tls: Option<Arc<rustls::ClientConfig>>) -> Self {
        Self { tls, sessions: Sessions::default() }
    }

    /// Ends all streams.
    pub(crate) async fn shutdown(&self) {
        self.sessions.shutdown().await;
    }
}

/// Answers a request to a subresource that is a connection.
pub(crate) async fn answer(server: &Server, kind: &KindRef, call: Call, body: Body) -> Answer {
    options::admit(server, kind, &call).await?;
    let goal = match (kind.plural, call.info.subresource.as_str()) {
        (_, "proxy") => match proxy::goal(server, kind, &call).await? {
            _ if proxy::wants_root(&call) => return Ok(proxy::to_root(&call)),
            goal => goal,
        },
        ("pods", _) => match to_kubelet(server, kind, &call).await? {
            Some(goal) => goal,
            None => return Ok(Response::new(Body::empty())),
        },
        _ => return Err(Status::no_such_path()),
    };
    let connection = dial::connect(&goal.backend).await?;
    if log::wants_messages(&call) {
        return log::tell(server, &call.head, connection, goal).await;
    }
    let mut request = Request::from_parts(call.head, body);
    if matches!(goal.via, Via::Proxy(_)) {
        proxy::sign(request.headers_mut(), call.from, &call.info.path);
    }
    request.extensions_mut().insert(server.kubelets.sessions.clone());
    forward(request, connection, goal).await
}

/// Where a request goes on.
struct Goal {
    backend: Backend,
    /// Path and query there.
    path: String,
    via: Via,
}

/// What becomes of the answer.
enum Via {
    /// What it says against a request becomes a `Status`: it is the kubelet's word about one of our own objects.
    Kubelet,
    /// It goes on as it is, but that its links lead back through the proxy.
    Proxy(Links),
}

/// A kubelet's refusal is a sentence; this much of it is passed on.
const REFUSAL_BYTES: usize = 2048;

/// log, exec, attach, portforward. `None` where there is nothing to connect to yet, and nothing to say.
async fn to_kubelet(server: &Server, kind: &KindRef, call: &Call) -> Result<Option<Goal>, Status> {
    let subresource = call.info.subresource.as_str();
    if !matches!((subresource, call.info.verb), ("log", "get") | ("exec" | "attach" | "portforward", "get" | "create"))
    {
        return Err(Status::method_not_allowed());
    }
    let pod = server.registry.get(&attempt(kind, call)?, Match::Newest).await?.value();
    let path = match target::of_pod(subresource, &pod, &call.query)? {
        target::OfPod::Kubelet(path) => path,
        target::OfPod::Nothing => return Ok(None),
    };
    let node = node(server, pod["spec"]["nodeName"].as_str().unwrap_or_default())?;
    Ok(Some(Goal { backend: kubelet(server, &node)?, path, via: Via::Kubelet }))
}

/// The Node object, for its addresses.
fn node(server: &Server, name: &str) -> Result<Value, Status> {
    let found = server.registry.peek("", "Node", "", name);
    found.ok_or_else(|| Status::not_found(sampan_api::status::Resource { group: "", name: "nodes" }, name))
}

/// The kubelet of a node.
fn kubelet(server: &Server, node: &Value) -> Result<Backend, Status> {
    let tls = server.kubelets.tls.clone().ok_or_else(|| Status::unavailable("this server has no way to kubelets"))?;
    let (host, port) = target::kubelet_address(node)?;
    Ok(Backend { host, port, tls: Some(tls), loopback_allowed: true })
}

/// The most that is read of a kubelet's answer: what it says of 250 Pods is a tenth of this.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// What the kubelet of the node `name` answers to a GET of `path`.
pub(crate) async fn ask_kubelet(server: &Server, name: &str, path: &'static str) -> Result<Bytes, Status> {
    let backend = kubelet(server, &node(server, name)?)?;
    let connection = dial::connect(&backend).await?;
    let request = Request::get(path).header(header::HOST, backend.authority()).body(Body::empty());
    let request = request.map_err(|_| Status::internal("the kubelet's address makes no request"))?;
    let response =
        sampan_streams::proxy::forward(request, connection).await.map_err(|error| refused(&error, &backend))?;
    let (code, body) = (response.status(), Body::new(response.into_body()));
    let body = axum::body::to_bytes(body, MAX_ANSWER_BYTES).await;
    match code.is_success() {
        true => body.map_err(|_| Status::unavailable(format!("the kubelet of {name} answered too much or broke off"))),
        false => Err(Status::unavailable(format!("the kubelet of {name} answered {code}"))),
    }
}

/// Sends the request over the connection to its goal, with the path there in place of its own.
async fn forward(
    mut request: Request<Body>,
    connection: std::pin::Pin<Box<dyn Connection>>,
    Goal { backend, path, via }: Goal,
) -> Answer {
    *request.uri_mut() = path.parse::<Uri>().map_err(|_| Status::bad_request("the path cannot be passed on"))?;
    // Behind a proxy is heard what the client calls it; a kubelet is called by its name.
    let host = match &via {
        Via::Kubelet => backend.authority(),
        Via::Proxy(links) => links.asked.clone(),
    };
    if let Ok(host) = HeaderValue::from_str(&host) {
        request.headers_mut().insert(header::HOST, host);
    }
    match (sampan_streams::proxy::forward(request, connection).await, via) {
        (Ok(response), Via::Proxy(_)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Ok(response.map(Body::new))
        }
        (Ok(response), Via::Proxy(links)) => Ok(page::through(response.map(Body::new), links)),
        (Ok(response), Via::Kubelet) if response.status().is_client_error() => Err(explained(response).await),
        (Ok(response), Via::Kubelet) if response.status().is_redirection() => {
            Err(refused(&sampan_streams::Error::Redirect, &backend))
        }
        (Ok(response), Via::Kubelet) => Ok(response.map(Body::new)),
        (Err(error), _) => Err(refused(&error, &backend)),
    }
}

/// The `Status` of a kubelet's refusal.
async fn explained<B>(response: Response<B>) -> Status
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let code = response.status();
    let text = axum::body::to_bytes(Body::new(response.into_body()), REFUSAL_BYTES).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    match code.as_u16() {
        404 => Status { code: 404, reason: "NotFound".to_owned(), message: text, details: None },
        429 => Status::too_many_requests(text, 1),
        401 | 403 => Status::internal("the kubelet does not accept this server's identity"),
        _ => Status::bad_request(text),
    }
}

fn refused(error: &sampan_streams::Error, backend: &Backend) -> Status {
    tracing::debug!(%error, backend = backend.authority(), "a request could not be passed on");
    match error {
        sampan_streams::Error::Busy { .. } => Status::too_many_requests(error.to_string(), 1),
        sampan_streams::Error::Redirect | sampan_streams::Error::Request(_) => Status::bad_request(error.to_string()),
        _ => Status::unavailable(format!("error trying to reach service: {error}")),
    }
}
