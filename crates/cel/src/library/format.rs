//! `'%s has %d'.format([name, count])`
//!
//! Numbers look as upstream's version of this function shows them: `%f` with commas between thousands, `%e` as
//! `1.500000×10⁰⁰`, whatever its precision says, and doubles within lists and maps always with six digits.

use super::{conversions, strings, text};
use crate::types::Type;
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
    while let Some((before, clause)) = next_clause(&mut rest)? {
        out.push_str(before);
        let Some((clause, precision)) = clause else {
            out.push('%');
            continue;
        };
        let index = args.len() - next.len();
        let arg = next.next().ok_or_else(|| format!("index {index} out of range"))?;
        out.push_str(&filled(clause, precision, arg).map_err(|error| format!("error during formatting: {error}"))?);
        text::check_length(out.len())?;
    }
    out.push_str(rest);
    text::check_length(out.len())?;
    Ok(Value::text(out))
}

/// What is wrong with a call of which the template and the types of the arguments are known.
pub(crate) fn check(template: &str, args: &[Type]) -> Result<(), String> {
    let (mut rest, mut count) = (template, 0);
    while let Some((_, clause)) = next_clause(&mut rest)? {
        let Some((clause, _)) = clause else { continue };
        let ty = args.get(count).ok_or_else(|| format!("index {count} out of range"))?;
        if !takes(clause, ty) {
            return Err(format!("error during formatting: {}", wrong_type(clause, &type_name(ty))));
        }
        count += 1;
    }
    if count < args.len() {
        return Err(format!("too many arguments supplied to string.format (expected {count}, got {})", args.len()));
    }
    Ok(())
}

/// The name of a type without its parameters.
fn type_name(ty: &Type) -> String {
    let name = ty.to_string();
    name.split('(').next().unwrap_or_default().to_owned()
}

/// Whether a clause shows values of a type.
fn takes(clause: char, ty: &Type) -> bool {
    match (clause, ty) {
        (_, Type::Dyn | Type::Param(_) | Type::Error) => true,
        ('s', ty) => !matches!(ty, Type::Opaque(_)) && type_name(ty) != "optional_type",
        ('d' | 'o', Type::Int | Type::Uint) => true,
        ('b', Type::Int | Type::Uint | Type::Bool) => true,
        ('x' | 'X', Type::Int | Type::Uint | Type::String | Type::Bytes) => true,
        // Words for what is no number: see [`double`].
        ('f' | 'e', Type::Double | Type::String) => true,
        _ => false,
    }
}

fn wrong_type(clause: char, name: &str) -> String {
    let what = match clause {
        's' => {
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
        }
        'd' => "decimal clause can only be used on integers",
        'f' => "fixed-point clause can only be used on doubles",
        'e' => "scientific clause can only be used on doubles",
        'b' => "only integers and bools can be formatted as binary",
        'o' => "octal clause can only be used on integers",
        _ => "only integers, byte buffers, and strings can be formatted as hex",
    };
    format!("{what}, was given {name}")
}

/// A clause: what it asks for, and with how many digits after the point. `%%` asks for nothing.
type Clause = Option<(char, Option<usize>)>;

/// The next clause with the text before it; moves `rest` behind it.
fn next_clause<'t>(rest: &mut &'t str) -> Result<Option<(&'t str, Clause)>, String> {
    let Some((before, after)) = rest.split_once('%') else { return Ok(None) };
    if let Some(after) = after.strip_prefix('%') {
        *rest = after;
        return Ok(Some((before, None)));
    }
    let (precision, after) = precision(after)?;
    let clause = after.chars().next().ok_or("could not parse formatting clause: unexpected end of string")?;
    if !matches!(clause, 's' | 'd' | 'f' | 'e' | 'b' | 'o' | 'x' | 'X') {
        return Err(format!("could not parse formatting clause: unrecognized formatting clause \"{clause}\""));
    }
    *rest = &after[clause.len_utf8()..];
    Ok(Some((before, Some((clause, precision)))))
}

fn precision(text: &str) -> Result<(Option<usize>, &str), String> {
    let Some(digits) = text.strip_prefix('.') else { return Ok((None, text)) };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let number = digits[..end].parse().ok().filter(|number| *number <= MAX_PRECISION);
    let number = number.ok_or("could not parse formatting clause: error while parsing precision")?;
    Ok((Some(number), &digits[end..]))
}

