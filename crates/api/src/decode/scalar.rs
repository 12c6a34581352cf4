//! Plain values: checked against their type and put in canonical form, with Go's words for what is wrong.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::tree::Tree;
use crate::quantity::{self, Quantity};
use crate::schema::Scalar;

/// What is wrong with a value.
pub(super) enum Fault {
    /// It has another JSON type; in Go's words what was found.
    Type(String),
    /// It has the right type and cannot be read.
    Content(String),
}

/// A scalar of this type.
pub(super) fn plain(tree: Tree, scalar: Scalar) -> Result<Value, Fault> {
    match (scalar, tree) {
        (Scalar::String, Tree::String(text)) => Ok(text.into()),
        (Scalar::Bytes, Tree::String(text)) => bytes(&text),
        (Scalar::Bytes, Tree::List(items)) => listed_bytes(&items),
        (Scalar::Boolean, Tree::Bool(bool)) => Ok(bool.into()),
        (Scalar::Double, Tree::Number(number)) => Ok(number.into()),
        (Scalar::Int32 | Scalar::Int64, Tree::Number(number)) => {
            let fits = |integer: &i64| scalar == Scalar::Int64 || i32::try_from(*integer).is_ok();
            let integer = number.as_i64().filter(fits).ok_or_else(|| Fault::Type(format!("number {number}")))?;
            Ok(integer.into())
        }
        (_, other) => Err(Fault::Type(other.go_kind().to_owned())),
    }
}

fn bytes(text: &str) -> Result<Value, Fault> {
    let compact: String = text.chars().filter(|c| *c != '\r' && *c != '\n').collect();
    let decoded = STANDARD.decode(&compact).map_err(|error| {
        let at = match error {
            base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
            _ => compact.len() / 4 * 4,
        };
        Fault::Content(format!("illegal base64 data at input byte {at}"))
    })?;
    Ok(STANDARD.encode(decoded).into())
}

/// Bytes as a list of numbers, which Go's decoder takes as well.
fn listed_bytes(items: &[Tree]) -> Result<Value, Fault> {
    let byte = |item: &Tree| match item {
        Tree::Number(number) => {
            let byte = number.as_u64().and_then(|number| u8::try_from(number).ok());
            byte.ok_or_else(|| Fault::Type(format!("number {number}")))
        }
        other => Err(Fault::Type(other.go_kind().to_owned())),
    };
    let bytes = items.iter().map(byte).collect::<Result<Vec<u8>, _>>()?;
    Ok(STANDARD.encode(bytes).into())
}

/// A quantity in canonical form.
pub(super) fn quantity(tree: &Tree) -> Result<Value, Fault> {
    let parsed = match tree {
        Tree::String(text) => Quantity::canonical(text.trim()),
        Tree::Number(number) => Quantity::canonical(&number.to_string()),
        _ => Err(quantity::Error::Format),
    };
    parsed.map(Value::from).map_err(|error| Fault::Content(error.to_string()))
}

/// A 32-bit number or a text.
pub(super) fn int_or_string(tree: Tree) -> Result<Value, Fault> {
    match tree {
        Tree::String(text) => Ok(text.into()),
        other => plain(other, Scalar::Int32).map_err(|fault| match fault {
            Fault::Type(found) => go_value(&found, "int32"),
            content => content,
        }),
    }
}

/// A time, rewritten in UTC with this many digits after the point.
pub(super) fn time(tree: &Tree, digits: u8) -> Result<Value, Fault> {
    let Tree::String(text) = tree else { return Err(go_value(tree.go_kind(), "string")) };
    let written = parse_time(text).ok_or_else(|| Fault::Content(time_fault(text, digits)))?;
    Ok(format!("{written:.*}", usize::from(digits)).into())
}

/// RFC 3339, and nothing else that the library's parser would take.
fn parse_time(text: &str) -> Option<Timestamp> {
    let body = text.strip_suffix('Z').unwrap_or(text);
    let plain = body.bytes().enumerate().all(|(at, byte)| match byte {
        b'0'..=b'9' | b'-' | b':' | b'+' | b'.' => true,
        byte => byte == b'T' && at == 10,
    });
    let long_enough = text.len() >= "2006-01-02T15:04:05Z".len();
    if plain && long_enough { text.parse().ok() } else { None }
}

fn time_fault(text: &str, digits: u8) -> String {
    let layout = if digits == 0 { "2006-01-02T15:04:05Z07:00" } else { "2006-01-02T15:04:05.000000Z07:00" };
    format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\"")
}

/// The complaint of a type that decodes itself: it does not know which field it is.
fn go_value(found: &str, ty: &str) -> Fault {
    Fault::Content(format!("json: cannot unmarshal {found} into Go value of type {ty}"))
}
