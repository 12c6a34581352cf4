//! Text: `charAt`, `indexOf`, `join`, `replace`, `split`, `substring`, `trim`, ... Positions count characters.

use super::{Library, Ran, format, text};
use crate::value::{List, Value};

/// The string functions, version 2 of the extension.
pub(crate) static LIBRARY: Library = Library {
    declarations: "
    charAt string_char_at_int string.(int) -> string
    indexOf string_index_of_string string.(string) -> int
    indexOf string_index_of_string_int string.(string, int) -> int
    lastIndexOf string_last_index_of_string string.(string) -> int
    lastIndexOf string_last_index_of_string_int string.(string, int) -> int
    lowerAscii string_lower_ascii string.() -> string
    upperAscii string_upper_ascii string.() -> string
    replace string_replace_string_string string.(string, string) -> string
    replace string_replace_string_string_int string.(string, string, int) -> string
    split string_split_string string.(string) -> list(string)
    split string_split_string_int string.(string, int) -> list(string)
    substring string_substring_int string.(int) -> string
    substring string_substring_int_int string.(int, int) -> string
    trim string_trim string.() -> string
    join list_join list(string).() -> string
    join list_join_string list(string).(string) -> string
    format string_format string.(list(dyn)) -> string
    strings.quote strings_quote (string) -> string
",
    run,
};

fn run<'a>(function: &str, args: &[Value<'a>]) -> Ran<'a> {
    match (function, args) {
        ("join", [Value::List(list)]) => Some(join(list, "")),
        ("join", [Value::List(list), Value::String(separator)]) => Some(join(list, separator)),
        (_, [Value::String(text), rest @ ..]) => of_text(function, text, rest),
        _ => None,
    }
}

fn of_text<'a>(function: &str, text: &str, args: &[Value<'a>]) -> Ran<'a> {
    Some(match (function, args) {
        ("charAt", [Value::Int(index)]) => char_at(text, *index),
        ("indexOf", [Value::String(part)]) => index_of(text, part, 0),
        ("indexOf", [Value::String(part), Value::Int(from)]) => index_of(text, part, *from),
        ("lastIndexOf", [Value::String(part)]) => last_index_of(text, part, None),
        ("lastIndexOf", [Value::String(part), Value::Int(from)]) => last_index_of(text, part, Some(*from)),
        ("lowerAscii", []) => Ok(Value::text(text.to_ascii_lowercase())),
        ("upperAscii", []) => Ok(Value::text(text.to_ascii_uppercase())),
        ("replace", [Value::String(from), Value::String(to)]) => replace(text, from, to, -1),
        ("replace", [Value::String(from), Value::String(to), Value::Int(limit)]) => replace(text, from, to, *limit),
        ("split", [Value::String(separator)]) => Ok(split(text, separator, -1)),
        ("split", [Value::String(separator), Value::Int(limit)]) => Ok(split(text, separator, *limit)),
        ("substring", [Value::Int(start)]) => substring(text, *start, None),
        ("substring", [Value::Int(start), Value::Int(end)]) => substring(text, *start, Some(*end)),
        ("trim", []) => Ok(Value::text(text.trim())),
        ("format", [Value::List(list)]) => format::format(text, list),
        ("strings.quote", []) => Ok(Value::text(quote(text))),
        _ => return None,
    })
}

fn char_at<'a>(text: &str, index: i64) -> Result<Value<'a>, String> {
    let length = text.chars().count();
    match usize::try_from(index) {
        Ok(at) if at == length => Ok(Value::text("")),
        Ok(at) if at < length => Ok(Value::text(text.chars().skip(at).take(1).collect::<String>())),
        _ => Err(format!("index out of range: {index}")),
    }
}

/// The byte before which `chars` characters are.
fn byte_at(text: &str, chars: usize) -> Option<usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(chars)
}

fn chars_before<'a>(text: &str, byte: Option<usize>) -> Value<'a> {
    Value::Int(byte.map_or(-1, |byte| text[..byte].chars().count() as i64))
}

fn index_of<'a>(text: &str, part: &str, from: i64) -> Result<Value<'a>, String> {
    let from = usize::try_from(from).map_err(|_| format!("index out of range: {from}"))?;
    let start = byte_at(text, from);
    if part.is_empty() {
        return Ok(chars_before(text, start.or(Some(text.len()))));
    }
    Ok(chars_before(text, start.and_then(|start| text[start..].find(part).map(|at| at + start))))
}

fn last_index_of<'a>(text: &str, part: &str, from: Option<i64>) -> Result<Value<'a>, String> {
    let last = match from {
        None => text.len(),
        Some(from) => {
            let from = usize::try_from(from).map_err(|_| format!("index out of range: {from}"))?;
            match byte_at(text, from).filter(|at| *at < text.len()) {
                Some(at) => at,
                None if part.is_empty() => text.len(),
                // Behind the end of the text begins nothing else.
                None => return Ok(Value::Int(-1)),
            }
        }
    };
    if part.is_empty() {
        return Ok(chars_before(text, Some(last)));
    }
    let mut starts = text.char_indices().map(|(at, _)| at).rev().skip_while(|at| *at > last);
    Ok(chars_before(text, starts.find(|at| text[*at..].starts_with(part))))
}

fn replace<'a>(text: &str, from: &str, to: &str, limit: i64) -> Result<Value<'a>, String> {
    let found = if from.is_empty() { text.chars().count() + 1 } else { text.matches(from).count() };
    let count = usize::try_from(limit).map_or(found, |limit| limit.min(found));
    text::check_length(text.len().saturating_add(count.saturating_mul(to.len())))?;
    Ok(Value::text(text.replacen(from, to, count)))
}

fn split<'a>(text: &str, separator: &str, limit: i64) -> Value<'a> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let items: Vec<Value<'a>> = match (limit, separator.is_empty()) {
        (0, _) => Vec::new(),
        (1, _) => vec![Value::text(text)],
        (limit, true) => {
            let cut = byte_at(text, limit - 1).unwrap_or(text.len());
            let rest = Some(&text[cut..]).filter(|rest| !rest.is_empty());
            let single = text[..cut].chars().map(|c| Value::text(c.to_string()));
            single.chain(rest.map(Value::text)).collect()
        }
        (limit, false) => text.splitn(limit, separator).map(Value::text).collect(),
    };
    Value::list(items)
}

fn substring<'a>(text: &str, start: i64, end: Option<i64>) -> Result<Value<'a>, String> {
    let place = |index: i64| {
        let byte = usize::try_from(index).ok().and_then(|index| byte_at(text, index));
        byte.ok_or_else(|| format!("index out of range: {index}"))
    };
    let (from, to) = (place(start)?, end.map_or(Ok(text.len()), place)?);
    if from > to {
        return Err(format!("invalid substring range. start: {start}, end: {}", end.unwrap_or_default()));
    }
    Ok(Value::text(&text[from..to]))
}

fn join<'a>(list: &List<'a>, separator: &str) -> Result<Value<'a>, String> {
    let items = list.items()?;
    let mut parts = Vec::with_capacity(items.len());
    for item in &items {
        parts.push(item.as_str().ok_or_else(|| "no such overload".to_owned())?);
    }
    let bytes = parts.iter().map(|part| part.len() + separator.len()).fold(0, usize::saturating_add);
    text::check_length(bytes)?;
    Ok(Value::text(parts.join(separator)))
}

pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
