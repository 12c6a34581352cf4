//! Semantic versions: `semver('1.2.3').isLessThan(semver('2.0.0-rc.1'))`.

use std::cmp::Ordering;
use std::sync::Arc;

use super::quantities::sign;
use super::{Library, Ran};
use crate::value::{Opaque, Value};

/// The version functions.
pub(crate) static LIBRARY: Library = Library {
    declarations: "
    semver string_to_semver (string) -> kubernetes.Semver
    semver string_bool_to_semver (string, bool) -> kubernetes.Semver
    isSemver is_semver_string (string) -> bool
    isSemver is_semver_string_bool (string, bool) -> bool
    major semver_major kubernetes.Semver.() -> int
    minor semver_minor kubernetes.Semver.() -> int
    patch semver_patch kubernetes.Semver.() -> int
    compareTo semver_cmp kubernetes.Semver.(kubernetes.Semver) -> int
    isGreaterThan semver_gt kubernetes.Semver.(kubernetes.Semver) -> bool
    isLessThan semver_lt kubernetes.Semver.(kubernetes.Semver) -> bool
",
    run,
};

/// A version.
#[derive(Debug)]
pub struct Semver {
    numbers: [u64; 3],
    pre: Vec<String>,
}

fn run<'a>(function: &str, args: &[Value<'a>]) -> Ran<'a> {
    let value = match args {
        [Value::String(text)] => return of_text(function, text, false),
        [Value::String(text), Value::Bool(lenient)] => return of_text(function, text, *lenient),
        [Value::Opaque(Opaque::Semver(version))] => {
            let index = ["major", "minor", "patch"].iter().position(|name| *name == function)?;
            Value::Int(i64::try_from(version.numbers[index]).unwrap_or(i64::MAX))
        }
        [Value::Opaque(Opaque::Semver(version)), Value::Opaque(Opaque::Semver(other))] => {
            let order = version.cmp_precedence(other);
            match function {
                "compareTo" => Value::Int(sign(order)),
                "isGreaterThan" => Value::Bool(order.is_gt()),
                "isLessThan" => Value::Bool(order.is_lt()),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(Ok(value))
}

fn of_text<'a>(function: &str, text: &str, lenient: bool) -> Ran<'a> {
    let parsed = if lenient { Semver::parse(&normalized(text)) } else { Semver::parse(text) };
    match function {
        "semver" => Some(parsed.map(|version| Value::Opaque(Opaque::Semver(Arc::new(version))))),
        "isSemver" => Some(Ok(Value::Bool(parsed.is_ok()))),
        _ => None,
    }
}

/// `v1.02` as `1.2.0`.
fn normalized(text: &str) -> String {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at(end);
    let mut numbers: Vec<&str> = core.split('.').map(without_zeros).collect();
    while numbers.len() < 3 {
        numbers.push("0");
    }
    format!("{}{rest}", numbers.join("."))
}

fn without_zeros(number: &str) -> &str {
    let short = number.trim_start_matches('0');
    if short.is_empty() && !number.is_empty() { "0" } else { short }
}

impl Semver {
    fn parse(text: &str) -> Result<Self, String> {
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
        let parts: Vec<&str> = core.split('.').collect();
        let [major, minor, patch] = parts[..] else { return Err("No Major.Minor.Patch elements found".to_owned()) };
        let numbers = [number("major", major)?, number("minor", minor)?, number("patch", patch)?];
        let pre: Vec<String> = pre.map(|pre| pre.split('.').map(str::to_owned).collect()).unwrap_or_default();
        for part in &pre {
            identifier("Prerelease", part)?;
            if is_number(part) && has_leading_zero(part) {
                return Err(format!("Numeric PreRelease version must not contain leading zeroes \"{part}\""));
            }
        }
        for part in build.into_iter().flat_map(|build| build.split('.')) {
            identifier("Build meta data", part)?;
        }
        Ok(Self { numbers, pre })
    }

    /// The order of versions; what was built how does not matter.
    pub(crate) fn cmp_precedence(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let parts = self.pre.iter().zip(&other.pre).map(|(a, b)| cmp_identifiers(a, b));
                parts.fold(Ordering::Equal, Ordering::then).then(self.pre.len().cmp(&other.pre.len()))
            }
        })
    }
}

fn number(what: &str, text: &str) -> Result<u64, String> {
    if !is_number(text) {
        return Err(format!("Invalid character(s) found in {what} number \"{text}\""));
    }
    if has_leading_zero(text) {
        let what = format!("{}{}", what[..1].to_uppercase(), &what[1..]);
        return Err(format!("{what} number must not contain leading zeroes \"{text}\""));
    }
    text.parse().map_err(|_| format!("strconv.ParseUint: parsing \"{text}\": value out of range"))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn has_leading_zero(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0')
}

fn identifier(what: &str, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("{what} is empty"));
    }
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(());
    }
    Err(format!("Invalid character(s) found in {} \"{text}\"", what.to_lowercase()))
}

fn cmp_identifiers(a: &str, b: &str) -> Ordering {
    match (is_number(a), is_number(b)) {
        (true, true) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.cmp(b),
    }
}
