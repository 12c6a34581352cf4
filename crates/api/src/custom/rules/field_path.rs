//! The `fieldPath` of a rule: the field below the rule's own that a failure is about, as `.spec.x` or `['spec']['x']`.

use crate::field::Path;
use crate::structural::Schema;

/// The path as faults show it; `None` if there is no such field in the schema.
pub(super) fn read(text: &str, mut schema: &Schema) -> Option<Path> {
    let (mut path, mut rest) = (Path::root(), text);
    while !rest.is_empty() {
        let (name, after) = step(rest)?;
        rest = after;
        schema = if schema.properties.is_empty() {
            path = path.key(&name);
            schema.additional.as_deref()?
        } else {
            path = path.child(&name);
            schema.properties.get(&name)?
        };
    }
    Some(path)
}

/// The first name of a path, and what follows it.
fn step(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('.') {
        let end = rest.find(['.', '[', ']']).unwrap_or(rest.len());
        return (end > 0).then(|| (rest[..end].to_owned(), &rest[end..]));
    }
    quoted(text.strip_prefix("['")?)
}

/// A name up to its closing `']`.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Some((name, text[at..].strip_prefix("']")?)),
            '\\' => name.push(unescaped(chars.next()?.1)?),
            c => name.push(c),
        }
    }
    None
}

fn unescaped(c: char) -> Option<char> {
    Some(match c {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\'' | '\\' => c,
        _ => return None,
    })
}
