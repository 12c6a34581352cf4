//! Text in quotes, as Go quotes it: the form of labels and annotations in downward API files.

use std::fmt::Write as _;

/// `text` in double quotes, with everything escaped that cannot be seen.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            ' '..='~' => out.push(c),
            '\0'..='\u{7f}' => drop(write!(out, "\\x{:02x}", u32::from(c))),
            c if is_visible(c) => out.push(c),
            '\u{80}'..='\u{ffff}' => drop(write!(out, "\\u{:04x}", u32::from(c))),
            _ => drop(write!(out, "\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// Whether Rust shows `c` as it is; it goes by the same classes of Unicode as Go. Behind a letter, accents count too.
fn is_visible(c: char) -> bool {
    format!("a{c}").escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_go_does() {
        for (text, want) in [
            ("", r#""""#),
            ("plain text", r#""plain text""#),
            ("it's \"so\" \\", r#""it's \"so\" \\""#),
            ("\u{1}\u{7}\u{8}\t\n\u{b}\u{c}\r\u{1b}\u{7f}\0", r#""\x01\a\b\t\n\v\f\r\x1b\x7f\x00""#),
            ("ä e\u{301} 世 😀", "\"ä e\u{301} 世 😀\""),
            ("\u{85}\u{a0}\u{200b}\u{2028}\u{feff}", r#""\u0085\u00a0\u200b\u2028\ufeff""#),
            ("\u{e000}\u{e0001}\u{10ffff}", r#""\ue000\U000e0001\U0010ffff""#),
        ] {
            assert_eq!(quoted(text), want);
        }
    }
}
