//! `$(NAME)` in environment values, commands and arguments.

use crate::Error;

/// Linux gives no program more than this, arguments and variables together. References multiply what stands in a
/// specification; so this bounds the memory that they can take here.
pub(crate) const MOST_BYTES: usize = 6 << 20;

/// What refuses more than [`MOST_BYTES`].
pub(crate) fn too_long() -> Error {
    let mib = MOST_BYTES >> 20;
    Error::Config(format!("arguments and environment variables are longer than {mib} MiB with what they refer to"))
}

/// Replaces `$(NAME)` by what `lookup` knows of `NAME`; an unknown one stays as it is, and `$$` is a literal `$`.
///
/// # Errors
///
/// When more than [`MOST_BYTES`] come out of it.
pub(crate) fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> Result<String, Error> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Where nothing is closed any more, nobody looks for it again.
    let last_end = text.rfind(')').map_or(0, |at| text.len() - at);
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let opened = after.strip_prefix('(').filter(|inner| inner.len() >= last_end && last_end > 0);
        rest = if let Some(escaped) = after.strip_prefix('$') {
            out.push('$');
            escaped
        } else if let Some((name, tail)) = opened.and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&rest[at..rest.len() - tail.len()]),
            }
            tail
        } else {
            out.push('$');
            after
        };
        if out.len() > MOST_BYTES {
            return Err(too_long());
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Expands each of `texts`; all of them together have the room that one has.
pub(crate) fn expand_all<'a>(texts: &[String], lookup: impl Fn(&str) -> Option<&'a str>) -> Result<Vec<String>, Error> {
    let mut room = MOST_BYTES;
    let words = texts.iter().map(|text| {
        let word = expand(text, &lookup)?;
        room = room.checked_sub(word.len()).ok_or_else(too_long)?;
        Ok(word)
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &str) {
        let lookup = |name: &str| match name {
            "A" => Some("1"),
            "B" => Some("$(A)"),
            "EMPTY" => Some(""),
            _ => None,
        };
        assert_eq!(expand(text, lookup).unwrap(), want, "{text}");
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

    #[test]
    fn what_references_multiply_has_an_end() {
        let value = "x".repeat(MOST_BYTES / 4);
        let lookup = |_: &str| Some(value.as_str());
        assert_eq!(expand("$(A)$(A)$(A)$(A)", lookup).unwrap().len(), MOST_BYTES);
        let fault = "arguments and environment variables are longer than 6 MiB with what they refer to";
        assert_eq!(expand("$(A)$(A)$(A)$(A)$(A)", lookup).unwrap_err().to_string(), fault);
        let words = vec!["$(A)$(A)$(A)".to_owned(); 2];
        assert_eq!(expand_all(&words[..1], lookup).unwrap().len(), 1);
        assert_eq!(expand_all(&words, lookup).unwrap_err().to_string(), fault);
    }
}
