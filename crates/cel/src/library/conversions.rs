//! Conversions between types: `int("1")`, `string(1.5)`, `type(x)`, `dyn(x)`.

use super::{Library, Ran, time};
use crate::value::Value;

/// The conversions.
pub(crate) static LIBRARY: Library = Library {
    declarations: "
    type type (A) -> type(A)
    bool bool_to_bool (bool) -> bool
    bool string_to_bool (string) -> bool
    bytes bytes_to_bytes (bytes) -> bytes
    bytes string_to_bytes (string) -> bytes
    double double_to_double (double) -> double
    double int64_to_double (int) -> double
    double string_to_double (string) -> double
    double uint64_to_double (uint) -> double
    duration duration_to_duration (duration) -> duration
    duration string_to_duration (string) -> duration
    dyn to_dyn (A) -> dyn
    int int64_to_int64 (int) -> int
    int double_to_int64 (double) -> int
    int duration_to_int64 (duration) -> int
    int string_to_int64 (string) -> int
    int timestamp_to_int64 (timestamp) -> int
    int uint64_to_int64 (uint) -> int
    string string_to_string (string) -> string
    string bool_to_string (bool) -> string
    string bytes_to_string (bytes) -> string
    string double_to_string (double) -> string
    string duration_to_string (duration) -> string
    string int64_to_string (int) -> string
    string timestamp_to_string (timestamp) -> string
    string uint64_to_string (uint) -> string
    string ip_to_string (net.IP) -> string
    string cidr_to_string (net.CIDR) -> string
    timestamp timestamp_to_timestamp (timestamp) -> timestamp
    timestamp int64_to_timestamp (int) -> timestamp
    timestamp string_to_timestamp (string) -> timestamp
    uint uint64_to_uint64 (uint) -> uint
    uint double_to_uint64 (double) -> uint
    uint int64_to_uint64 (int) -> uint
    uint string_to_uint64 (string) -> uint
",
    run,
};

fn run<'a>(function: &str, args: &[Value<'a>]) -> Ran<'a> {
    let [value] = args else { return None };
    match function {
        "type" => Some(Ok(Value::Type(value.type_name().into()))),
        "dyn" => Some(Ok(value.clone())),
        "bool" => to_bool(value),
        "bytes" => to_bytes(value),
        "double" => to_double(value),
        "int" => to_int(value),
        "uint" => to_uint(value),
        "string" => match value {
            Value::Bytes(bytes) => {
                let text = std::str::from_utf8(bytes).map(Value::text);
                Some(text.map_err(|_| "invalid UTF-8 in bytes, cannot convert to string".to_owned()))
            }
            value => to_text(value).map(|text| Ok(Value::text(text))),
        },
        "duration" => time::to_duration(value),
        "timestamp" => time::to_timestamp(value),
        _ => None,
    }
}

fn cannot<'a>(from: &str, to: &str) -> Result<Value<'a>, String> {
    Err(format!("type conversion error from '{from}' to '{to}'"))
}

fn to_bool<'a>(value: &Value<'a>) -> Ran<'a> {
    let Value::String(text) = value else { return matches!(value, Value::Bool(_)).then(|| Ok(value.clone())) };
    Some(match &**text {
        "true" | "TRUE" | "True" | "t" | "T" | "1" => Ok(Value::Bool(true)),
        "false" | "FALSE" | "False" | "f" | "F" | "0" => Ok(Value::Bool(false)),
        _ => cannot("string", "bool"),
    })
}

fn to_bytes<'a>(value: &Value<'a>) -> Ran<'a> {
    match value {
        Value::String(text) => Some(Ok(Value::Bytes(text.as_bytes().into()))),
        Value::Bytes(_) => Some(Ok(value.clone())),
        _ => None,
    }
}

fn to_double<'a>(value: &Value<'a>) -> Ran<'a> {
    Some(match value {
        Value::Double(_) => Ok(value.clone()),
        Value::Int(number) => Ok(Value::Double(*number as f64)),
        Value::Uint(number) => Ok(Value::Double(*number as f64)),
        Value::String(text) => text.parse().map(Value::Double).or_else(|_| cannot("string", "double")),
        _ => return None,
    })
}

fn to_int<'a>(value: &Value<'a>) -> Ran<'a> {
    let overflow = || "integer overflow".to_owned();
    Some(match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Uint(number) => i64::try_from(*number).map(Value::Int).map_err(|_| overflow()),
        // The bounds themselves do not convert: as doubles they are not exact.
        Value::Double(number) if *number > -(2.0_f64.powi(63)) && *number < 2.0_f64.powi(63) => {
            Ok(Value::Int(*number as i64))
        }
        Value::Double(_) => Err(overflow()),
        Value::Duration(nanos) => Ok(Value::Int(*nanos)),
        Value::Timestamp(moment) => Ok(Value::Int(moment.as_second())),
        Value::String(text) => text.parse().map(Value::Int).or_else(|_| cannot("string", "int")),
        _ => return None,
    })
}

fn to_uint<'a>(value: &Value<'a>) -> Ran<'a> {
    let overflow = || "unsigned integer overflow".to_owned();
    Some(match value {
        Value::Uint(_) => Ok(value.clone()),
        Value::Int(number) => u64::try_from(*number).map(Value::Uint).map_err(|_| overflow()),
        Value::Double(number) if *number >= 0.0 && *number < 2.0_f64.powi(64) => Ok(Value::Uint(*number as u64)),
        Value::Double(_) => Err(overflow()),
        Value::String(text) => text.parse().map(Value::Uint).or_else(|_| cannot("string", "uint")),
        _ => return None,
    })
}

/// The value as text, for those that have one.
pub(crate) fn to_text(value: &Value<'_>) -> Option<String> {
    Some(match value {
        Value::String(text) => text.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => shortest(*number),
        Value::Duration(nanos) => format!("{}s", plain(*nanos as f64 / 1e9)),
        Value::Timestamp(moment) => moment.to_string(),
        Value::Opaque(crate::value::Opaque::Ip(ip)) => ip.to_string(),
        Value::Opaque(crate::value::Opaque::Cidr(cidr)) => cidr.to_string(),
        _ => return None,
    })
}

/// As Go prints `%g` with the fewest digits that keep the value: `1.5`, `1e+06`.
pub(crate) fn shortest(number: f64) -> String {
    if let Some(special) = special(number) {
        return special.to_owned();
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    plain(number)
}

fn special(number: f64) -> Option<&'static str> {
    match number {
        n if n.is_nan() => Some("NaN"),
        n if n == f64::INFINITY => Some("+Inf"),
        n if n == f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

fn plain(number: f64) -> String {
    format!("{number}")
}
