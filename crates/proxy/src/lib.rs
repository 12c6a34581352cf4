//! Services on one node: Service and EndpointSlice objects become nftables elements, and the kernel does the rest.
//!
//! ```text
//!   Service, EndpointSlices ──plan──▶ wanted frontends ──model──▶ changes ──rules──▶ text ──nft──▶ kernel
//! ```
//!
//! Everything up to the text is pure ([`plan`], [`model`], [`rules`]), and [`trace`] says what the rules do to a
//! packet without a kernel. The rules survive this process: traffic goes on while nobody watches, and a new process
//! takes them over without a gap.
//!
//! Two maps carry all Services: one from address, protocol and port to a chain for that *number* of endpoints, one
//! from the same and an index to the endpoint; the chain draws the index. A Service more is a few elements more, never
//! a rule. See [`rules`].
//!
//! It does not know how Pods are connected (the `network` crate) and answers no names (`dns`). IPv4 only, for now;
//! `loadBalancerSourceRanges`, topology hints and health-check node ports are not served yet.

mod affinity;
mod component;
mod conntrack;
mod elements;
mod error;
pub mod frontend;
pub mod model;
pub mod plan;
pub mod rules;
mod slices;
pub mod trace;

pub use component::{Handle, Options, Proxy};
pub use error::Error;
