//! The words of the model: where a Service is reached (frontend) and where its packets go (backends).

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

/// A transport protocol that Services carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// Reads a Service port's `protocol` field, which defaults to TCP.
    pub fn parse(field: Option<&str>) -> Option<Self> {
        let name = field.unwrap_or("TCP");
        Self::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// The name that nftables uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// Whose packets a frontend is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Packets of everyone for whom there is nothing more special.
    Everyone,
    /// Packets that come neither from this node nor from its Pods: `externalTrafficPolicy: Local` treats them apart.
    Outside,
}

/// The address of a frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum At {
    /// A virtual address.
    Address(Ipv4Addr),
    /// Every address of the node (a node port).
    Node,
}

/// Where a Service is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// Whose packets.
    pub side: Side,
    /// Sent to which address.
    pub at: At,
    /// With which protocol.
    pub protocol: Protocol,
    /// To which port.
    pub port: u16,
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            At::Address(address) => write!(f, "{} {address}:{}", self.protocol.name(), self.port),
            At::Node => write!(f, "{} node:{}", self.protocol.name(), self.port),
        }
    }
}

/// What happens to packets of a frontend without endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Empty {
    /// The client is told: a TCP reset, or port unreachable.
    Refuse,
    /// There are endpoints, but a traffic policy keeps these packets from them: silence, as upstream does.
    Drop,
}

/// Where a frontend's packets go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backends {
    /// The endpoints; a packet's first is drawn among them. Their order is their index in the kernel.
    pub endpoints: Vec<SocketAddrV4>,
    /// A client keeps its endpoint for this many seconds after its last new connection.
    pub sticky_seconds: Option<u32>,
    /// What happens when there is no endpoint.
    pub empty: Empty,
}
