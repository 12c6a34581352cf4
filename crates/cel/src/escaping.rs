//! Names of JSON fields as expressions write them.
//!
//! `__` becomes `__underscores__`, `.` `__dot__`, `-` `__dash__`, `/` `__slash__`; CEL's keywords get `__` around them.

use crate::syntax::is_keyword;

/// What stands for what.
const ESCAPES: [(&str, &str); 4] = [("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__")];

/// The name by which expressions refer to a field; `None` if they cannot.
pub fn escape(name: &str) -> Option<String> {
    if is_keyword(name) {
        return Some(format!("__{name}__"));
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let escaped = ESCAPES.iter().find_map(|(plain, escape)| Some((rest.strip_prefix(plain)?, *escape)));
        if let Some((after, escape)) = escaped {
            out.push_str(escape);
            rest = after;
            continue;
        }
        if !(first.is_ascii_alphabetic() || first == '_' || (first.is_ascii_digit() && !out.is_empty())) {
            return None;
        }
        out.push(first);
        rest = &rest[first.len_utf8()..];
    }
    Some(out).filter(|out| !out.is_empty())
}

/// The field that an expression's name refers to; `None` if the name is no result of [`escape`].
pub fn unescape(name: &str) -> Option<String> {
    let inner = name.strip_prefix("__").and_then(|name| name.strip_suffix("__"));
    if let Some(keyword) = inner.filter(|inner| is_keyword(inner)) {
        return Some(keyword.to_owned());
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("__") {
        out.push_str(&rest[..at]);
        let (after, plain) =
            ESCAPES.iter().find_map(|(plain, escape)| Some((rest[at..].strip_prefix(escape)?, *plain)))?;
        out.push_str(plain);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{escape, unescape};

    #[test]
    fn names_round_trip() {
        for (name, escaped) in [
            ("replicas", "replicas"),
            ("namespace", "__namespace__"),
            ("if", "__if__"),
            ("x-prop", "x__dash__prop"),
            ("a/b.c", "a__slash__b__dot__c"),
            ("redact__d", "redact__underscores__d"),
            ("a_b", "a_b"),
        ] {
            assert_eq!(escape(name).as_deref(), Some(escaped));
            assert_eq!(unescape(escaped).as_deref(), Some(name));
        }
        assert_eq!(escape("1a"), None);
        assert_eq!(escape("a b"), None);
        assert_eq!(escape(""), None);
        assert_eq!(unescape("a__b"), None);
    }
}
