//! `$(NAME)` in environment values, commands and arguments.

/// Replaces `$(NAME)` by what `lookup` knows of `NAME`; an unknown one stays as it is, and `$$` is a literal `$`.
pub(crate) fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        rest = if let Some(escaped) = after.strip_prefix('$') {
            out.push('$');
            escaped
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&rest[at..rest.len() - tail.len()]),
            }
            tail
        } else {
            out.push('$');
            after
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn check(text: &str, want: &str) {
        let lookup = |name: &str| match name {
            "A" => Some("1"),
            "B" => Some("$(A)"),
            "EMPTY" => Some(""),
            _ => None,
        };
        assert_eq!(expand(text, lookup), want, "{text}");
    }

    #[test]
    fn references_are_replaced() {
        check("", "");
        check("plain", "plain");
        check("$(A)", "1");
        check("x$(A)y$(A)z", "x1y1z");
        check("$(EMPTY)", "");
        check("$(B)", "$(A)");
    }

    #[test]
    fn unknown_and_broken_references_stay() {
        check("$(NOPE)", "$(NOPE)");
        check("$(A", "$(A");
        check("$A", "$A");
        check("$", "$");
        check("a$", "a$");
        check("$()", "$()");
    }

    #[test]
    fn doubled_dollars_escape() {
        check("$$", "$");
        check("$$(A)", "$(A)");
        check("$$$(A)", "$1");
        check("$$$$(A)", "$$(A)");
        check("$$A", "$A");
    }
}
