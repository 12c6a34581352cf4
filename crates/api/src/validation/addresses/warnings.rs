//! Addresses and networks that are taken although they are not written as they should be: warnings about them.

use super::{WrittenCidr, WrittenIp};
use crate::field::Path;

/// The warning about an address.
pub(crate) fn ip(path: &Path, text: &str) -> Option<String> {
    let written = WrittenIp::read(text)?;
    let plain = written.address.to_canonical().to_string();
    if written.has_zeros || written.is_mapped() {
        return Some(format!("{path}: non-standard IP address {text:?} is invalid: use {plain:?}"));
    }
    let warning = format!("{path}: IPv6 address {text:?} should be in RFC 5952 canonical format ({plain:?})");
    (plain != text).then_some(warning)
}

/// The warnings about a network.
pub(crate) fn cidr(path: &Path, text: &str) -> Vec<String> {
    let Some(written) = WrittenCidr::read(text) else { return Vec::new() };
    let mut warnings = Vec::new();
    let plain = written.plain();
    let address = written.ip.address;
    if address != written.network() {
        let single = format!("{}/{}", address.to_canonical(), if address.is_ipv4() { 32 } else { 128 });
        let doubt = format!("is ambiguous in this context (should be {plain:?} or {single:?}?)");
        warnings.push(format!("{path}: CIDR value {text:?} {doubt}"));
    }
    if written.has_zeros() || written.ip.is_mapped() {
        warnings.push(format!("{path}: non-standard CIDR value {text:?} is invalid: use {plain:?}"));
    }
    if warnings.is_empty() && plain != text {
        warnings.push(format!("{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({plain:?})"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_as_it_should_be() {
        let path = Path::new("spec").child("a");
        let said = |text: &str| ip(&path, text).into_iter().chain(cidr(&path, text)).collect::<Vec<_>>().join("; ");
        for (text, warnings) in [
            ("1.2.3.4", ""),
            ("::1", ""),
            ("fd00::/64", ""),
            ("10.0.0.0/8", ""),
            ("nonsense", ""),
            ("FD00:0::1", r#"spec.a: IPv6 address "FD00:0::1" should be in RFC 5952 canonical format ("fd00::1")"#),
            ("01.2.3.4", r#"spec.a: non-standard IP address "01.2.3.4" is invalid: use "1.2.3.4""#),
            ("::ffff:1.2.3.4", r#"spec.a: non-standard IP address "::ffff:1.2.3.4" is invalid: use "1.2.3.4""#),
            (
                "FD00::/64",
                r#"spec.a: IPv6 CIDR value "FD00::/64" should be in RFC 5952 canonical format ("fd00::/64")"#,
            ),
            (
                "10.0.0.1/8",
                r#"spec.a: CIDR value "10.0.0.1/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.0.0.1/32"?)"#,
            ),
            ("10.0.0.0/08", r#"spec.a: non-standard CIDR value "10.0.0.0/08" is invalid: use "10.0.0.0/8""#),
            (
                "::ffff:10.0.0.0/104",
                r#"spec.a: non-standard CIDR value "::ffff:10.0.0.0/104" is invalid: use "10.0.0.0/8""#,
            ),
        ] {
            assert_eq!(said(text), warnings, "{text}");
        }
    }
}
