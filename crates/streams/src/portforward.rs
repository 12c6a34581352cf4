//! Port-forward, served: many connections to ports of a Pod over one connection from the client.
//!
//! | Client | Carries |
//! |---|---|
//! | SPDY, `portforward.k8s.io` | a data and an error stream per connection, as many as the client opens |
//! | WebSocket, `SPDY/3.1+portforward.k8s.io` | the same SPDY connection inside binary messages |
//! | WebSocket, `v4.channel.k8s.io` | one connection per port of the request, channels `2n` data and `2n+1` error |

mod channels;
mod pairs;

use std::future::Future;

use http::{HeaderMap, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::{
    Body, BoxError, Error, Sessions,
    handshake::{self, Refusal},
    spdy,
    websocket::{self, Codec, Tunnel},
};

const SPDY_PROTOCOL: &str = "portforward.k8s.io";
const TUNNEL_PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
const WEBSOCKET_PROTOCOLS: [&str; 3] = [TUNNEL_PROTOCOL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io"];
/// So many ports may one legacy WebSocket request name: two channels each, numbered by one byte.
const MAX_PORTS: usize = 100;

/// Answers a port-forward request: negotiates, answers `101`, and connects ports in the background, owned by the
/// [`Sessions`] in the request's extensions.
///
/// `connect` opens a connection to a port of the Pod; its error goes to the client as text. `ports` are those that the
/// request names (see [`ports`]); only the legacy WebSocket protocol needs them.
pub fn serve<B, C, F, S>(mut request: Request<B>, ports: Vec<u16>, connect: C) -> Response<Body>
where
    C: Fn(u16) -> F + Clone + Send + 'static,
    F: Future<Output = Result<S, BoxError>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let sessions = Sessions::of(&request);
    let (response, dialect) = match negotiate(request.headers(), ports) {
        Ok(negotiated) => negotiated,
        Err(refusal) => return refusal.into(),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    match sessions.spawn(run(upgrade, dialect, connect)) {
        Ok(()) => response,
        Err(error) => Refusal::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()).into(),
    }
}

/// The ports in a request's query (`ports=80,81`, or the kubelet's `port=80`).
///
/// # Errors
/// A value is no port; the text is for the client.
pub fn ports(query: &str) -> Result<Vec<u16>, String> {
    let values = query.split('&').filter_map(|pair| match pair.split_once('=') {
        Some(("port" | "ports", value)) => Some(value.replace("%2C", ",").replace("%2c", ",")),
        _ => None,
    });
    let mut ports = Vec::new();
    for value in values {
        for text in value.split(',') {
            ports.push(parse_port(text)?);
        }
    }
    if ports.len() > MAX_PORTS {
        return Err(format!("at most {MAX_PORTS} ports can be forwarded by one request"));
    }
    Ok(ports)
}

fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) => Err(format!("port {text:?} must be > 0")),
        Ok(port) => Ok(port),
        Err(error) => Err(format!("unable to parse {text:?} as a port: {error}")),
    }
}

/// What client and server agreed on.
#[derive(Debug, PartialEq, Eq)]
enum Dialect {
    Spdy,
    Tunnel,
    Channels { codec: Codec, ports: Vec<u16> },
}

fn negotiate(headers: &HeaderMap, ports: Vec<u16>) -> Result<(Response<Body>, Dialect), Refusal> {
    let Some(protocol) = handshake::requested(headers) else { return Err(handshake::not_an_upgrade()) };
    if protocol.eq_ignore_ascii_case(handshake::SPDY) {
        let version = handshake::spdy_protocol(headers, &[SPDY_PROTOCOL], SPDY_PROTOCOL)?;
        return Ok((handshake::spdy_response(version), Dialect::Spdy));
    }
    if !protocol.eq_ignore_ascii_case("websocket") {
        return Err(handshake::not_an_upgrade());
    }
    let (response, subprotocol) = websocket::accept(headers, &WEBSOCKET_PROTOCOLS)?;
    let codec = match subprotocol {
        Some(TUNNEL_PROTOCOL) => return Ok((response, Dialect::Tunnel)),
        Some("v4.base64.channel.k8s.io") => Codec::Base64,
        _ => Codec::Binary { close_signal: false },
    };
    if ports.is_empty() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "query parameter \"port\" is required"));
    }
    Ok((response, Dialect::Channels { codec, ports }))
}

/// The session, from the moment the client sees the `101`.
async fn run<C, F, S>(upgrade: OnUpgrade, dialect: Dialect, connect: C) -> Result<(), Error>
where
    C: Fn(u16) -> F + Clone + Send + 'static,
    F: Future<Output = Result<S, BoxError>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(upgrade.await.map_err(Error::Upgrade)?);
    match dialect {
        Dialect::Spdy => {
            let (connection, driver) = spdy::Connection::new(io, spdy::Role::Server);
            pairs::serve(connection, driver, connect).await
        }
        Dialect::Tunnel => {
            let tunnel = Tunnel::new(websocket::server(io).await);
            let (connection, driver) = spdy::Connection::new(tunnel, spdy::Role::Server);
            pairs::serve(connection, driver, connect).await
        }
        Dialect::Channels { codec, ports } => {
            channels::serve(websocket::Multiplex::new(websocket::server(io).await, codec), &ports, connect).await
        }
    }
}

/// Connects `port`; tells on `error` why there is no connection.
///
/// How a connection ends later is not told: clients take any text for a reason to give up all the others, and kubectl
/// itself resets each data stream when it is done with it.
async fn connected<S>(
    port: u16,
    connecting: impl Future<Output = Result<S, BoxError>>,
    error: &mut (impl AsyncWrite + Unpin),
) -> Option<S> {
    let refused = match connecting.await {
        Ok(target) => return Some(target),
        Err(refused) => format!("error forwarding port {port}: {refused}"),
    };
    if let Err(error) = error.write_all(refused.as_bytes()).await {
        tracing::debug!(port, %error, "the client was not told why the port is not connected");
    }
    None
}

/// Notes how a forwarded connection ended.
fn note(port: u16, outcome: std::io::Result<u64>) {
    if let Err(error) = outcome {
        tracing::debug!(port, %error, "forwarded connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_a_query() {
        let check = |query: &str, want: Result<&[u16], &str>| {
            assert_eq!(ports(query).as_deref().map_err(String::as_str), want, "{query}");
        };
        check("", Ok(&[]));
        check("ports=80", Ok(&[80]));
        check("ports=80,81&x=1&ports=82", Ok(&[80, 81, 82]));
        check("port=80%2C81", Ok(&[80, 81]));
        check("port=0", Err("port \"0\" must be > 0"));
        check("port=x", Err("unable to parse \"x\" as a port: invalid digit found in string"));
        check("port=65536", Err("unable to parse \"65536\" as a port: number too large to fit in target type"));
    }
}
