//! The HTTP part of an upgrade: what the client asks for, what it is answered.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};

use crate::Body;

/// Where SPDY clients list the protocols they know, and the server answers with the one it took.
pub(crate) const STREAM_PROTOCOL_VERSION: &str = "x-stream-protocol-version";
/// Where a server lists what it would have taken.
const ACCEPTED_PROTOCOL_VERSIONS: &str = "x-accepted-stream-protocol-versions";
/// The one SPDY version Kubernetes ever used.
pub(crate) const SPDY: &str = "SPDY/3.1";

/// A refused upgrade, before it becomes a response.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
    accepted: Vec<&'static str>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), accepted: Vec::new() }
    }
}

impl From<Refusal> for Response<Body> {
    fn from(refusal: Refusal) -> Self {
        let mut response = Response::new(Full::from(refusal.message).map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = refusal.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        for protocol in refusal.accepted {
            headers.append(ACCEPTED_PROTOCOL_VERSIONS, HeaderValue::from_static(protocol));
        }
        response
    }
}

/// The protocol an upgrade request asks for: `websocket`, `SPDY/3.1`. None if it is no upgrade request.
pub(crate) fn requested(headers: &HeaderMap) -> Option<&str> {
    let upgrade = tokens(headers, header::CONNECTION.as_str()).any(|token| token.eq_ignore_ascii_case("upgrade"));
    if upgrade { headers.get(header::UPGRADE)?.to_str().ok().map(str::trim) } else { None }
}

/// The comma-separated values of every header `name`, in order.
pub(crate) fn tokens<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// `101 Switching Protocols` to `protocol`.
pub(crate) fn switching(protocol: &'static str) -> Response<Body> {
    let mut response = Response::new(Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(protocol));
    response
}

/// The first protocol the client lists that `supported` has. A client that lists none gets `fallback`.
pub(crate) fn spdy_protocol(
    headers: &HeaderMap,
    supported: &[&'static str],
    fallback: &'static str,
) -> Result<&'static str, Refusal> {
    let mut offered = tokens(headers, STREAM_PROTOCOL_VERSION).peekable();
    if offered.peek().is_none() {
        return Ok(fallback);
    }
    let offered: Vec<&str> = offered.collect();
    let chosen = offered.iter().find_map(|offer| supported.iter().find(|name| *name == offer));
    chosen.copied().ok_or_else(|| Refusal {
        status: StatusCode::FORBIDDEN,
        message: format!(
            "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
            offered.join(" "),
            supported.join(" ")
        ),
        accepted: supported.to_vec(),
    })
}

/// The `101` of a SPDY upgrade with the negotiated stream protocol.
pub(crate) fn spdy_response(protocol: &'static str) -> Response<Body> {
    let mut response = switching(SPDY);
    response.headers_mut().insert(STREAM_PROTOCOL_VERSION, HeaderValue::from_static(protocol));
    response
}

/// The answer to a request that is no upgrade at all. It does not repeat the headers: they may hold a token.
pub(crate) fn not_an_upgrade() -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "unable to upgrade: missing upgrade headers in request")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn upgrade_needs_both_headers() {
        let check =
            |list: &[(&'static str, &'static str)], want| assert_eq!(requested(&headers(list)), want, "{list:?}");
        check(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1")], Some("SPDY/3.1"));
        check(&[("connection", "keep-alive, upgrade"), ("upgrade", "websocket")], Some("websocket"));
        check(&[("connection", "keep-alive"), ("connection", "upgrade"), ("upgrade", "websocket")], Some("websocket"));
        check(&[("upgrade", "websocket")], None);
        check(&[("connection", "Upgrade")], None);
        check(&[("connection", "close"), ("upgrade", "websocket")], None);
    }

    #[test]
    fn the_clients_order_decides() {
        let supported = &["v4.channel.k8s.io", "v3.channel.k8s.io", "channel.k8s.io"];
        let check = |list: &[(&'static str, &'static str)], want: Option<&str>| {
            assert_eq!(spdy_protocol(&headers(list), supported, "channel.k8s.io").ok(), want, "{list:?}");
        };
        let name = STREAM_PROTOCOL_VERSION;
        check(&[], Some("channel.k8s.io"));
        check(&[(name, "v5.channel.k8s.io"), (name, "v4.channel.k8s.io")], Some("v4.channel.k8s.io"));
        check(&[(name, "v3.channel.k8s.io, v4.channel.k8s.io")], Some("v3.channel.k8s.io"));
        check(&[(name, "v9.channel.k8s.io")], None);
    }
}