fn filled(clause: char, precision: Option<usize>, arg: &Value<'_>) -> Result<String, String> {
    let shown = match (clause, arg) {
        ('s', arg) => shown(arg),
        ('d', Value::Int(_) | Value::Uint(_)) => shown(arg),
        ('f', arg) => double(arg).map(|number| fixed(number, precision.unwrap_or(DEFAULT_PRECISION))),
        ('e', arg) => double(arg).map(scientific),
        ('b', Value::Int(number)) => Some(signed(*number, |number| format!("{number:b}"))),
        ('b', Value::Uint(number)) => Some(format!("{number:b}")),
        ('b', Value::Bool(truth)) => Some(u8::from(*truth).to_string()),
        ('o', Value::Int(number)) => Some(signed(*number, |number| format!("{number:o}"))),
        ('o', Value::Uint(number)) => Some(format!("{number:o}")),
        ('x', arg) => hex(arg),
        ('X', arg) => hex(arg).map(|text| text.to_uppercase()),
        _ => None,
    };
    shown.ok_or_else(|| wrong_type(clause, arg.type_name()))
}

fn signed(number: i64, digits: fn(u64) -> String) -> String {
    format!("{}{}", if number < 0 { "-" } else { "" }, digits(number.unsigned_abs()))
}

/// The number, or the one that a text names which is none.
fn double(arg: &Value<'_>) -> Option<f64> {
    match arg {
        Value::Double(number) => Some(*number),
        Value::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn fixed(number: f64, digits: usize) -> String {
    if let Some(special) = special(number) {
        return special.to_owned();
    }
    let text = format!("{:.digits$}", number.abs());
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut out = if number.is_sign_negative() { "-".to_owned() } else { String::new() };
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

fn scientific(number: f64) -> String {
    const WIDTH: usize = 6;
    if let Some(special) = special(number) {
        return format!("{special:>WIDTH$}");
    }
    let text = format!("{number:.DEFAULT_PRECISION$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(("", exponent), |digits| ("⁻", digits));
    let raised = |digit: char| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(digit.to_digit(10)? as usize);
    format!("{mantissa}×10{sign}{}", format!("{digits:0>2}").chars().filter_map(raised).collect::<String>())
}

fn special(number: f64) -> Option<&'static str> {
    match number {
        n if n.is_nan() => Some("NaN"),
        n if n == f64::INFINITY => Some("∞"),
        n if n == f64::NEG_INFINITY => Some("-∞"),
        _ => None,
    }
}

fn hex(arg: &Value<'_>) -> Option<String> {
    let bytes = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match arg {
        Value::Int(number) => Some(signed(*number, |number| format!("{number:x}"))),
        Value::Uint(number) => Some(format!("{number:x}")),
        Value::String(text) => Some(bytes(text.as_bytes())),
        Value::Bytes(text) => Some(bytes(text)),
        _ => None,
    }
}

/// A value as `%s` shows it.
fn shown(arg: &Value<'_>) -> Option<String> {
    Some(match arg {
        Value::Null => "null".to_owned(),
        Value::Type(name) => name.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::List(list) => {
            let items = list.items().ok()?;
            format!("[{}]", items.iter().map(literal).collect::<Option<Vec<_>>>()?.join(", "))
        }
        Value::Map(map) => {
            let entry = |key: &Key| {
                let value = map.get(key)?.ok()?;
                Some(format!("{}:{}", literal(&key.value())?, literal(&value)?))
            };
            let mut entries = map.keys().iter().map(entry).collect::<Option<Vec<_>>>()?;
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Opaque(_) => return None,
        other => conversions::to_text(other)?,
    })
}

/// The same within a list or a map: as it would be written in an expression.
fn literal(arg: &Value<'_>) -> Option<String> {
    Some(match arg {
        Value::String(text) => strings::quote(text),
        Value::Bytes(bytes) => format!("b{}", strings::quote(&String::from_utf8_lossy(bytes))),
        Value::Double(number) if number.is_finite() => format!("{number:.DEFAULT_PRECISION$}"),
        Value::Double(number) => strings::quote(&conversions::shortest(*number)),
        Value::Duration(_) => format!("duration(\"{}\")", conversions::to_text(arg)?),
        Value::Timestamp(_) => format!("timestamp(\"{}\")", conversions::to_text(arg)?),
        other => shown(other)?,
    })
}
