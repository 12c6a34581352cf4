//! The Pod network of one node: an address, an interface and a way out for every sandbox.
//!
//! The runtime knows only the trait [`PodNetwork`]; another network (CNI plugins) is another implementation of it.
//! Here lives the built-in one, [`BridgeNetwork`]. It does not know Services (the `proxy` crate), names (`dns`) or
//! what a container is: it is given a sandbox's name and the path of its network namespace.
//!
//! Start reading at `bridge.rs`, which puts the pure parts (`options.rs`, `addresses.rs`, `rules.rs`) and the kernel's
//! edge (`links.rs`, `netlink.rs`, `sysctl.rs`, the `nft` crate) together.

use std::net::IpAddr;
use std::path::Path;

use async_trait::async_trait;

mod addresses;
mod bridge;
mod error;
mod links;
mod netlink;
mod options;
mod ports;
mod rules;
mod sysctl;

pub use bridge::BridgeNetwork;
pub use error::Error;
pub use options::Options;
pub use ports::{HostPort, Protocol};

/// The name of a sandbox's own end, as every CNI network calls it.
const INTERFACE: &str = "eth0";

/// What a sandbox got from the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The sandbox's addresses; the first is the primary one (`status.podIP`).
    pub addresses: Vec<IpAddr>,
    /// The name of the interface inside the sandbox's namespace.
    pub interface: String,
}

/// Gives sandboxes a place on the Pod network. Every method is idempotent.
#[async_trait]
pub trait PodNetwork: Send + Sync {
    /// Connects the network namespace at `netns` (`/proc/<pid>/ns/net`, or a bind mount of one) and brings its
    /// loopback up. A sandbox that is attached already keeps what it has.
    async fn attach(&self, sandbox: &str, netns: &Path) -> Result<Attachment, Error>;

    /// Leads ports of the node to an attached sandbox, until it is detached. Replaces what it had published before.
    async fn publish(&self, sandbox: &str, ports: &[HostPort]) -> Result<(), Error>;

    /// Takes back what [`attach`](Self::attach) and [`publish`](Self::publish) gave. The interface itself ends with the namespace, which the caller
    /// drops. An unknown sandbox is not an error.
    async fn detach(&self, sandbox: &str) -> Result<(), Error>;

    /// After a restart: `living` are the sandboxes that still exist. Returns those that are attached, and takes back
    /// what any other sandbox held.
    async fn adopt(&self, living: &[String]) -> Result<Vec<(String, Attachment)>, Error>;
}
