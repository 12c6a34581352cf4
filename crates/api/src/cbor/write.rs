//! JSON values to CBOR.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Number, Value};

use super::{ARRAY, BYTES, FALSE, FLOAT64, MAGIC, MAP, NEGATIVE, NULL, SIMPLE, TAG, TAG_BASE64, TRUE, UNSIGNED};
use crate::schema::{Definition, Scalar, Shape, Type};

const FLOAT32: u8 = SIMPLE | 26;

/// A value without a schema, as custom resources have it.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    plain(&mut out, value);
    out
}

/// A value of `definition`: what are bytes there are bytes here.
pub fn encode_as(value: &Value, definition: &'static Definition) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    typed(&mut out, value, Type::Ref(definition));
    out
}

/// A list. The items are finished objects.
pub fn list(api_version: &str, kind: &str, meta: &Value, items: &[Bytes]) -> Vec<u8> {
    let mut out = Vec::with_capacity(items.iter().map(Bytes::len).sum::<usize>() + 256);
    out.extend_from_slice(MAGIC);
    head(&mut out, MAP, 4);
    text(&mut out, "kind");
    text(&mut out, kind);
    text(&mut out, "apiVersion");
    text(&mut out, api_version);
    text(&mut out, "metadata");
    plain(&mut out, meta);
    text(&mut out, "items");
    head(&mut out, ARRAY, items.len() as u64);
    items.iter().for_each(|item| out.extend_from_slice(item.strip_prefix(MAGIC).unwrap_or(item)));
    out
}

/// An event of a watch. The object is finished.
pub fn event(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.len() + 32);
    out.extend_from_slice(MAGIC);
    head(&mut out, MAP, 2);
    text(&mut out, "type");
    text(&mut out, kind);
    text(&mut out, "object");
    out.extend_from_slice(object);
    out
}

fn typed(out: &mut Vec<u8>, value: &Value, ty: Type) {
    match (ty, value) {
        (Type::Scalar(Scalar::Bytes), Value::String(base64)) => match STANDARD.decode(base64) {
            Ok(bytes) => {
                head(out, TAG, TAG_BASE64);
                head(out, BYTES, bytes.len() as u64);
                out.extend_from_slice(&bytes);
            }
            Err(_) => text(out, base64),
        },
        (Type::List(item), Value::Array(items)) => {
            head(out, ARRAY, items.len() as u64);
            items.iter().for_each(|value| typed(out, value, *item));
        }
        (Type::Map(item), Value::Object(fields)) => map(out, fields, |out, _, value| typed(out, value, *item)),
        (Type::Ref(definition), Value::Object(fields)) if definition.shape == Shape::Struct => {
            map(out, fields, |out, name, value| match definition.field(name) {
                Some(field) => typed(out, value, field.ty),
                None => plain(out, value),
            });
        }
        (_, value) => plain(out, value),
    }
}

fn map(out: &mut Vec<u8>, fields: &Map<String, Value>, mut write: impl FnMut(&mut Vec<u8>, &str, &Value)) {
    head(out, MAP, fields.len() as u64);
    for (name, value) in fields {
        text(out, name);
        write(out, name, value);
    }
}

fn plain(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(flag) => out.push(if *flag { TRUE } else { FALSE }),
        Value::Number(number) => self::number(out, number),
        Value::String(string) => text(out, string),
        Value::Array(items) => {
            head(out, ARRAY, items.len() as u64);
            items.iter().for_each(|value| plain(out, value));
        }
        Value::Object(fields) => map(out, fields, |out, _, value| plain(out, value)),
    }
}

fn number(out: &mut Vec<u8>, number: &Number) {
    if let Some(unsigned) = number.as_u64() {
        head(out, UNSIGNED, unsigned);
    } else if let Some(signed) = number.as_i64() {
        head(out, NEGATIVE, (-1 - signed).cast_unsigned());
    } else {
        let double = number.as_f64().unwrap_or_default();
        #[allow(clippy::cast_possible_truncation)]
        let single = double as f32;
        if f64::from(single).to_bits() == double.to_bits() {
            out.push(FLOAT32);
            out.extend_from_slice(&single.to_be_bytes());
        } else {
            out.push(FLOAT64);
            out.extend_from_slice(&double.to_be_bytes());
        }
    }
}

/// A text: upstream writes them as byte strings, which need not be checked.
fn text(out: &mut Vec<u8>, text: &str) {
    head(out, BYTES, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// The start of an item, as short as it can be.
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let bytes = argument.to_be_bytes();
    match argument {
        0..24 => out.push(major | bytes[7]),
        24..0x100 => out.extend_from_slice(&[major | 24, bytes[7]]),
        0x100..0x1_0000 => {
            out.push(major | 25);
            out.extend_from_slice(&bytes[6..]);
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(major | 26);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&bytes);
        }
    }
}
