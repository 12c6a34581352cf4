//! The cluster's DNS, answered on every node from memory.
//!
//! Names below the cluster domain follow the Kubernetes DNS specification (version 1.1.0); all others are forwarded to
//! the node's own servers. One deliberate addition: inside a Pod, the bare name of one of its containers is 127.0.0.1
//! where no Service answers to that name (see [`answer`]).
//!
//! [`table`] is what is known, [`answer`] the pure decision, [`wire`] the form of messages; [`forward`] asks other
//! servers and `server.rs` is the thin loop around them all. It knows neither how Pods are connected nor how packets
//! reach a Service. IPv4 only, for now: AAAA has no data.

pub mod answer;
mod cache;
mod component;
mod error;
pub mod forward;
mod server;
pub mod table;
pub mod wire;

pub use component::{Dns, Handle, Options, nameservers};
pub use error::Error;
