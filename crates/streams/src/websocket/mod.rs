//! WebSocket as Kubernetes uses it: channels multiplexed by the first byte of each message, or a tunnel for SPDY.
//!
//! | Subprotocol | Message | End of a channel |
//! |---|---|---|
//! | `v5.channel.k8s.io` | channel byte, data | `[255, channel]` from the client |
//! | `v4.channel.k8s.io`, `channel.k8s.io` | channel byte, data | cannot be said |
//! | `v4.base64.channel.k8s.io`, `base64.channel.k8s.io` | channel digit, base64 of the data | cannot be said |
//! | `SPDY/3.1+portforward.k8s.io` | bytes of a SPDY connection | |
//!
//! [`Codec`] is pure; `Multiplex` runs it on a connection; [`Tunnel`] makes a byte stream of messages; [`tell()`] sends what
//! happens to whoever listens.

mod codec;
mod multiplex;
mod tell;
mod tunnel;

use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

pub use codec::{Codec, Received};
pub(crate) use multiplex::Multiplex;
pub use tell::{Form, tell};
pub use tunnel::Tunnel;

use crate::{
    Body,
    handshake::{self, Refusal},
};

/// The largest message a peer may send. Clients send 32 KiB at a time; some libraries send all they have at once.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Read and write buffers of one connection start at this size.
const BUFFER_BYTES: usize = 16 * 1024;

/// Whether the request asks for an upgrade to WebSocket.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    handshake::requested(headers).is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"))
}

/// Whether a browser sent this from a page of another origin than `Host`. Such a request is to be refused wherever
/// credentials come with the connection (client certificates, cookies): browsers let any page open a WebSocket.
///
/// `http://localhost` is let through: it is what programs write that have to write something (Go's `x/net/websocket`).
/// A page can have that origin only from a server on port 80 of the browser's own machine; whoever runs one there is
/// trusted with what that browser may do.
pub fn is_cross_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    if origin == "http://localhost" {
        return false;
    }
    let origin = origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    match (origin.as_ref().and_then(Uri::authority), host) {
        (Some(origin), Some(host)) => !origin.as_str().eq_ignore_ascii_case(host),
        _ => true,
    }
}

/// The `101` for a WebSocket upgrade, and the subprotocol of `supported` that the client prefers: none if it lists
/// none.
pub(crate) fn accept(
    headers: &HeaderMap,
    supported: &[&'static str],
) -> Result<(Response<Body>, Option<&'static str>), Refusal> {
    let mut response = handshake(headers)?;
    let protocol = subprotocol(headers, supported)?;
    if let Some(protocol) = protocol {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    Ok((response, protocol))
}

/// The `101` for a WebSocket upgrade, without a subprotocol.
fn handshake(headers: &HeaderMap) -> Result<Response<Body>, Refusal> {
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "unable to upgrade: Sec-WebSocket-Version must be 13"));
    }
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "unable to upgrade: Sec-WebSocket-Key is missing"));
    };
    let mut response = handshake::switching("websocket");
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept.expect("invariant: base64 is a header value"));
    Ok(response)
}

fn subprotocol(headers: &HeaderMap, supported: &[&'static str]) -> Result<Option<&'static str>, Refusal> {
    let offered: Vec<&str> = handshake::tokens(headers, header::SEC_WEBSOCKET_PROTOCOL.as_str()).collect();
    let chosen = offered.iter().find_map(|offer| supported.iter().find(|name| *name == offer)).copied();
    if chosen.is_none() && !offered.is_empty() {
        let message = format!(
            "requested protocol(s) are not supported: [{}]; supports [{}]",
            offered.join(" "),
            supported.join(" ")
        );
        return Err(Refusal::new(StatusCode::FORBIDDEN, message));
    }
    Ok(chosen)
}

/// The server's end of an upgraded connection, with bounded messages.
pub(crate) async fn server<S: AsyncRead + AsyncWrite + Unpin>(io: S) -> WebSocketStream<S> {
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// `1000`: all was said. Clients take any other code, or none, for a broken connection and lose the exit code.
pub(crate) fn normal_close() -> CloseFrame {
    CloseFrame { code: CloseCode::Normal, reason: "".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn accepts_the_first_known_subprotocol() {
        let known: &[&'static str] = &["v5.channel.k8s.io", "v4.channel.k8s.io"];
        let check = |offer: &'static str, want: Option<Option<&str>>| {
            let headers = headers(&[
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("sec-websocket-protocol", offer),
            ]);
            let got = accept(&headers, known).ok();
            assert_eq!(got.as_ref().map(|(_, protocol)| *protocol), want, "{offer}");
            if let Some((response, _)) = got {
                // The example of RFC 6455, 1.3.
                assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
            }
        };
        check("v4.channel.k8s.io, v5.channel.k8s.io", Some(Some("v4.channel.k8s.io")));
        check("v6.channel.k8s.io,v5.channel.k8s.io", Some(Some("v5.channel.k8s.io")));
        check("", Some(None));
        check("chat", None);
    }

    #[test]
    fn only_browsers_on_foreign_pages_are_cross_origin() {
        let check = |list: &[(&'static str, &'static str)], want| assert_eq!(is_cross_origin(&headers(list)), want);
        check(&[("host", "10.0.0.1:6443")], false);
        check(&[("host", "10.0.0.1:6443"), ("origin", "https://10.0.0.1:6443")], false);
        check(&[("host", "10.0.0.1:6443"), ("origin", "https://evil.example")], true);
        check(&[("host", "10.0.0.1:6443"), ("origin", "null")], true);
        check(&[("host", "10.0.0.1:6443"), ("origin", "http://localhost")], false);
        check(&[("host", "10.0.0.1:6443"), ("origin", "http://localhost:8080")], true);
    }
}
