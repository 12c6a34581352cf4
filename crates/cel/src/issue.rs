//! What is wrong with an expression's text, worded and laid out as cel-go does it.
//!
//! ```text
//! ERROR: <input>:1:5: undefined field 'foo'
//!  | self.foo
//!  | ....^
//! ```

use std::fmt;

/// Most issues that are shown.
const MAX_SHOWN: usize = 100;
/// Longest line that is shown below a message, in bytes.
const MAX_SNIPPET_BYTES: usize = 16_384;

/// One fault of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Issue {
    /// Characters before it; `None` when it is about the whole.
    at: Option<usize>,
    message: String,
}

impl Issue {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at: Some(at), message: message.into() }
    }

    pub(crate) fn whole(message: impl Into<String>) -> Self {
        Self { at: None, message: message.into() }
    }
}

/// Why an expression does not compile: all its faults, with the lines they are in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CompileError {
    text: String,
}

impl CompileError {
    pub(crate) fn new(source: &[char], mut issues: Vec<Issue>) -> Self {
        issues.sort_by_key(|issue| issue.at);
        let mut lines: Vec<String> = issues.iter().take(MAX_SHOWN).map(|issue| layout(source, issue)).collect();
        if issues.len() > MAX_SHOWN {
            lines.push(format!("{} more errors were truncated", issues.len() - MAX_SHOWN));
        }
        Self { text: lines.join("\n") }
    }
}

fn layout(source: &[char], issue: &Issue) -> String {
    let Some(at) = issue.at else { return format!("ERROR: <input>:-1:0: {}", issue.message) };
    let at = at.min(source.len());
    let before = &source[..at];
    let line = 1 + before.iter().filter(|c| **c == '\n').count();
    let start = before.iter().rposition(|c| *c == '\n').map_or(0, |newline| newline + 1);
    let column = at - start;
    let snippet: String = source[start..].iter().take_while(|c| **c != '\n').collect();
    let head = format!("ERROR: <input>:{line}:{}: {}", column + 1, issue.message);
    if snippet.len() > MAX_SNIPPET_BYTES {
        return head;
    }
    format!("{head}\n | {}\n | {}", snippet.replace('\t', " "), Pointer { snippet: &snippet, column })
}

/// Dots up to the column, then a caret; wide ones under wide characters.
struct Pointer<'a> {
    snippet: &'a str,
    column: usize,
}

impl fmt::Display for Pointer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.snippet.chars();
        for c in chars.by_ref().take(self.column) {
            f.write_str(if c.len_utf8() > 1 { "\u{ff0e}" } else { "." })?;
        }
        f.write_str(if chars.next().is_some_and(|c| c.len_utf8() > 1) { "\u{ff3e}" } else { "^" })
    }
}
