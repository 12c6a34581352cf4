//! Addresses that are taken although they are not written as they should be (RFC 5952): a warning for each.

use std::net::{IpAddr, Ipv6Addr};

use crate::field::Path;

/// The warning about an address.
pub(crate) fn ip(path: &Path, text: &str) -> Option<String> {
    let IpAddr::V6(address) = text.parse().ok()? else { return None };
    let plain = address.to_string();
    let warning = format!("{path}: IPv6 address {text:?} should be in RFC 5952 canonical format ({plain:?})");
    (plain != text).then_some(warning)
}

/// The warning about a network.
pub(crate) fn cidr(path: &Path, text: &str) -> Option<String> {
    let (address, length) = text.split_once('/')?;
    let plain = format!("{}/{length}", address.parse::<Ipv6Addr>().ok()?);
    let warning = format!("{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({plain:?})");
    (plain != text).then_some(warning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_as_it_should_be() {
        let path = Path::new("spec").child("a");
        let said = |text: &str| ip(&path, text).or_else(|| cidr(&path, text)).unwrap_or_default();
        for text in ["1.2.3.4", "::1", "fd00::/64", "10.0.0.0/8", "nonsense"] {
            assert_eq!(said(text), "", "{text}");
        }
        let want = "spec.a: IPv6 address \"FD00:0::1\" should be in RFC 5952 canonical format (\"fd00::1\")";
        assert_eq!(said("FD00:0::1"), want);
        let want = "spec.a: IPv6 CIDR value \"FD00::/64\" should be in RFC 5952 canonical format (\"fd00::/64\")";
        assert_eq!(said("FD00::/64"), want);
    }
}
