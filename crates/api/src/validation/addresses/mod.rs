//! Addresses and networks, as text. Each rule answers with what is wrong, in upstream's words.
//!
//! A network or an address of the older fields may be written in several ways, but not so that two programs could read
//! two things in it ([`ip`], [`cidr`]); what an object said before that was asked stays allowed in it ([`unless_known`]).
//! What newer fields say has one form ([`canonical_ip`], [`canonical_cidr`], [`interface_address`]).

mod warnings;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

pub(crate) use self::warnings::{cidr as cidr_warnings, ip as ip_warning};
use crate::kinds::read;

const LEADING_ZEROS: &str = "must not have leading 0s";
const MAPPED: &str = "must not be an IPv4-mapped IPv6 address";

/// An address of either family.
pub(crate) fn ip(text: &str) -> Vec<String> {
    match WrittenIp::read(text) {
        None => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
        Some(written) if written.has_zeros => vec![LEADING_ZEROS.to_owned()],
        Some(written) if written.is_mapped() => vec![MAPPED.to_owned()],
        Some(_) => Vec::new(),
    }
}

/// A network: an address whose bits beyond the prefix are 0, and the prefix's length.
pub(crate) fn cidr(text: &str) -> Vec<String> {
    let fault = match WrittenCidr::read(text) {
        None => "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        Some(written) if written.has_zeros() => "must not have leading 0s in IP or prefix length",
        Some(written) if written.ip.is_mapped() => "must not have an IPv4-mapped IPv6 address",
        Some(written) if written.ip.address != written.network() => "must not have bits set beyond the prefix length",
        Some(_) => return Vec::new(),
    };
    vec![fault.to_owned()]
}

/// `rule`, for a value that is none of those that the object has had before.
pub(crate) fn unless_known(rule: fn(&str) -> Vec<String>, known: &[&str]) -> impl Fn(&str) -> Vec<String> {
    move |text| if known.contains(&text) { Vec::new() } else { rule(text) }
}

/// The addresses that the status of an object names as those of its load balancer.
pub(crate) fn of_load_balancer(object: &Value) -> Vec<&str> {
    read::list(object, "/status/loadBalancer/ingress").iter().map(|ingress| read::text(ingress, "/ip")).collect()
}

/// An address of either family, written as everyone writes it.
pub(crate) fn canonical_ip(text: &str) -> Vec<String> {
    let faults = ip(text);
    match WrittenIp::read(text) {
        Some(written) if faults.is_empty() => canonical(text, &written.address.to_string()),
        _ => faults,
    }
}

/// A network, written as everyone writes it.
pub(crate) fn canonical_cidr(text: &str) -> Vec<String> {
    let faults = cidr(text);
    match WrittenCidr::read(text) {
        Some(written) if faults.is_empty() => canonical(text, &written.plain()),
        _ => faults,
    }
}

/// An address of a network interface, with the length of its network's prefix: `192.0.2.7/24`.
pub(crate) fn interface_address(text: &str) -> Vec<String> {
    match WrittenCidr::read(text) {
        None => vec!["must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)".to_owned()],
        Some(written) => {
            let (address, length) = of_family(written.ip.address, written.length);
            canonical(text, &format!("{address}/{length}"))
        }
    }
}

/// An address that traffic may be sent to: none of the sender's own machine or link, where metadata services and
/// node-local daemons listen.
pub(crate) fn reachable_ip(text: &str) -> Vec<String> {
    let Some(written) = WrittenIp::read(text) else { return vec!["must be a valid IP address".to_owned()] };
    let ip = written.address.to_canonical();
    let (link_local, link_local_multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
    };
    let rules = [
        (ip.is_unspecified(), format!("may not be unspecified ({text})")),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()),
        (link_local_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()),
    ];
    rules.into_iter().filter(|(broken, _)| *broken).map(|(_, fault)| fault).collect()
}

fn canonical(text: &str, plain: &str) -> Vec<String> {
    if text == plain { Vec::new() } else { vec![format!("must be in canonical form ({plain:?})")] }
}

/// An address as it is written: perhaps with zeros before the digits of an IPv4 address, which some programs read as
/// octal numbers.
struct WrittenIp {
    address: IpAddr,
    has_zeros: bool,
}

impl WrittenIp {
    fn read(text: &str) -> Option<Self> {
        let strict = text.parse().ok().map(|address| Self { address, has_zeros: false });
        strict.or_else(|| Some(Self { address: without_zeros(text).parse().ok()?, has_zeros: true }))
    }

    /// Whether this is an IPv4 address in the clothes of IPv6.
    fn is_mapped(&self) -> bool {
        matches!(self.address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
    }
}

/// A network as it is written: its address may have bits beyond the prefix.
struct WrittenCidr {
    ip: WrittenIp,
    length: u8,
    length_has_zeros: bool,
}

impl WrittenCidr {
    fn read(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let ip = WrittenIp::read(address)?;
        let digits = length.trim_start_matches('0');
        let length_has_zeros = length.len() > 1 && digits.len() < length.len();
        if length.is_empty() || !length.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let length = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        let longest = if ip.address.is_ipv4() { 32 } else { 128 };
        (length <= longest).then_some(Self { ip, length, length_has_zeros })
    }

