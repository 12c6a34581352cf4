//! Files of variables that containers of the same Pod have written: `fileKeyRef`.
//!
//! ```text
//! # a comment
//! NAME='any text, over
//! several lines'          # nothing in it is special; there is no way to write a quote
//! NAME=text               # ends with the line; blanks around it do not count
//! ```

/// What stands in the file cannot be read. Nothing more is said of it: it may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The value of `key` in `text`.
pub(super) fn value(text: &str, key: &str) -> Result<Option<String>, Malformed> {
    let mut rest = text;
    while let Some((name, value, after)) = variable(rest)? {
        if name == key {
            return Ok(Some(value.to_owned()));
        }
        rest = after;
    }
    Ok(None)
}

/// The next variable, its value, and what follows.
fn variable(mut text: &str) -> Result<Option<(&str, &str, &str)>, Malformed> {
    loop {
        text = text.trim_start();
        match text.strip_prefix('#') {
            Some(comment) => text = after_line(comment),
            None if text.is_empty() => return Ok(None),
            None => break,
        }
    }
    let (line, _) = text.split_once('\n').unwrap_or((text, ""));
    let (name, _) = line.split_once('=').ok_or(Malformed)?;
    let value = &text[name.len() + 1..];
    match value.strip_prefix('\'') {
        Some(quoted) => {
            let end = quoted.find('\'').ok_or(Malformed)?;
            let (value, after) = (&quoted[..end], &quoted[end + 1..]);
            let (tail, _) = after.split_once('\n').unwrap_or((after, ""));
            if !tail.trim().is_empty() && !tail.trim_start().starts_with('#') {
                return Err(Malformed);
            }
            Ok(Some((name.trim(), value, after_line(after))))
        }
        None => {
            let (plain, _) = value.split_once('\n').unwrap_or((value, ""));
            let plain = plain.split_once(" #").map_or(plain, |(plain, _)| plain);
            Ok(Some((name.trim(), plain.trim(), after_line(value))))
        }
    }
}

fn after_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, after)| after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Result<Option<&str>, Malformed>) {
        assert_eq!(value(text, "KEY"), want.map(|found| found.map(str::to_owned)), "{text}");
    }

    #[test]
    fn variables_are_found() {
        check("", Ok(None));
        check("KEY='a b'", Ok(Some("a b")));
        check("# no\n\n  A='1'\nKEY='x'\nKEY='y'\n", Ok(Some("x")));
        check("A='KEY=1\nKEY=2'\nKEY=''", Ok(Some("")));
        check("KEY='two\nlines' # said", Ok(Some("two\nlines")));
        check("KEY=plain  # said\nB=2", Ok(Some("plain")));
        check("KEY=a=b\n", Ok(Some("a=b")));
        check("KEYS=1", Ok(None));
        check("KEY", Err(Malformed));
        check("KEY='a", Err(Malformed));
        check("A='a'b\nKEY=1", Err(Malformed));
    }
}
