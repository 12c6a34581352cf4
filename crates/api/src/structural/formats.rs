//! The formats of strings that upstream checks. A format that it does not know is no limit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

/// Whether a text has a format.
pub(super) fn fits(format: &str, text: &str) -> bool {
    match format.replace('-', "").as_str() {
        "datetime" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "duration" => is_duration(text),
        "email" => EMAIL.is_match(text),
        "hostname" => text.len() <= 255 && HOSTNAME.is_match(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => MAC.is_match(text),
        "uri" => URI.is_match(text),
        "uuid" => UUID.is_match(text),
        "uuid3" => UUID.is_match(text) && version(text) == Some('3'),
        "uuid4" => UUID.is_match(text) && version(text) == Some('4'),
        "uuid5" => UUID.is_match(text) && version(text) == Some('5'),
        "byte" => STANDARD.decode(text).is_ok(),
        "hexcolor" => HEX_COLOR.is_match(text),
        "rgbcolor" => RGB_COLOR.is_match(text),
        "creditcard" => CREDIT_CARD.is_match(&text.replace(['-', ' '], "")),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "ssn" => SSN.is_match(text),
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "k8sshortname" => crate::validation::names::label(text).is_empty(),
        "k8slongname" => crate::validation::names::subdomain(text).is_empty(),
        _ => true,
    }
}

type Pattern = LazyLock<Regex>;

const fn pattern(make: fn() -> Regex) -> Pattern {
    LazyLock::new(make)
}

fn regex(text: &str) -> Regex {
    Regex::new(text).expect("invariant: a pattern of the program's own")
}

static EMAIL: Pattern = pattern(|| regex(r"^[^@\s]+@[^@\s]+$"));
static HOSTNAME: Pattern =
    pattern(|| regex(r"(?i)^[a-z0-9_]([a-z0-9_-]{0,62}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,62}[a-z0-9_])?)*\.?$"));
static MAC: Pattern = pattern(|| regex(r"(?i)^([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$|^([0-9a-f]{4}\.){2}[0-9a-f]{4}$"));
static URI: Pattern = pattern(|| regex(r"^([A-Za-z][A-Za-z0-9+.-]*:\S*|/\S*)$"));
static UUID: Pattern = pattern(|| regex(r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$"));
static HEX_COLOR: Pattern = pattern(|| regex(r"(?i)^#?([0-9a-f]{3}|[0-9a-f]{6})$"));
static RGB_COLOR: Pattern = pattern(|| {
    let part = r"(0|[1-9]\d?|1\d\d|2[0-4]\d|25[0-5])";
    regex(&format!(r"^rgb\(\s*{part}\s*,\s*{part}\s*,\s*{part}\s*\)$"))
});
static CREDIT_CARD: Pattern = pattern(|| {
    regex(
        r"^(?:4\d{12}(?:\d{3})?|5[1-5]\d{14}|6(?:011|5\d\d)\d{12}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|(?:2131|1800|35\d{3})\d{11})$",
    )
});
static SSN: Pattern = pattern(|| regex(r"^\d{3}[- ]?\d{2}[- ]?\d{4}$"));
static DURATION: Pattern = pattern(|| {
    regex(r"^[+-]?(\d+(\.\d*)?|\.\d+)\s*(ns|us|µs|μs|ms|s|m|h|d|w)((\d+(\.\d*)?|\.\d+)\s*(ns|us|µs|μs|ms|s|m|h|d|w))*$")
});

fn is_duration(text: &str) -> bool {
    text == "0" || DURATION.is_match(text)
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Ok(bits) = bits.parse::<u8>() else { return false };
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => bits <= 32,
        Ok(IpAddr::V6(_)) => bits <= 128,
        Err(_) => false,
    }
}

fn version(uuid: &str) -> Option<char> {
    uuid.replace('-', "").chars().nth(12)
}

fn digits(text: &str) -> Vec<char> {
    text.chars().filter(|c| !matches!(c, '-' | ' ')).collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = digits(text);
    let value = |(index, c): (usize, &char)| match c {
        'X' | 'x' if index == 9 => Some(10),
        c => c.to_digit(10),
    };
    let values: Option<Vec<u32>> = digits.iter().enumerate().map(value).collect();
    values.is_some_and(|values| values.len() == 10 && (1..).zip(&values).map(|(at, v)| at * v).sum::<u32>() % 11 == 0)
}

fn is_isbn13(text: &str) -> bool {
    let values: Option<Vec<u32>> = digits(text).iter().map(|c| c.to_digit(10)).collect();
    let weighed = |values: &[u32]| values.iter().zip([1, 3].into_iter().cycle()).map(|(v, w)| v * w).sum::<u32>();
    values.is_some_and(|values| values.len() == 13 && weighed(&values) % 10 == 0)
}
