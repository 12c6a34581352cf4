//! Ports of the node that lead to a sandbox: who has which, and what nftables has to know of it.
//!
//! Kept in a file beside the network's other state, because the rules are made anew at every start.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::options::Plan;

const FILE: &str = "host-ports.json";

/// What travels to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A port of the node that leads to one of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostPort {
    /// What travels to it.
    pub protocol: Protocol,
    /// The one address of the node that has it; every one where none is named.
    pub host_address: Option<IpAddr>,
    /// The port of the node.
    pub host_port: u16,
    /// The sandbox's.
    pub port: u16,
}

/// Who has which.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports(BTreeMap<String, Published>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Published {
    address: Ipv4Addr,
    ports: Vec<HostPort>,
}

/// The elements of the maps and the set in [`crate::rules`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Elements {
    /// `protocol . host port : address . port`
    pub(crate) anywhere: Vec<String>,
    /// The same with an address of the node before it.
    pub(crate) at_address: Vec<String>,
    /// `address . address`
    pub(crate) hairpin: Vec<String>,
}

impl Ports {
    /// What a predecessor has written down.
    pub(crate) fn load(plan: &Plan) -> Result<Self, Error> {
        match fs::read(path(plan)) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| failed(plan, error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(failed(plan, error)),
        }
    }

    pub(crate) fn save(&self, plan: &Plan) -> Result<(), Error> {
        let (path, staged) = (path(plan), path(plan).with_extension("new"));
        let saved = serde_json::to_vec(self).map_err(io::Error::from).and_then(|text| {
            fs::write(&staged, text)?;
            fs::rename(&staged, &path)
        });
        saved.map_err(|error| failed(plan, error))
    }

    /// Notes what a sandbox has; refuses what another has already.
    pub(crate) fn publish(&mut self, sandbox: &str, address: Ipv4Addr, ports: &[HostPort]) -> Result<(), Error> {
        let others = self.0.iter().filter(|(name, _)| *name != sandbox);
        for (holder, taken) in others.flat_map(|(name, own)| own.ports.iter().map(move |port| (name, port))) {
            if ports.iter().any(|port| port.collides(taken)) {
                let port = format!("{}/{}", taken.host_port, taken.protocol.name());
                return Err(Error::PortTaken { port, holder: holder.clone() });
            }
        }
        self.0.insert(sandbox.to_owned(), Published { address, ports: ports.to_vec() });
        Ok(())
    }

    /// Forgets a sandbox; its elements, if it had any.
    pub(crate) fn withdraw(&mut self, sandbox: &str) -> Option<Elements> {
        self.0.remove(sandbox).map(|published| elements([&published]))
    }

    /// The elements of one sandbox.
    pub(crate) fn of(&self, sandbox: &str) -> Elements {
        elements(self.0.get(sandbox))
    }

    /// The elements of all.
    pub(crate) fn all(&self) -> Elements {
        elements(self.0.values())
    }
}

impl HostPort {
    fn collides(&self, other: &Self) -> bool {
        let address = match (self.host_address, other.host_address) {
            (Some(one), Some(other)) => one == other,
            (None, None) => true,
            // The one with an address is the narrower rule, and goes first.
            _ => false,
        };
        address && (self.protocol, self.host_port) == (other.protocol, other.host_port)
    }
}

fn elements<'a>(published: impl IntoIterator<Item = &'a Published>) -> Elements {
    let mut elements = Elements::default();
    for Published { address, ports } in published {
        for port in ports {
            let rest = format!("{} . {} : {address} . {}", port.protocol.name(), port.host_port, port.port);
            match port.host_address {
                None => elements.anywhere.push(rest),
                Some(own) => elements.at_address.push(format!("{own} . {rest}")),
            }
        }
        if !ports.is_empty() {
            elements.hairpin.push(format!("{address} . {address}"));
        }
    }
    elements
}

fn path(plan: &Plan) -> PathBuf {
    plan.state_dir.join(FILE)
}

fn failed(plan: &Plan, source: io::Error) -> Error {
    Error::State { path: path(plan), source }
}

/// Removes the file.
pub(crate) fn forget(plan: &Plan) -> Result<(), Error> {
    remove(&path(plan))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::State { path: path.to_owned(), source }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(protocol: Protocol, host_address: Option<&str>, host_port: u16) -> HostPort {
        HostPort { protocol, host_address: host_address.map(|text| text.parse().unwrap()), host_port, port: 80 }
    }

    #[test]
    fn a_port_has_one_holder() {
        let mut ports = Ports::default();
        let mut check = |sandbox: &str, port: HostPort, fine: bool| {
            assert_eq!(
                ports.publish(sandbox, Ipv4Addr::new(10, 0, 0, 1), std::slice::from_ref(&port)).is_ok(),
                fine,
                "{port:?}"
            );
        };
        check("a", port(Protocol::Tcp, None, 80), true);
        check("a", port(Protocol::Tcp, None, 80), true);
        check("b", port(Protocol::Tcp, None, 80), false);
        check("b", port(Protocol::Udp, None, 80), true);
        check("c", port(Protocol::Tcp, Some("127.0.0.1"), 80), true);
        check("d", port(Protocol::Tcp, Some("127.0.0.1"), 80), false);
        check("d", port(Protocol::Tcp, Some("192.0.2.1"), 80), true);
    }

    #[test]
    fn elements_are_what_rules_need() {
        let mut ports = Ports::default();
        let own = [port(Protocol::Tcp, None, 8080), port(Protocol::Udp, Some("192.0.2.1"), 53)];
        ports.publish("a", Ipv4Addr::new(10, 0, 0, 1), &own).unwrap();
        ports.publish("b", Ipv4Addr::new(10, 0, 0, 2), &[]).unwrap();
        let want = Elements {
            anywhere: vec!["tcp . 8080 : 10.0.0.1 . 80".into()],
            at_address: vec!["192.0.2.1 . udp . 53 : 10.0.0.1 . 80".into()],
            hairpin: vec!["10.0.0.1 . 10.0.0.1".into()],
        };
        assert_eq!(ports.all(), want);
        assert_eq!(ports.of("a"), want);
        assert_eq!(ports.withdraw("a"), Some(want));
        assert_eq!(ports.withdraw("a"), None);
    }
}
