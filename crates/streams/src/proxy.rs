//! The upgrade-aware reverse proxy: one request to one backend connection, and whatever follows.
//!
//! A plain request streams both ways. An upgrade that the backend accepts with `101` becomes a splice of two
//! connections, each direction ended on its own. An upgrade that the backend refuses is a plain answer, after which
//! neither connection is used again (CVE-2018-1002105: a refused upgrade must not leave a tunnel behind).
//! It decides nothing: not where to, not who may.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt, Either, Full};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    client::conn::http1,
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use crate::{Body, BoxError, Error, Sessions, handshake};

/// Headers that speak about one connection and so are never passed on (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// Older hop-by-hop headers that have no constant.
const HOP_BY_HOP_NAMES: [&str; 2] = ["keep-alive", "proxy-connection"];

/// A body that is known to be no longer is read before its request is sent. A backend may answer as soon as it sees the
/// head, and some clients lose an answer that comes while they still send: Go's reverse proxy closes what it has not read.
const MAX_WHOLE_BYTES: u64 = 64 << 10;

/// Whether a request asks for another protocol on its connection.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    handshake::requested(headers).is_some()
}

/// Sends `request` as HTTP/1.1 over the fresh connection `backend` and answers with the backend's response.
///
/// The request's path, query and headers go as they are, without hop-by-hop headers; `Host` stays what the client
/// said. The connection ends with the response's body, or with this future if it is dropped. Upgraded
/// connections belong to the [`Sessions`] in the request's extensions.
///
/// # Errors
/// Only before there is a response: the backend does not speak HTTP, switched to something else than asked, answered
/// an upgrade with a redirect, or too many sessions are open. Callers answer `502`, or `429` for [`Error::Busy`].
pub async fn forward<B, S>(mut request: Request<B>, backend: S) -> Result<Response<Body>, Error>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let sessions = Sessions::of(&request);
    let asked = handshake::requested(request.headers()).map(str::to_owned);
    let client = hyper::upgrade::on(&mut request);
    let request = whole(outgoing(request, asked.as_deref())?).await?;

    let (mut sender, connection) = http1::handshake(TokioIo::new(backend)).await.map_err(Error::Backend)?;
    let driver = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "backend connection");
        }
    }));
    let response = sender.send_request(request).await.map_err(Error::Backend)?;

    match (response.status(), asked) {
        (StatusCode::SWITCHING_PROTOCOLS, asked) => {
            let asked = verify_upgrade(&response, asked)?;
            switch(response, &asked, client, &sessions).await
        }
        (status, Some(_)) if status.is_redirection() => Err(Error::Redirect),
        (_, asked) => Ok(answer(response, driver, asked.is_some())),
    }
}

/// The request with its body read, unless that is long or nobody knows how long it is.
async fn whole<B>(request: Request<B>) -> Result<Request<Either<Full<Bytes>, B>>, Error>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (head, body) = request.into_parts();
    let body = match body.size_hint().exact() {
        Some(1..=MAX_WHOLE_BYTES) => {
            let read = body.collect().await.map_err(|error| Error::Request(error.into()))?;
            Either::Left(Full::new(read.to_bytes()))
        }
        _ => Either::Right(body),
    };
    Ok(Request::from_parts(head, body))
}

/// The request as the backend gets it.
fn outgoing<B>(request: Request<B>, upgrade: Option<&str>) -> Result<Request<B>, Error> {
    let (mut parts, body) = request.into_parts();
    if !parts.headers.contains_key(header::HOST)
        && let Some(host) = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
    {
        parts.headers.insert(header::HOST, host);
    }
    strip_hop_by_hop(&mut parts.headers);
    if let Some(value) = upgrade.and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        parts.headers.insert(header::UPGRADE, value);
    }
    parts.uri = parts.uri.path_and_query().map_or_else(|| Uri::from_static("/"), |path| Uri::from(path.clone()));
    parts.version = Version::HTTP_11;
    parts.extensions = http::Extensions::new();
    Ok(Request::from_parts(parts, body))
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> =
        handshake::tokens(headers, header::CONNECTION.as_str()).filter_map(|name| name.parse().ok()).collect();
    for name in listed.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    for name in HOP_BY_HOP_NAMES {
        headers.remove(name);
    }
}

/// The protocol both sides agree on.
fn verify_upgrade<B>(response: &Response<B>, asked: Option<String>) -> Result<String, Error> {
    let answered = response.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match asked {
        Some(asked) if asked.eq_ignore_ascii_case(answered) => Ok(asked),
        asked => Err(Error::UnexpectedUpgrade { asked: asked.unwrap_or_default(), answered: answered.to_owned() }),
    }
}

/// Passes `101` on and splices the two connections once the client has seen it.
async fn switch(
    mut response: Response<Incoming>,
    protocol: &str,
    client: OnUpgrade,
    sessions: &Sessions,
) -> Result<Response<Body>, Error> {
    let backend = hyper::upgrade::on(&mut response).await.map_err(Error::Backend)?;
    sessions.spawn(async move {
        let client = client.await.map_err(Error::Upgrade)?;
        tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(backend)).await?;
        Ok(())
    })?;
    let (mut parts, _) = response.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(value) = HeaderValue::from_str(protocol) {
        parts.headers.insert(header::UPGRADE, value);
    }
    parts.extensions = http::Extensions::new();
    let body = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
    Ok(Response::from_parts(parts, body))
}

/// Passes any other answer on. After a refused upgrade the client's connection is closed too.
fn answer(response: Response<Incoming>, driver: AbortOnDropHandle<()>, refused: bool) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    if refused {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    parts.extensions = http::Extensions::new();
    Response::from_parts(parts, Streamed { body, _driver: driver }.map_err(BoxError::from).boxed_unsync())
}

/// The backend's body together with the connection it comes from, which ends with it.
struct Streamed {
    body: Incoming,
    _driver: AbortOnDropHandle<()>,
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
