//! What can go wrong, and to what.

use std::net::IpAddr;
use std::path::PathBuf;

/// Why a step of the Pod network failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option contradicts another or cannot be a kernel name.
    #[error("network option {option}: {reason}")]
    Option {
        /// The option's field name.
        option: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// Every address of the node's range is in use.
    #[error("no free address in {range}: all {in_use} are in use")]
    Exhausted {
        /// The node's range in CIDR form.
        range: String,
        /// How many addresses are given out.
        in_use: usize,
    },
    /// Another sandbox has this port of the node.
    #[error("host port {port} is taken by sandbox {holder}")]
    PortTaken {
        /// Number and protocol.
        port: String,
        /// Who has it.
        holder: String,
    },
    /// The sandbox's name cannot be recorded in the kernel.
    #[error("sandbox name {0:?} is empty or longer than 128 bytes")]
    SandboxName(String),
    /// The sandbox's namespace vanished while it was being connected.
    #[error("sandbox {0} ended while it was being connected")]
    SandboxEnded(String),
    /// The network namespace could not be opened or entered.
    #[error("network namespace {path}: {source}")]
    Netns {
        /// The path that was given.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A request to the kernel about links, addresses, routes or neighbours failed.
    #[error("{doing}: {source}")]
    Netlink {
        /// What was being done to what.
        doing: String,
        /// What the kernel said.
        source: rtnetlink::Error,
    },
    /// A netlink socket could not be opened.
    #[error("open a netlink socket: {0}")]
    Socket(std::io::Error),
    /// A kernel setting could not be read or written.
    #[error("kernel setting {key}: {source}")]
    Sysctl {
        /// The path below `/proc/sys`.
        key: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The `nft` program is missing, or refused the rules.
    #[error(transparent)]
    Nft(#[from] sampan_nft::Error),
    /// A state file could not be read or written.
    #[error("state file {path}: {source}")]
    State {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An address of a family that this network does not carry (yet).
    #[error("address {0} is not IPv4")]
    Family(IpAddr),
}
