//! From a connection to an answer.
//!
//! [`chain`] is the one path that every request takes, from whichever transport: authenticate, authorize, dispatch.
//! [`accept`] brings requests from the network; [`Service`] takes them from components of the same process.

pub(crate) mod accept;
mod authenticate;
mod authorize;
mod body;
mod chain;
mod compress;
mod held;
mod impersonate;
pub(crate) mod lasting;
mod limit;
mod paths;
mod tls;
mod unread;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use sampan_api::status::Status;
use sampan_auth::Identity;
use sampan_auth::token::Tokens;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::authenticate::{Shown, from_token};
pub(crate) use self::body::{MAX_BODY_BYTES, read as read_body, reply_status};
pub(crate) use self::compress::Compressible;
use crate::aggregator::Aggregator;
use crate::audit::Audit;
use crate::authentication::{RequestHeaders, Vouchers};
use crate::components::{Components, Probe};
use crate::connect::Kubelets;
use crate::discovery::Discovery;
use crate::flowcontrol::FlowControl;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::notes::Notes;
use crate::openapi::OpenApi;
use crate::registry::Registry;
use crate::request::{Query, RequestInfo};
use crate::version::Version;

/// Everything that answering needs.
pub(crate) struct Server {
    pub(crate) registry: Arc<Registry>,
    /// The way to APIs that others serve.
    pub(crate) aggregator: Arc<Aggregator>,
    pub(crate) tokens: Arc<Tokens>,
    /// Who vouches for users besides those tokens.
    pub(crate) vouchers: Vouchers,
    /// The headers in which front proxies name users.
    pub(crate) request_headers: RequestHeaders,
    /// The audit log, where there is one.
    pub(crate) audit: Option<Arc<Audit>>,
    /// Where clients in the cluster reach this server.
    pub(crate) advertised: SocketAddr,
    pub(crate) discovery: Discovery,
    pub(crate) openapi: OpenApi,
    pub(crate) version: Version,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    /// Which requests run now.
    pub(crate) flow_control: Arc<FlowControl>,
    /// Room for answers without a foreseeable end.
    pub(crate) lasting: lasting::Room,
    pub(crate) kubelets: Kubelets,
    /// What else runs in this process.
    pub(crate) components: Components,
    /// What nodes said last of their usage.
    pub(crate) usage: crate::usage::Kept,
    /// Writes and connections run here, so that a client that goes away does not stop a write in the middle.
    pub(crate) tasks: TaskTracker,
    /// Ends watches and connections.
    pub(crate) stop: CancellationToken,
}

/// A request that has passed authentication and authorization.
pub(crate) struct Call {
    pub(crate) info: RequestInfo,
    pub(crate) query: Query,
    pub(crate) identity: Identity,
    /// Where it came from, if from the network.
    pub(crate) from: Option<SocketAddr>,
    /// Warnings and annotations that come up on the way.
    pub(crate) notes: Arc<Notes>,
    /// The request without its body.
    pub(crate) head: Parts,
}

impl Call {
    /// The request's headers.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }
}

/// An answer, or why there is none.
pub(crate) type Answer = Result<Response<Body>, Status>;

/// The API server as a service: what the in-memory transport talks to. Requests need a [`sampan_auth::Peer`] among their
/// extensions; those without one are nobody's.
#[derive(Clone)]
pub struct Service(pub(crate) Arc<Server>);

impl Service {
    /// Lets `componentstatuses` tell of the component `name` what `probe` says.
    pub fn watch_component(&self, name: &'static str, probe: Probe) {
        self.0.components.add(name, probe);
    }
}

impl tower::Service<Request<Body>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = Arc::clone(&self.0);
        Box::pin(async move { Ok(chain::handle(server, request).await) })
    }
}
