//! What can go wrong, and to what.

use std::net::SocketAddr;

/// Why the DNS could not start, or a name could not be had from elsewhere.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listen address is taken, or not this node's.
    #[error("listen for DNS on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The cluster domain is no domain name.
    #[error("cluster domain {0:?} is no domain name")]
    Domain(String),
    /// Talking to another server failed.
    #[error("ask {server}: {source}")]
    Upstream {
        /// The server.
        server: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another server's answer is no answer to what was asked.
    #[error("{0} answers something else than was asked")]
    Mismatch(SocketAddr),
    /// There is nobody to ask.
    #[error("no upstream server")]
    NoUpstream,
    /// A message could not be written.
    #[error("encode a message: {0}")]
    Encode(#[from] hickory_proto::ProtoError),
}
