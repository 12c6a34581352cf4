//! `'%s has %d'.format([name, count])`

use super::{conversions, text};
use crate::value::{Key, List, Value};

/// Digits after the point where a clause does not say how many.
const DEFAULT_PRECISION: usize = 6;
/// Most digits after the point.
const MAX_PRECISION: usize = 1000;

/// Fills the clauses of a template with the arguments.
pub(super) fn format<'a>(template: &str, args: &List<'a>) -> Result<Value<'a>, String> {
    let args = args.items()?;
    let mut next = args.iter();
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (precision, after) = precision(rest)?;
        let clause = after.chars().next().ok_or("could not parse formatting clause: unexpected end of string")?;
        let index = args.len() - next.len();
        let arg = next.next().ok_or_else(|| format!("index {index} out of range"))?;
        out.push_str(&filled(clause, precision, arg).map_err(|error| format!("error during formatting: {error}"))?);
        text::check_length(out.len())?;
        rest = &after[clause.len_utf8()..];
    }
    out.push_str(rest);
    text::check_length(out.len())?;
    Ok(Value::text(out))
}

fn precision(text: &str) -> Result<(Option<usize>, &str), String> {
    let Some(digits) = text.strip_prefix('.') else { return Ok((None, text)) };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let number = digits[..end].parse().ok().filter(|number| *number <= MAX_PRECISION);
    let number = number.ok_or("could not parse formatting clause: error while parsing precision")?;
    Ok((Some(number), &digits[end..]))
}

fn filled(clause: char, precision: Option<usize>, arg: &Value<'_>) -> Result<String, String> {
    let digits = precision.unwrap_or(DEFAULT_PRECISION);
    match clause {
        's' => shown(arg),
        'd' => match arg {
            Value::Int(_) | Value::Uint(_) => shown(arg),
            Value::Double(number) if number.is_nan() || number.is_infinite() => shown(arg),
            _ => Err(format!("decimal clause can only be used on integers, was given {}", arg.type_name())),
        },
        'f' => Ok(format!("{:.digits$}", double(arg, "fixed-point")?)),
        'e' => Ok(scientific(double(arg, "scientific")?, digits)),
        'b' => match arg {
            Value::Int(number) => Ok(signed(*number, |number| format!("{number:b}"))),
            Value::Uint(number) => Ok(format!("{number:b}")),
            Value::Bool(truth) => Ok(u8::from(*truth).to_string()),
            _ => Err(format!("only integers and bools can be formatted as binary, was given {}", arg.type_name())),
        },
        'x' => hex(arg),
        'X' => hex(arg).map(|text| text.to_uppercase()),
        'o' => match arg {
            Value::Int(number) => Ok(signed(*number, |number| format!("{number:o}"))),
            Value::Uint(number) => Ok(format!("{number:o}")),
            _ => Err(format!("octal clause can only be used on integers, was given {}", arg.type_name())),
        },
        other => Err(format!("unrecognized formatting clause \"{other}\"")),
    }
}

fn signed(number: i64, digits: fn(u64) -> String) -> String {
    format!("{}{}", if number < 0 { "-" } else { "" }, digits(number.unsigned_abs()))
}

fn double(arg: &Value<'_>, clause: &str) -> Result<f64, String> {
    match arg {
        Value::Double(number) => Ok(*number),
        Value::Int(number) => Ok(*number as f64),
        Value::Uint(number) => Ok(*number as f64),
        _ => Err(format!("{clause} clause can only be used on doubles, was given {}", arg.type_name())),
    }
}

fn scientific(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn hex(arg: &Value<'_>) -> Result<String, String> {
    let bytes = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match arg {
        Value::Int(number) => Ok(signed(*number, |number| format!("{number:x}"))),
        Value::Uint(number) => Ok(format!("{number:x}")),
        Value::String(text) => Ok(bytes(text.as_bytes())),
        Value::Bytes(text) => Ok(bytes(text)),
        _ => Err(format!(
            "only integers, byte buffers, and strings can be formatted as hex, was given {}",
            arg.type_name()
        )),
    }
}

/// A value as `%s` shows it.
fn shown(arg: &Value<'_>) -> Result<String, String> {
    Ok(match arg {
        Value::Null => "null".to_owned(),
        Value::Type(name) => name.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::List(list) => {
            let items = list.items()?;
            format!("[{}]", items.iter().map(shown).collect::<Result<Vec<_>, _>>()?.join(", "))
        }
        Value::Map(map) => {
            let entry = |key: &Key| {
                let value = map.get(key).unwrap_or(Ok(Value::Null))?;
                Ok::<_, String>(format!("{}: {}", shown(&key.value())?, shown(&value)?))
            };
            format!("{{{}}}", map.keys().iter().map(entry).collect::<Result<Vec<_>, _>>()?.join(", "))
        }
        other => conversions::to_text(other).ok_or_else(|| {
            format!(
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, \
                 and timestamps, was given {}",
                other.type_name()
            )
        })?,
    })
}
