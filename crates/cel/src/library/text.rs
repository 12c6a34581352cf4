//! Making text: bounded, since a short expression can ask for a very long one.

use crate::value::Value;

/// Longest text that an expression can make.
const MAX_TEXT_BYTES: usize = 16 * 1024 * 1024;

/// An error unless a text of this length may be made.
pub(crate) fn check_length(bytes: usize) -> Result<(), String> {
    if bytes <= MAX_TEXT_BYTES {
        return Ok(());
    }
    Err(format!("text would be longer than {MAX_TEXT_BYTES} bytes"))
}

/// One after another.
pub(crate) fn concatenate<'a>(parts: &[&str]) -> Result<Value<'a>, String> {
    check_length(parts.iter().map(|part| part.len()).fold(0, usize::saturating_add))?;
    Ok(Value::text(parts.concat()))
}
