//! What the rules do to a packet, told from the model alone: for tests, and for people who ask why.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::frontend::{At, Backends, Empty, Frontend, Protocol, Side};
use crate::model::Model;
use crate::plan::Node;

/// The first packet of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Packet {
    /// Its protocol.
    pub protocol: Protocol,
    /// Who sends it.
    pub source: Ipv4Addr,
    /// Where it wants to go.
    pub destination: SocketAddrV4,
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It goes to one of these.
    Delivered(Vec<Delivery>),
    /// Its sender is told that nobody is there.
    Refused,
    /// It disappears.
    Dropped,
    /// It is no Service's: it goes where it wanted to.
    Untouched,
}

/// One way a packet may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delivery {
    /// The endpoint that gets it.
    pub endpoint: SocketAddrV4,
    /// Whether the endpoint sees the node's address instead of the sender's.
    pub masqueraded: bool,
}

/// Follows a packet through the rules of a node that has the addresses `own` (loopback is always one).
pub fn trace(model: &Model, node: &Node, own: &[Ipv4Addr], packet: &Packet) -> Fate {
    let is_own = |address: &Ipv4Addr| address.is_loopback() || own.contains(address);
    let destination = packet.destination.ip();
    let in_services = node.service_cidr.contains(destination);
    let node_port = is_own(destination) && !in_services;
    let find =
        |side, at| model.backends(&Frontend { side, at, protocol: packet.protocol, port: packet.destination.port() });
    let look = |side| {
        let by_address = find(side, At::Address(*destination));
        by_address.or_else(|| if node_port { find(side, At::Node) } else { None })
    };
    let outside = !is_own(&packet.source) && !node.pod_cidr.contains(&packet.source);
    let found = if outside { look(Side::Outside) } else { None }.or_else(|| look(Side::Everyone));
    match found {
        Some(backends) => fate(backends, node, &is_own, packet),
        None if in_services && !is_own(destination) => Fate::Refused,
        None => Fate::Untouched,
    }
}

fn fate(backends: &Backends, node: &Node, is_own: &dyn Fn(&Ipv4Addr) -> bool, packet: &Packet) -> Fate {
    if backends.endpoints.is_empty() {
        return match backends.empty {
            Empty::Refuse => Fate::Refused,
            Empty::Drop => Fate::Dropped,
        };
    }
    let deliver = |endpoint: &SocketAddrV4| {
        let (from, to) = (packet.source, *endpoint.ip());
        let between_pods = node.pod_cidr.contains(&to) || node.pod_cidr.contains(&from);
        // What ends on the node itself never passes the chain that masquerades.
        let masqueraded = !is_own(&to) && (from == to || from.is_loopback() || !between_pods);
        Delivery { endpoint: *endpoint, masqueraded }
    };
    let mut deliveries: Vec<Delivery> = backends.endpoints.iter().map(deliver).collect();
    deliveries.sort();
    Fate::Delivered(deliveries)
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered(deliveries) => {
                let all: Vec<String> = deliveries.iter().map(ToString::to_string).collect();
                f.write_str(&all.join(", "))
            }
            Self::Refused => f.write_str("refused"),
            Self::Dropped => f.write_str("dropped"),
            Self::Untouched => f.write_str("untouched"),
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masqueraded = if self.masqueraded { " masqueraded" } else { "" };
        write!(f, "{}{masqueraded}", self.endpoint)
    }
}
