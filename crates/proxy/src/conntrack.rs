//! Connection tracking's memory of UDP flows. A UDP client never reconnects: its flow would go to an endpoint that is
//! gone for as long as it keeps sending, so the flow is deleted and the next packet is translated anew.
//!
//! Speaks nfnetlink itself: one dump, one deletion for each flow that is stale.

use std::io::{Error, Result};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};

use crate::frontend::{At, Frontend, Protocol};
use crate::model::Change;

const HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;
const ATTRIBUTE_HEADER: usize = 4;
/// What the kernel sends at most in one piece of a dump.
const BUFFER_BYTES: usize = 64 << 10;

const NEW: u16 = 1 << 8;
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
const INET: u8 = 2;
const UDP: u8 = 17;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IP_SOURCE: u16 = 1;
const IP_DESTINATION: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_SOURCE_PORT: u16 = 2;
const PROTOCOL_DESTINATION_PORT: u16 = 3;
const TYPE_MASK: u16 = 0x3fff;

/// An endpoint that a frontend has no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone {
    at: At,
    port: u16,
    endpoint: SocketAddrV4,
}

/// The UDP endpoints that `changes` take away.
pub(crate) fn gone(changes: &[Change]) -> Vec<Gone> {
    let udp = changes.iter().filter(|change| change.frontend.protocol == Protocol::Udp);
    udp.flat_map(|change| {
        let Frontend { at, port, .. } = change.frontend;
        let kept = change.new.as_ref().map(|new| new.endpoints.as_slice()).unwrap_or_default();
        let old = change.old.iter().flat_map(|old| old.endpoints.iter().copied());
        old.filter(|one| !kept.contains(one)).map(move |endpoint| Gone { at, port, endpoint })
    })
    .collect()
}

/// Deletes the flows that lead to what is gone. Blocks; a node with very many flows takes some tenths of a second.
pub(crate) fn forget(gone: &[Gone]) -> Result<()> {
    let socket = Socket::open()?;
    let stale: Vec<Flow> =
        socket.dump()?.into_iter().filter(|flow| gone.iter().any(|one| flow.leads_to(one))).collect();
    stale.iter().try_for_each(|flow| socket.delete(flow))
}

/// One tracked UDP flow.
#[derive(Debug, Default)]
struct Flow {
    /// The original direction as the kernel wrote it: deletion names the flow by it.
    original: Vec<u8>,
    destination: (Option<Ipv4Addr>, Option<u16>),
    answers_from: (Option<Ipv4Addr>, Option<u16>),
    protocol: Option<u8>,
}

impl Flow {
    fn leads_to(&self, gone: &Gone) -> bool {
        let address = match gone.at {
            At::Address(address) => self.destination.0 == Some(address),
            At::Node => true,
        };
        let endpoint = (Some(*gone.endpoint.ip()), Some(gone.endpoint.port()));
        address && self.destination.1 == Some(gone.port) && self.answers_from == endpoint && self.protocol == Some(UDP)
    }

    fn parse(attributes: &[u8]) -> Self {
        let mut flow = Self::default();
        for (kind, value) in Attributes(attributes) {
            match kind {
                TUPLE_ORIGINAL => {
                    let tuple = Tuple::parse(value);
                    flow.original = value.to_vec();
                    flow.destination = tuple.destination;
                    flow.protocol = tuple.protocol;
                }
                TUPLE_REPLY => flow.answers_from = Tuple::parse(value).source,
                _ => {}
            }
        }
        flow
    }
}

#[derive(Debug, Default)]
struct Tuple {
    source: (Option<Ipv4Addr>, Option<u16>),
    destination: (Option<Ipv4Addr>, Option<u16>),
    protocol: Option<u8>,
}

impl Tuple {
    fn parse(attributes: &[u8]) -> Self {
        let mut tuple = Self::default();
        for (group, values) in Attributes(attributes) {
            for (kind, value) in Attributes(values) {
                match (group, kind) {
                    (TUPLE_IP, IP_SOURCE) => tuple.source.0 = address(value),
                    (TUPLE_IP, IP_DESTINATION) => tuple.destination.0 = address(value),
                    (TUPLE_PROTOCOL, PROTOCOL_NUMBER) => tuple.protocol = value.first().copied(),
                    (TUPLE_PROTOCOL, PROTOCOL_SOURCE_PORT) => tuple.source.1 = port(value),
                    (TUPLE_PROTOCOL, PROTOCOL_DESTINATION_PORT) => tuple.destination.1 = port(value),
                    _ => {}
                }
            }
        }
        tuple
    }
}

fn address(value: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?))
}

fn port(value: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(value.try_into().ok()?))
}

/// Walks netlink attributes; ends at the first that does not fit.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(self.0.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.0.get(2..4)?.try_into().ok()?) & TYPE_MASK;
        let value = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// Walks the messages of one datagram: type and payload.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = u32::from_ne_bytes(self.0.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(self.0.get(4..6)?.try_into().ok()?);
        let payload = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    }
}

fn message(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = HEADER + FAMILY_HEADER + attributes.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend((length as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((REQUEST | flags).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([INET, 0, 0, 0]);
    bytes.extend(attributes);
    bytes
}

struct Socket(OwnedFd);

impl Socket {
    fn open() -> Result<Self> {
        let protocol = SockProtocol::NetlinkNetFilter;
        Ok(Self(socket::socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?))
    }

    fn dump(&self) -> Result<Vec<Flow>> {
        self.send(&message(GET, DUMP, &[]))?;
        let mut flows = Vec::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let length = self.receive(&mut buffer)?;
            for (kind, payload) in Messages(&buffer[..length]) {
                match kind {
                    NLMSG_DONE => return Ok(flows),
                    NLMSG_ERROR => return Err(refusal(payload).unwrap_or_else(|| Error::other("dump refused"))),
                    NEW => flows.push(Flow::parse(payload.get(FAMILY_HEADER..).unwrap_or_default())),
                    _ => {}
                }
            }
        }
    }

    fn delete(&self, flow: &Flow) -> Result<()> {
        const NESTED: u16 = 0x8000;
        let mut attribute = Vec::with_capacity(ATTRIBUTE_HEADER + flow.original.len());
        attribute.extend(((ATTRIBUTE_HEADER + flow.original.len()) as u16).to_ne_bytes());
        attribute.extend((TUPLE_ORIGINAL | NESTED).to_ne_bytes());
        attribute.extend(&flow.original);
        self.send(&message(DELETE, ACKNOWLEDGE, &attribute))?;
        let mut buffer = [0; 4096];
        let length = self.receive(&mut buffer)?;
        match Messages(&buffer[..length]).find_map(|(_, payload)| refusal(payload)) {
            // It ended by itself meanwhile.
            Some(error) if error.raw_os_error() == Some(nix::errno::Errno::ENOENT as i32) => Ok(()),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        socket::send(self.0.as_raw_fd(), bytes, MsgFlags::empty())?;
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<usize> {
        Ok(socket::recv(self.0.as_raw_fd(), buffer, MsgFlags::empty())?)
    }
}

/// The error of an acknowledgement, if it is one.
fn refusal(payload: &[u8]) -> Option<Error> {
    let code = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    (code != 0).then(|| Error::from_raw_os_error(-code))
}
