//! Addresses and prefixes as Go's `netip` reads them: what is wrong with one is told in its words, which users see.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Groups of an IPv6 address, and digits of one.
const GROUPS: usize = 8;
const GROUP_DIGITS: usize = 4;

/// Reads an address; the second part says whether a zone follows it.
pub(super) fn parse(text: &str) -> Result<(IpAddr, bool), String> {
    address(text).map_err(|why| format!("ParseAddr(\"{text}\"): {why}"))
}

fn address(text: &str) -> Result<(IpAddr, bool), String> {
    match text.bytes().find(|byte| matches!(byte, b'.' | b':' | b'%')) {
        Some(b'.') => four(text).map(|ip| (IpAddr::V4(ip), false)),
        Some(b':') => six_with_zone(text),
        Some(_) => Err("missing IPv6 address".to_owned()),
        None => Err("unable to parse IP".to_owned()),
    }
}

/// Reads `address/bits`.
pub(super) fn parse_prefix(text: &str) -> Result<IpNet, String> {
    let (ip, bits) = text.rsplit_once('/').ok_or("no '/'")?;
    let (ip, zone) = parse(ip)?;
    if zone {
        return Err("IPv6 zones cannot be present in a prefix".to_owned());
    }
    let is_plain = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain || (bits.len() > 1 && bits.starts_with('0')) {
        return Err(format!("bad bits after slash: {bits:?}"));
    }
    let length = bits.parse().map_err(|_| "prefix length out of range")?;
    IpNet::new(ip, length).map_err(|_| "prefix length out of range".to_owned())
}

fn four(text: &str) -> Result<Ipv4Addr, String> {
    let (mut octets, mut place) = ([0_u8; 4], 0);
    let (mut value, mut digits) = (0_u32, 0);
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' if digits == 1 && value == 0 => return Err("IPv4 field has octet with leading zero".to_owned()),
            b'0'..=b'9' => {
                value = value * 10 + u32::from(byte - b'0');
                digits += 1;
                if value > 255 {
                    return Err("IPv4 field has value >255".to_owned());
                }
            }
            b'.' if at == 0 || at == bytes.len() - 1 || bytes[at - 1] == b'.' => {
                return Err(format!("IPv4 field must have at least one digit (at {:?})", &text[at..]));
            }
            b'.' if place == 3 => return Err("IPv4 address too long".to_owned()),
            b'.' => {
                octets[place] = u8::try_from(value).unwrap_or_default();
                (place, value, digits) = (place + 1, 0, 0);
            }
            _ => return Err(format!("unexpected character (at {:?})", text.get(at..).unwrap_or_default())),
        }
    }
    if place < 3 {
        return Err("IPv4 address too short".to_owned());
    }
    octets[3] = u8::try_from(value).unwrap_or_default();
    Ok(octets.into())
}

fn six_with_zone(text: &str) -> Result<(IpAddr, bool), String> {
    match text.split_once('%') {
        Some((_, "")) => Err("zone must be a non-empty string".to_owned()),
        Some((ip, _)) => six(ip).map(|ip| (IpAddr::V6(ip), true)),
        None => six(text).map(|ip| (IpAddr::V6(ip), false)),
    }
}

fn six(text: &str) -> Result<Ipv6Addr, String> {
    let (mut groups, mut gap) = (Vec::with_capacity(GROUPS), None);
    let mut rest = text;
    if let Some(after) = rest.strip_prefix("::") {
        (gap, rest) = (Some(0), after);
    }
    while groups.len() < GROUPS && !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        if digits.is_empty() {
            return Err(format!("each colon-separated field must have at least one digit (at {rest:?})"));
        }
        if digits.len() > GROUP_DIGITS && !after.starts_with('.') {
            return Err(format!("each group must have 4 or less digits (at {rest:?})"));
        }
        if after.starts_with('.') {
            if groups.len() > GROUPS - 2 || (gap.is_none() && groups.len() != GROUPS - 2) {
                let why = "embedded IPv4 address must replace the final 2 fields of the address";
                return Err(format!("{why} (at {rest:?})"));
            }
            let [a, b, c, d] = four(rest)?.octets();
            groups.extend([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]);
            rest = "";
            break;
        }
        groups.push(u16::from_str_radix(digits, 16).unwrap_or_default());
        rest = after;
        if rest.is_empty() {
            break;
        }
        let Some(next) = rest.strip_prefix(':') else {
            return Err(format!("unexpected character, want colon (at {rest:?})"));
        };
        if next.is_empty() {
            return Err(format!("colon must be followed by more characters (at {rest:?})"));
        }
        rest = next;
        if let Some(next) = rest.strip_prefix(':') {
            if gap.is_some() {
                return Err(format!("multiple :: in address (at {rest:?})"));
            }
            (gap, rest) = (Some(groups.len()), next);
        }
    }
    if !rest.is_empty() {
        return Err(format!("trailing garbage after address (at {rest:?})"));
    }
    fill(groups, gap)
}

/// Puts zeros where `::` stands.
fn fill(mut groups: Vec<u16>, gap: Option<usize>) -> Result<Ipv6Addr, String> {
    match gap {
        None if groups.len() < GROUPS => return Err("address string too short".to_owned()),
        Some(_) if groups.len() == GROUPS => return Err("the :: must expand to at least one field of zeros".to_owned()),
        Some(gap) => {
            let zeros = std::iter::repeat_n(0, GROUPS - groups.len());
            groups.splice(gap..gap, zeros);
        }
        None => {}
    }
    let groups: [u16; GROUPS] = groups.try_into().map_err(|_| "address string too long")?;
    Ok(groups.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_std_takes_is_taken_and_nothing_else() {
        for text in [
            "1.2.3.4",
            "0.0.0.0",
            "255.255.255.255",
            "::",
            "::1",
            "1::",
            "1:2:3:4:5:6:7:8",
            "1:2::7:8",
            "::1.2.3.4",
            "a:B::c",
            "1:2:3:4:5:6:1.2.3.4",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "fe80::1",
            "",
            ":",
            ":::",
            "1",
            "1.2",
            "1.2.3.4.5",
            "01.2.3.4",
            "256.1.1.1",
            "1:2",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4:5:6:7:8::",
            "12345::",
            "g::",
            "1::2::3",
            "1.2.3.4:5",
            "::1.2.3",
            "::1.2.3.4:5",
            "1:",
            ":1",
            "1:2:3:4:5:6:7:",
            "é::1",
            "1.2.é.4",
            "::é",
        ] {
            let ours = parse(text).ok().map(|(ip, _)| ip);
            assert_eq!(ours, text.parse().ok(), "{text}");
        }
        assert!(parse("fe80::1%eth0").unwrap().1);
    }
}
