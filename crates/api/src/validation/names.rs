//! The formats of names, label values and keys. Each rule answers with what is wrong, in upstream's words.

use std::ops::RangeInclusive;

use super::addresses;
use crate::kind::NameRule;

const LABEL_BYTES: usize = 63;
const SUBDOMAIN_BYTES: usize = 253;
const PORT_NAME_BYTES: usize = 15;

const LABEL_FORMAT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FORMAT: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const QUALIFIED_FORMAT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// The rule for the names of a kind.
pub(crate) fn of_kind(rule: NameRule) -> fn(&str) -> Vec<String> {
    match rule {
        NameRule::Subdomain => subdomain,
        NameRule::Label => label,
        NameRule::Label1035 => label_1035,
        NameRule::PathSegment => path_segment,
        NameRule::Ip => addresses::canonical_ip,
    }
}

/// A DNS-1123 subdomain.
pub(crate) fn subdomain(text: &str) -> Vec<String> {
    let mut faults = at_most(text, SUBDOMAIN_BYTES);
    if !is_subdomain(text) {
        faults.push(with_format(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
             and must start and end with an alphanumeric character",
            SUBDOMAIN_FORMAT,
            &["example.com"],
        ));
    }
    faults
}

/// A DNS-1123 subdomain below any name: `*.example.com`.
pub(crate) fn wildcard_subdomain(text: &str) -> Vec<String> {
    let mut faults = at_most(text, SUBDOMAIN_BYTES);
    if !text.strip_prefix("*.").is_some_and(is_subdomain) {
        faults.push(with_format(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of \
             lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            &format!(r"\*\.{SUBDOMAIN_FORMAT}"),
            &["*.example.com"],
        ));
    }
    faults
}

/// A DNS-1123 label.
pub(crate) fn label(text: &str) -> Vec<String> {
    let mut faults = at_most(text, LABEL_BYTES);
    if is_label(text) {
        return faults;
    }
    faults.push(if is_subdomain(text) {
        "must not contain dots".to_owned()
    } else {
        with_format(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
             and must start and end with an alphanumeric character",
            LABEL_FORMAT,
            &["my-name", "123-abc"],
        )
    });
    faults
}

