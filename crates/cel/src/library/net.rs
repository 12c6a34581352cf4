//! Addresses and networks: `ip('10.0.0.1')`, `cidr('10.0.0.0/8').containsIP('10.1.2.3')`.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Library, Ran, go_address};
use crate::eval::NO_OVERLOAD;
use crate::value::{Opaque, Value};

/// The network functions.
pub(crate) static LIBRARY: Library = Library {
    declarations: "
    ip string_to_ip (string) -> net.IP
    ip cidr_ip net.CIDR.() -> net.IP
    isIP is_ip (string) -> bool
    ip.isCanonical ip_is_canonical (string) -> bool
    family ip_family net.IP.() -> int
    isUnspecified ip_is_unspecified net.IP.() -> bool
    isLoopback ip_is_loopback net.IP.() -> bool
    isLinkLocalMulticast ip_is_link_local_multicast net.IP.() -> bool
    isLinkLocalUnicast ip_is_link_local_unicast net.IP.() -> bool
    isGlobalUnicast ip_is_global_unicast net.IP.() -> bool
    cidr string_to_cidr (string) -> net.CIDR
    isCIDR is_cidr (string) -> bool
    containsIP cidr_contains_ip_string net.CIDR.(string) -> bool
    containsIP cidr_contains_ip_ip net.CIDR.(net.IP) -> bool
    containsCIDR cidr_contains_cidr_string net.CIDR.(string) -> bool
    containsCIDR cidr_contains_cidr net.CIDR.(net.CIDR) -> bool
    masked cidr_masked net.CIDR.() -> net.CIDR
    prefixLength cidr_prefix_length net.CIDR.() -> int
",
    run,
};

/// An address with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr(IpNet);

impl Cidr {
    /// The bytes that its prefix reaches into.
    pub(crate) fn prefix_bytes(&self) -> usize {
        usize::from(self.0.prefix_len()).div_ceil(8)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn run<'a>(function: &str, args: &[Value<'a>]) -> Ran<'a> {
    match args {
        [Value::String(text)] => of_text(function, text),
        [Value::Opaque(Opaque::Ip(ip))] => of_ip(function, *ip).map(Ok),
        [Value::Opaque(Opaque::Cidr(cidr)), rest @ ..] => of_cidr(function, cidr.0, rest),
        _ => None,
    }
}

fn of_text<'a>(function: &str, text: &str) -> Ran<'a> {
    Some(match function {
        "ip" => parse_ip(text).map(|ip| Value::Opaque(Opaque::Ip(ip))),
        "isIP" => Ok(Value::Bool(parse_ip(text).is_ok())),
        "ip.isCanonical" => parse_ip(text).map(|ip| Value::Bool(ip.to_string() == text)),
        "cidr" => parse_cidr(text).map(|cidr| Value::Opaque(Opaque::Cidr(Cidr(cidr)))),
        "isCIDR" => Ok(Value::Bool(parse_cidr(text).is_ok())),
        _ => return None,
    })
}

fn parse_ip(text: &str) -> Result<IpAddr, String> {
    let ip = go_address::parse(text)
        .map_err(|why| format!("IP Address \"{text}\" parse error during conversion from string: {why}"))?;
    match ip {
        (_, true) => Err(format!("IP address \"{text}\" with zone value is not allowed")),
        (ip, false) if is_mapped(ip) => Err(format!("IPv4-mapped IPv6 address \"{text}\" is not allowed")),
        (ip, false) => Ok(ip),
    }
}

fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(six) if six.to_ipv4_mapped().is_some())
}

fn parse_cidr(text: &str) -> Result<IpNet, String> {
    const FAULT: &str = "network address parse error during conversion from string";
    let network = go_address::parse_prefix(text)
        .map_err(|why| format!("{FAULT}: {FAULT}: netip.ParsePrefix(\"{text}\"): {why}"))?;
    if is_mapped(network.addr()) {
        return Err(format!("{FAULT}: IPv4-mapped IPv6 address \"{text}\" is not allowed"));
    }
    Ok(network)
}

fn of_ip<'a>(function: &str, ip: IpAddr) -> Option<Value<'a>> {
    let local_multicast = match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    };
    let local_unicast = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    };
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    Some(match function {
        "family" => Value::Int(if ip.is_ipv4() { 4 } else { 6 }),
        "isUnspecified" => Value::Bool(ip.is_unspecified()),
        "isLoopback" => Value::Bool(ip.is_loopback()),
        "isLinkLocalMulticast" => Value::Bool(local_multicast),
        "isLinkLocalUnicast" => Value::Bool(local_unicast),
        "isGlobalUnicast" => {
            Value::Bool(!(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || local_unicast || broadcast))
        }
        _ => return None,
    })
}

fn of_cidr<'a>(function: &str, cidr: IpNet, args: &[Value<'a>]) -> Ran<'a> {
    Some(match (function, args) {
        ("ip", []) => Ok(Value::Opaque(Opaque::Ip(cidr.addr()))),
        ("masked", []) => Ok(Value::Opaque(Opaque::Cidr(Cidr(cidr.trunc())))),
        ("prefixLength", []) => Ok(Value::Int(cidr.prefix_len().into())),
        ("containsIP", [Value::String(text)]) => {
            parse_ip(text).map(|ip| Value::Bool(cidr.contains(&ip))).map_err(|_| NO_OVERLOAD.to_owned())
        }
        ("containsIP", [Value::Opaque(Opaque::Ip(ip))]) => Ok(Value::Bool(cidr.contains(ip))),
        ("containsCIDR", [Value::String(text)]) => parse_cidr(text).map(|other| Value::Bool(contains(cidr, other))),
        ("containsCIDR", [Value::Opaque(Opaque::Cidr(other))]) => Ok(Value::Bool(contains(cidr, other.0))),
        _ => return None,
    })
}

fn contains(outer: IpNet, inner: IpNet) -> bool {
    outer.prefix_len() <= inner.prefix_len() && outer.contains(&inner.addr())
}
