//! The streaming protocols of Kubernetes: upgraded connections that carry exec, attach and port-forward.
//!
//! The protocols end in one place, the container runtime's streaming server: [`remotecommand::serve`] and
//! [`portforward::serve`] speak both dialects (WebSocket channels, SPDY/3.1) and hand plain streams to a handler.
//! Everyone before them only splices bytes with [`proxy::forward`]; nothing is translated on the way.
//! Who may do what is decided elsewhere, before a request comes here.
//!
//! Start at [`proxy`] for the way there and at [`remotecommand`] for its end. [`Sessions`] owns what outlives a response.
//! [`connection`] bounds what clients may have a server hold; [`Traffic`] tells servers when a connection carries nothing any more.

pub mod connection;
mod handshake;
mod idle;
mod pipe;
pub mod portforward;
pub mod proxy;
pub mod remotecommand;
mod sessions;
pub mod spdy;
pub mod tls;
mod traffic;
pub mod websocket;

use bytes::Bytes;

pub use sessions::Sessions;
pub use traffic::{Traffic, UnderWay};

/// What a handler or a foreign body may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of every response made here.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// Why a request could not be forwarded, or a streaming session ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The backend did not answer as an HTTP server.
    #[error("forwarding the request to the backend: {0}")]
    Backend(#[source] hyper::Error),
    /// The client's request broke off.
    #[error("reading the request: {0}")]
    Request(#[source] BoxError),
    /// The backend switched to a protocol that was not asked for.
    #[error("the backend switched to protocol {answered:?} where {asked:?} was asked for")]
    UnexpectedUpgrade {
        /// What the client asked for; empty if it asked for none.
        asked: String,
        /// What the backend said.
        answered: String,
    },
    /// The backend answered an upgrade with a redirect, which is not followed (CVE-2022-3172).
    #[error("the backend attempted to redirect this request, which is not permitted")]
    Redirect,
    /// As many sessions as [`Sessions`] allows are open.
    #[error("too many streaming sessions at once, at most {limit}")]
    Busy {
        /// The limit.
        limit: usize,
    },
    /// The connection broke.
    #[error("streaming connection: {0}")]
    Io(#[from] std::io::Error),
    /// The client never came back after `101 Switching Protocols`.
    #[error("waiting for the client to switch protocols: {0}")]
    Upgrade(#[source] hyper::Error),
    /// The peer violates SPDY/3.1, or one of the bounds kept here.
    #[error("SPDY: {0}")]
    Spdy(&'static str),
    /// The peer violates the WebSocket protocol, or one of the bounds kept here.
    #[error("WebSocket: {0}")]
    WebSocket(Box<tokio_tungstenite::tungstenite::Error>),
    /// Nothing came or went for the idle timeout.
    #[error("no traffic for {} seconds", idle::IDLE_TIMEOUT.as_secs())]
    Idle,
    /// The client did not open the streams that its request announced.
    #[error("timed out waiting for client to create streams")]
    CreationTimeout,
}

impl From<tokio_tungstenite::tungstenite::Error> for Error {
    fn from(source: tokio_tungstenite::tungstenite::Error) -> Self {
        Self::WebSocket(Box::new(source))
    }
}