/// A DNS-1035 label: a DNS-1123 label that begins with a letter.
pub(crate) fn label_1035(text: &str) -> Vec<String> {
    let mut faults = at_most(text, LABEL_BYTES);
    if !is_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        faults.push(with_format(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
             character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    faults
}

/// Anything that can be one segment of a URL's path.
pub(crate) fn path_segment(text: &str) -> Vec<String> {
    if matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"].iter().filter(|part| text.contains(**part)).map(|part| format!("may not contain '{part}'")).collect()
}

/// A qualified name: `name` or `example.com/name`, as label keys are.
pub(crate) fn qualified(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (mut faults, name) = match parts[..] {
        [name] => (Vec::new(), name),
        ["", name] => (vec!["prefix part must be non-empty".to_owned()], name),
        [prefix, name] => (subdomain(prefix).into_iter().map(|fault| format!("prefix part {fault}")).collect(), name),
        _ => {
            let fault = qualified_format();
            let optional = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a qualified name {fault} {optional}")];
        }
    };
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else {
        faults.extend(at_most(name, LABEL_BYTES).into_iter().map(|fault| format!("name part {fault}")));
    }
    if !is_qualified_part(name) {
        faults.push(format!("name part {}", qualified_format()));
    }
    faults
}

/// A qualified name whose case does not matter, as annotation keys are.
pub(crate) fn qualified_any_case(text: &str) -> Vec<String> {
    qualified(&text.to_lowercase())
}

fn qualified_format() -> String {
    with_format(
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
        QUALIFIED_FORMAT,
        &["MyName", "my.name", "123-abc"],
    )
}

/// The value of a label.
pub(crate) fn label_value(text: &str) -> Vec<String> {
    let mut faults = at_most(text, LABEL_BYTES);
    if !text.is_empty() && !is_qualified_part(text) {
        faults.push(with_format(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
             and must start and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    faults
}

/// A key of a ConfigMap or Secret: it must do as a file name.
pub(crate) fn data_key(text: &str) -> Vec<String> {
    let mut faults = at_most(text, SUBDOMAIN_BYTES);
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.is_empty() || !text.bytes().all(good) {
        faults.push(with_format(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match text {
        "." | ".." => faults.push(format!("must not be '{text}'")),
        _ if text.starts_with("..") => faults.push("must not start with '..'".to_owned()),
        _ => {}
    }
    faults
}

/// The name of an environment variable: printable ASCII without `=`.
pub(crate) fn env_variable(text: &str) -> Vec<String> {
    if text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// The name of a port (RFC 6335).
pub(crate) fn port_name(text: &str) -> Vec<String> {
    let mut faults = at_most(text, PORT_NAME_BYTES);
    let mut fault_if = |wrong: bool, fault: &str| faults.extend(wrong.then(|| fault.to_owned()));
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    fault_if(
        text.is_empty() || !text.bytes().all(good),
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
    );
    fault_if(!text.bytes().any(|b| b.is_ascii_lowercase()), "must contain at least one letter (a-z)");
    fault_if(text.contains("--"), "must not contain consecutive hyphens");
    fault_if(text.starts_with('-') || text.ends_with('-'), "must not begin or end with a hyphen");
    faults
}

/// The name of an HTTP header.
pub(crate) fn http_header(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec![with_format(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// A percentage: `25%`.
pub(crate) fn percent(text: &str) -> Vec<String> {
    let digits = text.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Vec::new();
    }
    vec![with_format(
        "a valid percent string must be a numeric string followed by an ending '%'",
        "[0-9]+%",
        &["1%", "93%"],
    )]
}

/// An identifier as C has them.
pub(crate) fn c_identifier(text: &str) -> Vec<String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if text.bytes().all(good) && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return Vec::new();
    }
    vec![with_format(
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric \
         characters or '_'",
        "[A-Za-z_][A-Za-z0-9_]*",
        &["my_name", "MY_NAME", "MyName"],
    )]
}

/// The reason of a condition.
pub(crate) fn condition_reason(text: &str) -> Vec<String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b',' | b':');
    let ends = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.bytes().all(good) && text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.ends_with(ends) {
        return Vec::new();
    }
    vec![with_format(
        "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric \
         characters or '_,:', and must end with an alphanumeric character or '_'",
        "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
        &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"],
    )]
}

/// A UUID in lower case with dashes.
pub(crate) fn uuid(text: &str) -> Vec<String> {
    let dashes = [8, 13, 18, 23];
    let good = |(at, b): (usize, u8)| {
        if dashes.contains(&at) { b == b'-' } else { b.is_ascii_digit() || (b'a'..=b'f').contains(&b) }
    };
    unless(
        text.len() == 36 && text.bytes().enumerate().all(good),
        "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal \
         characters",
    )
}

/// A domain name of two or more labels; a final dot is allowed.
pub(crate) fn full_domain(text: &str) -> Vec<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let faults = subdomain(name);
    if !faults.is_empty() {
        return vec![faults.join(",")];
    }
    if !name.contains('.') {
        return vec!["should be a domain with at least two segments separated by dots".to_owned()];
    }
    name.split('.').map(label).find(|faults| !faults.is_empty()).map(|faults| faults.join(",")).into_iter().collect()
}

/// A name with at least three segments: `hook.example.com`.
pub(crate) fn fully_qualified(text: &str) -> Vec<String> {
    let faults = subdomain(text);
    if !faults.is_empty() {
        return vec![faults.join(",")];
    }
    if text.split('.').count() < 3 {
        return vec!["should be a domain with at least three segments separated by dots".to_owned()];
    }
    Vec::new()
}

/// `must be between 1 and 65535, inclusive`
pub(crate) fn inclusive_range(range: &RangeInclusive<i64>) -> String {
    format!("must be between {} and {}, inclusive", range.start(), range.end())
}

fn unless(good: bool, fault: &str) -> Vec<String> {
    if good { Vec::new() } else { vec![fault.to_owned()] }
}

fn at_most(text: &str, bytes: usize) -> Vec<String> {
    unless(text.len() <= bytes, &format!("must be no more than {bytes} bytes"))
}

fn with_format(fault: &str, format: &str, examples: &[&str]) -> String {
    let examples = examples.iter().map(|example| format!("'{example}', ")).collect::<Vec<_>>().join(" or ");
    format!("{fault} (e.g. {examples}regex used for validation is '{format}')")
}

fn is_label(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(good) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_qualified_part(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.bytes().all(good) && text.starts_with(ends) && text.ends_with(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&str) -> Vec<String>, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(rule(text), Vec::<String>::new(), "{text:?}");
        }
        for text in bad {
            assert_ne!(rule(text), Vec::<String>::new(), "{text:?}");
        }
    }

    #[test]
    fn names_are_dns_names() {
        check(label, &["a", "my-name", "123-abc"], &["", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(64)]);
        check(label_1035, &["a", "abc-123"], &["", "123-abc", "a.b"]);
        check(subdomain, &["a", "a.b", "1.2"], &["", ".a", "a..b", "a.", "A.b", "a_b", &"a".repeat(254)]);
        check(full_domain, &["a.b", "a.b."], &["a", "a..b", ""]);
    }

    #[test]
    fn keys_and_values_of_labels() {
        check(qualified, &["a", "A_b.c", "example.com/a"], &["", "/a", "a/", "a/b/c", "-a", "Ex.com/a", "a b"]);
        check(label_value, &["", "a", "A.b_c"], &["-a", "a b", &"a".repeat(64)]);
        check(data_key, &["a", ".a", "A_b-c.d"], &["", ".", "..", "..a", "a/b"]);
    }

    #[test]
    fn ports_headers_variables() {
        check(port_name, &["http", "a-1"], &["", "1", "-a", "a--b", "HTTP", "sixteen-letters-"]);
        check(http_header, &["X-Header"], &["", "X Header"]);
        check(env_variable, &["A", "a.b-c", "1"], &["A=B", "Ä"]);
        check(percent, &["0%", "100%"], &["", "%", "a%", "10"]);
    }

    #[test]
    fn faults_are_worded_as_upstream_words_them() {
        assert_eq!(
            label_value("a b"),
            ["a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
                 start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used \
                 for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"]
        );
    }
}
