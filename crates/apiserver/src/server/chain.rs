//! The filter chain, all of it in one place:
//!
//! ```text
//! catch panics -> ids and metrics -> read the request line -> authenticate -> impersonate -> authorize -> deadline -> dispatch
//!                                                                        (aggregated APIs, verbs, paths)
//! ```

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::FutureExt as _;
use http::{HeaderValue, Request, Response, header};
use sampan_api::status::Status;
use sampan_auth::Peer;
use tokio::time::Instant;

use super::{Answer, Call, Server, authenticate, authorize, impersonate, paths, reply_status};
use crate::forms::Wanted;
use crate::notes::Notes;
use crate::request::{Query, RequestInfo};
use crate::verbs;

/// How long a request may take that is no watch and no connection.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);

/// Answers a request.
pub(super) async fn handle(server: Arc<Server>, request: Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let audit_id = uuid::Uuid::new_v4().to_string();
    let wanted = Wanted::of_status(request.headers());
    let line = read_line(&request);
    let info = line.as_ref().map(|(info, _)| info.clone()).unwrap_or_default();
    let notes = Arc::new(Notes::default());
    let answer = match line {
        Ok(line) => {
            let answered = answer(Arc::clone(&server), line, Arc::clone(&notes), request);
            let answered = AssertUnwindSafe(answered).catch_unwind().await;
            answered.unwrap_or_else(|_| {
                tracing::error!(audit_id, "a request handler panicked");
                Err(Status::internal("the request could not be handled"))
            })
        }
        Err(status) => Err(status),
    };
    let mut response = answer.unwrap_or_else(|status| reply_status(&status, &wanted));
    let headers = response.headers_mut();
    headers.insert("audit-id", HeaderValue::from_str(&audit_id).unwrap_or(HeaderValue::from_static("")));
    for warning in notes.headers() {
        headers.append(header::WARNING, warning);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    let kind = server.registry.catalog.find(&info.group, &info.version, &info.resource);
    server.metrics.answered(&info, kind.as_ref(), response.status().as_u16(), started.elapsed());
    response
}

fn read_line(request: &Request<Body>) -> Result<(RequestInfo, Query), Status> {
    let query = Query::of(request.uri())?;
    Ok((RequestInfo::parse(request.method(), request.uri(), &query)?, query))
}

async fn answer(
    server: Arc<Server>,
    (info, query): (RequestInfo, Query),
    notes: Arc<Notes>,
    mut request: Request<Body>,
) -> Answer {
    let peer = request.extensions_mut().remove::<Peer>();
    let identity = authenticate::identify(&server, peer.as_ref(), request.headers(), &info).await?;
    let identity = impersonate::acting(&server, &identity, request.headers_mut()).await?;
    request.headers_mut().remove(header::AUTHORIZATION);
    authorize::check(&server, &identity, &info, &query).await?;
    let (head, body) = request.into_parts();
    let call = Call { info, query, identity, notes, head };
    if is_long_running(&call.info) {
        return dispatch(server, call, body).await;
    }
    tokio::time::timeout(REQUEST_DEADLINE, dispatch(server, call, body))
        .await
        .unwrap_or_else(|_| Err(Status::timeout("request did not complete within the allotted timeout", 0)))
}

/// Watches and connections last as long as the client wants.
fn is_long_running(info: &RequestInfo) -> bool {
    info.verb == "watch" || matches!(info.subresource.as_str(), "proxy" | "exec" | "attach" | "portforward" | "log")
}

/// Writes run on a task of their own: a client that goes away must not stop one between its steps.
async fn dispatch(server: Arc<Server>, call: Call, body: Body) -> Answer {
    if let Some(remote) = server.aggregator.remote_of(&call.info.path) {
        return Ok(server.aggregator.answer(&remote, call, body).await);
    }
    if !call.info.is_resource {
        return paths::answer(&server, &call).await;
    }
    if !call.info.is_mutating() || is_long_running(&call.info) {
        return verbs::answer(&server, call, body).await;
    }
    let tasks = server.tasks.clone();
    let write = tasks.spawn(async move { verbs::answer(&server, call, body).await });
    write.await.unwrap_or_else(|_| Err(Status::internal("the request could not be handled")))
}
