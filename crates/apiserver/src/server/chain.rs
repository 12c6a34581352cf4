//! The filter chain, all of it in one place:
//!
//! ```text
//! catch panics -> ids and metrics -> read the request line -> authenticate -> audit -> impersonate -> a seat (limit)
//!     -> authorize -> deadline -> dispatch -> compress
//!                                  (aggregated APIs, verbs, paths)
//! ```

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::FutureExt as _;
use http::{HeaderValue, Request, Response, header};
use sampan_api::status::Status;
use sampan_auth::{Identity, Peer};
use tokio::time::Instant;

use super::{
    Answer, Call, Server, authenticate, authorize, compress, held, impersonate, limit, paths, read_body, reply_status,
};
use crate::audit::{Asked, Trail};
use crate::flowcontrol::{Flow, Seat};
use crate::forms::Wanted;
use crate::notes::Notes;
use crate::request::{Query, RequestInfo};
use crate::verbs;

/// How long a request may take that is no watch and no connection.
pub(super) const REQUEST_DEADLINE: Duration = Duration::from_secs(60);

/// Answers a request.
pub(super) async fn handle(server: Arc<Server>, request: Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let audit_id = uuid::Uuid::new_v4().to_string();
    let wanted = Wanted::of_status(request.headers());
    let compresses = compress::accepts_gzip(request.headers());
    let line = read_line(&request);
    let is_own = matches!(request.extensions().get::<Peer>(), Some(Peer::InProcess(_)));
    let method = is_own.then(|| request.method().clone());
    let info = line.as_ref().map(|(info, _)| info.clone()).unwrap_or_default();
    let notes = Arc::new(Notes::default());
    let (mut trail, mut flow) = (None, None);
    let answer = match line {
        Ok(line) => {
            let along = Along { notes: Arc::clone(&notes), audit_id: &audit_id, trail: &mut trail, flow: &mut flow };
            let answered = answer(Arc::clone(&server), line, along, request);
            let answered = AssertUnwindSafe(answered).catch_unwind().await;
            answered.unwrap_or_else(|_| {
                trail.iter_mut().for_each(|trail| trail.panicked = true);
                tracing::error!(audit_id, "a request handler panicked");
                Err(Status::internal("the request could not be handled"))
            })
        }
        Err(status) => Err(status),
    };
    let kind = server.registry.catalog.find(&info.group, &info.version, &info.resource);
    let mut response = match answer {
        Ok(response) if is_long_running(&info) => {
            match server.lasting.begin(response, &server.stop, server.metrics.requests.opened(&info, kind.as_ref())) {
                Ok(response) => response,
                Err(status) => reply_status(&status, &wanted),
            }
        }
        Ok(response) => response,
        Err(status) => reply_status(&status, &wanted),
    };
    if let Some(trail) = trail {
        response = trail.answered(response, &notes, is_long_running(&info)).await;
    }
    if compresses {
        response = compress::compress(response);
    }
    let headers = response.headers_mut();
    if let Some(flow) = flow {
        flow.tell(headers);
    }
    headers.insert("audit-id", HeaderValue::from_str(&audit_id).unwrap_or(HeaderValue::from_static("")));
    for warning in notes.headers() {
        headers.append(header::WARNING, warning);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    let code = response.status().as_u16();
    server.metrics.requests.answered(&info, kind.as_ref(), code, started.elapsed());
    method.iter().for_each(|method| server.metrics.clients.answered(method, code));
    response
}

fn read_line(request: &Request<Body>) -> Result<(RequestInfo, Query), Status> {
    let query = Query::of(request.uri())?;
    Ok((RequestInfo::parse(request.method(), request.uri(), &query)?, query))
}

/// What goes along with a request.
struct Along<'a> {
    notes: Arc<Notes>,
    audit_id: &'a str,
    trail: &'a mut Option<Trail>,
    /// What the request belongs to, once that is known.
    flow: &'a mut Option<Arc<Flow>>,
}

async fn answer(
    server: Arc<Server>,
    (info, query): (RequestInfo, Query),
    along: Along<'_>,
    mut request: Request<Body>,
) -> Answer {
    let Along { notes, audit_id, trail, flow } = along;
    let peer = request.extensions_mut().remove::<Peer>();
    let identified = authenticate::identify(&server, peer.as_ref(), request.headers_mut(), &info).await;
    *trail = server.audit.as_ref().and_then(|audit| {
        let (uri, headers, nobody) = (request.uri(), request.headers(), Identity::default());
        let who = identified.as_ref().unwrap_or(&nobody);
        audit.begin(&Asked { audit_id, uri, info: &info, headers, peer: peer.as_ref(), who })
    });
    let (identity, impersonates) = impersonate::acting(&server, identified?, request.headers_mut()).await?;
    if let Some(trail) = trail.as_mut().filter(|_| impersonates) {
        trail.acts_as(&identity);
    }
    request.headers_mut().remove(header::AUTHORIZATION);
    let seat = limit::seat(&server, &identity, (&info, &query), flow).await?;
    authorize::check(&server, &identity, &info, &query, &notes).await?;
    let (head, mut body) = request.into_parts();
    let from = peer.and_then(|peer| match peer {
        Peer::Remote { address, .. } => Some(address),
        Peer::InProcess(_) => None,
    });
    let call = Call { info, query, identity, from, notes, head };
    if is_long_running(&call.info) {
        return dispatch(server, call, body, seat).await;
    }
    let dispatched = async {
        if let Some(trail) = trail.as_mut().filter(|trail| trail.wants_request()) {
            let bytes = read_body(body).await?;
            trail.sent(call.headers(), &bytes);
            body = Body::from(bytes);
        }
        dispatch(server, call, body, seat).await
    };
    tokio::time::timeout(REQUEST_DEADLINE, dispatched)
        .await
        .unwrap_or_else(|_| Err(Status::timeout("request did not complete within the allotted timeout", 0)))
}

/// Watches and connections last as long as the client wants.
pub(super) fn is_long_running(info: &RequestInfo) -> bool {
    info.verb == "watch" || matches!(info.subresource.as_str(), "proxy" | "exec" | "attach" | "portforward" | "log")
}

/// Writes run on a task of their own: a client that goes away must not stop one between its steps. Their seats go with
/// them.
async fn dispatch(server: Arc<Server>, call: Call, body: Body, seat: Option<Seat>) -> Answer {
    if let Some(remote) = server.aggregator.remote_of(&call.info.path) {
        return Ok(server.aggregator.answer(&remote, call, body).await);
    }
    if !call.info.is_resource {
        return paths::answer(&server, &call).await;
    }
    if is_long_running(&call.info) {
        return verbs::answer(&server, call, body).await;
    }
    if !call.info.is_mutating() {
        let response = verbs::answer(&server, call, body).await?;
        return Ok(match seat {
            Some(seat) => held::until_sent(response, seat),
            None => response,
        });
    }
    let tasks = server.tasks.clone();
    let write = tasks.spawn(async move {
        let _seat = seat;
        verbs::answer(&server, call, body).await
    });
    write.await.unwrap_or_else(|_| Err(Status::internal("the request could not be handled")))
}