    fn has_zeros(&self) -> bool {
        self.ip.has_zeros || self.length_has_zeros
    }

    /// The address without the bits beyond the prefix.
    fn network(&self) -> IpAddr {
        let length = u32::from(self.length);
        match self.ip.address {
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & u32::MAX.checked_shl(32 - length).unwrap_or(0)).into(),
            IpAddr::V6(ip) => {
                Ipv6Addr::from_bits(ip.to_bits() & u128::MAX.checked_shl(128 - length).unwrap_or(0)).into()
            }
        }
    }

    /// The network as everyone writes it.
    fn plain(&self) -> String {
        let (network, length) = of_family(self.network(), self.length);
        format!("{network}/{length}")
    }
}

/// An IPv4 address as such, whatever its clothes, with the length of a prefix in it.
fn of_family(address: IpAddr, length: u8) -> (IpAddr, u8) {
    let plain = address.to_canonical();
    if plain.is_ipv4() && address.is_ipv6() { (plain, length.saturating_sub(96)) } else { (plain, length) }
}

/// `text` without the zeros that stand before the digits of an IPv4 address, at its end or alone.
fn without_zeros(text: &str) -> String {
    let (head, tail) = text.rsplit_once(':').map_or(("", text), |(head, _)| text.split_at(head.len() + 1));
    let parts = tail.split('.').map(|part| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0",
        part => part,
    });
    if tail.contains('.') { format!("{head}{}", parts.collect::<Vec<_>>().join(".")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: fn(&str) -> Vec<String>, rows: &[(&str, &str)]) {
        for (text, fault) in rows {
            assert_eq!(rule(text).join("; "), *fault, "{text:?}");
        }
    }

    #[test]
    fn an_address_can_be_read_in_one_way_alone() {
        let invalid = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        check(
            ip,
            &[
                ("1.2.3.4", ""),
                ("FD00:0::1", ""),
                ("010.2.3.4", LEADING_ZEROS),
                ("1.2.3.00", LEADING_ZEROS),
                ("::ffff:01.2.3.4", LEADING_ZEROS),
                ("::ffff:1.2.3.4", MAPPED),
                ("1.2.3", invalid),
                ("1.2.3.", invalid),
                ("1.2.3.0256", invalid),
                ("fe80::1%eth0", invalid),
                ("", invalid),
            ],
        );
        check(
            canonical_ip,
            &[("::1", ""), ("FD00::1", "must be in canonical form (\"fd00::1\")"), ("::ffff:1.2.3.4", MAPPED)],
        );
    }

    #[test]
    fn a_network_has_no_bits_beyond_its_prefix() {
        let invalid = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        let zeros = "must not have leading 0s in IP or prefix length";
        check(
            cidr,
            &[
                ("10.0.0.0/8", ""),
                ("0.0.0.0/0", ""),
                ("::/0", ""),
                ("FD00::/64", ""),
                ("10.0.0.1/32", ""),
                ("10.0.0.1/8", "must not have bits set beyond the prefix length"),
                ("fd00::1/64", "must not have bits set beyond the prefix length"),
                ("010.0.0.0/8", zeros),
                ("10.0.0.0/08", zeros),
                ("::ffff:10.0.0.0/104", "must not have an IPv4-mapped IPv6 address"),
                ("10.0.0.0/33", invalid),
                ("10.0.0.0/", invalid),
                ("10.0.0.0/+8", invalid),
                ("10.0.0.0", invalid),
            ],
        );
        check(canonical_cidr, &[("10.0.0.0/8", ""), ("FD00::/64", "must be in canonical form (\"fd00::/64\")")]);
        check(
            interface_address,
            &[
                ("10.9.8.7/24", ""),
                ("::ffff:192.168.0.1/120", "must be in canonical form (\"192.168.0.1/24\")"),
                ("10.9.8.7", "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"),
            ],
        );
    }

    #[test]
    fn what_was_there_before_may_stay() {
        let rule = unless_known(cidr, &["10.0.0.1/8"]);
        assert_eq!(rule("10.0.0.1/8"), [""; 0]);
        assert_eq!(rule("10.0.0.2/8").len(), 1);
    }

    #[test]
    fn traffic_goes_to_reachable_addresses_only() {
        for good in ["10.0.0.1", "2001:db8::1"] {
            assert_eq!(reachable_ip(good), [""; 0], "{good}");
        }
        let bad = [
            "0.0.0.0",
            "127.0.0.1",
            "169.254.169.254",
            "224.0.0.1",
            "::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "x",
        ];
        for bad in bad {
            assert_eq!(reachable_ip(bad).len(), 1, "{bad}");
        }
    }
}
