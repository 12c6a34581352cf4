//! Types with a form of their own: times, quantities, numbers that may be texts, and JSON inside protobuf.
//!
//! ```text
//! Time, MicroTime   { 1: seconds, 2: nanoseconds }              none at all for no time
//! Quantity          { 1: text }
//! IntOrString       { 1: 0 number | 1 text, 2: number, 3: text }
//! RawExtension, FieldsV1, JSON   { 1: JSON as bytes }
//! JSONSchemaPropsOrArray         { 1: schema, 2: schemas }
//! JSONSchemaPropsOrBool          { 1: allows, 2: schema }
//! JSONSchemaPropsOrStringArray   { 1: schema, 2: texts }
//! ```

use jiff::Timestamp;
use serde_json::Value;

use super::Error;
use super::decode::Decoder;
use super::encode::{Encoder, unfit};
use super::read::{Fields, Raw};
use crate::schema::{self, Definition, Shape};

const SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// Writes a value of such a type.
pub(super) fn encode(
    to: &mut Encoder,
    number: u32,
    definition: &'static Definition,
    value: &Value,
) -> Result<(), Error> {
    to.message(number, |to| {
        match (definition.shape, value) {
            (Shape::Struct, _) => return Err(unfit()),
            (Shape::Quantity, Value::String(text)) => to.writer.bytes(1, text.as_bytes()),
            (Shape::Quantity, Value::Number(number)) => to.writer.bytes(1, number.to_string().as_bytes()),
            (Shape::IntOrString, Value::String(text)) => int_or_string(to, 1, 0, text),
            (Shape::IntOrString, Value::Number(number)) => {
                int_or_string(to, 0, number.as_i64().ok_or_else(unfit)?, "");
            }
            (Shape::Time | Shape::MicroTime, Value::String(text)) => return time(to, definition.shape, text),
            (Shape::Json, value) => return json(to, definition, value),
            _ => return Err(unfit()),
        }
        Ok(())
    })
}

/// Writes the zero value of such a type.
pub(super) fn encode_zero(to: &mut Encoder, number: u32, definition: &'static Definition) -> Result<(), Error> {
    to.message(number, |to| {
        match definition.shape {
            Shape::Quantity => to.writer.bytes(1, b"0"),
            Shape::IntOrString => int_or_string(to, 0, 0, ""),
            _ => {}
        }
        Ok(())
    })
}

fn int_or_string(to: &mut Encoder, form: u64, number: i64, text: &str) {
    to.writer.number(1, form);
    to.writer.number(2, number.cast_unsigned());
    to.writer.bytes(3, text.as_bytes());
}

fn time(to: &mut Encoder, shape: Shape, text: &str) -> Result<(), Error> {
    let at: Timestamp = text.parse().map_err(|_| unfit())?;
    // Before 1970 jiff counts both parts backwards, the wire counts nanoseconds forwards.
    let (seconds, nanos) = (at.as_nanosecond().div_euclid(1_000_000_000), at.as_nanosecond().rem_euclid(1_000_000_000));
    let nanos = if shape == Shape::MicroTime { nanos / 1000 * 1000 } else { 0 };
    to.writer.number(1, i64::try_from(seconds).map_err(|_| unfit())?.cast_unsigned());
    to.writer.number(2, u64::try_from(nanos).map_err(|_| unfit())?);
    Ok(())
}

fn json(to: &mut Encoder, definition: &Definition, value: &Value) -> Result<(), Error> {
    match (definition.short_name(), value) {
        ("JSONSchemaPropsOrBool", Value::Bool(allows)) => to.writer.number(1, u64::from(*allows)),
        ("JSONSchemaPropsOrBool", value) => {
            to.writer.number(1, 1);
            return to.reference(2, props()?, value);
        }
        ("JSONSchemaPropsOrArray", Value::Array(schemas)) => {
            return schemas.iter().try_for_each(|schema| to.reference(2, props()?, schema));
        }
        ("JSONSchemaPropsOrStringArray", Value::Array(texts)) => {
            for text in texts {
                to.writer.bytes(2, text.as_str().ok_or_else(unfit)?.as_bytes());
            }
        }
        ("JSONSchemaPropsOrArray" | "JSONSchemaPropsOrStringArray", value) => return to.reference(1, props()?, value),
        _ => to.writer.bytes(1, value.to_string().as_bytes()),
    }
    Ok(())
}

fn props() -> Result<&'static Definition, Error> {
    schema::definition(SCHEMA).ok_or(Error::NoForm(SCHEMA))
}

/// Reads a value of such a type; null for none.
pub(super) fn decode(from: &mut Decoder, definition: &'static Definition, raw: Raw<'_>) -> Result<Value, Error> {
    match definition.shape {
        Shape::Struct => Err(Error::Broken),
        Shape::Quantity => Ok(first(raw)?.map_or(Ok("0"), Raw::text)?.into()),
        Shape::IntOrString => read_int_or_string(raw),
        Shape::Time | Shape::MicroTime => read_time(raw, definition.shape),
        Shape::Json => read_json(from, definition, raw),
    }
}

/// Field 1 of a message.
fn first(raw: Raw<'_>) -> Result<Option<Raw<'_>>, Error> {
    let mut found = None;
    for field in Fields::of(raw.bytes()?) {
        let field = field?;
        if field.number == 1 {
            found = Some(field.raw);
        }
    }
    Ok(found)
}

fn read_int_or_string(raw: Raw<'_>) -> Result<Value, Error> {
    let (mut is_text, mut number, mut text) = (false, 0, "");
    for field in Fields::of(raw.bytes()?) {
        let field = field?;
        match field.number {
            1 => is_text = field.raw.number()? == 1,
            2 => number = field.raw.int32()?,
            3 => text = field.raw.text()?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

fn read_time(raw: Raw<'_>, shape: Shape) -> Result<Value, Error> {
    let (mut seconds, mut nanos) = (0, 0);
    if raw.bytes()?.is_empty() {
        return Ok(Value::Null);
    }
    for field in Fields::of(raw.bytes()?) {
        let field = field?;
        match field.number {
            1 => seconds = field.raw.number()?.cast_signed(),
            2 => nanos = field.raw.int32()?,
            _ => {}
        }
    }
    // Times are kept as JSON keeps them: in whole seconds, or in microseconds.
    let (nanos, digits) = if shape == Shape::MicroTime { (nanos / 1000 * 1000, 6) } else { (0, 0) };
    let at = Timestamp::new(seconds, nanos).map_err(|_| Error::Broken)?;
    Ok(format!("{at:.digits$}").into())
}

fn read_json(from: &mut Decoder, definition: &'static Definition, raw: Raw<'_>) -> Result<Value, Error> {
    match definition.short_name() {
        "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrStringArray" => {
            read_alternative(from, definition, raw)
        }
        _ => match first(raw)?.map_or(Ok(&b""[..]), Raw::bytes)? {
            b"" => Ok(Value::Null),
            text => {
                from.spend(text.len())?;
                serde_json::from_slice(text).map_err(|_| Error::Broken)
            }
        },
    }
}

fn read_alternative(from: &mut Decoder, definition: &'static Definition, raw: Raw<'_>) -> Result<Value, Error> {
    let (is_bool, is_texts) = match definition.short_name() {
        "JSONSchemaPropsOrBool" => (true, false),
        "JSONSchemaPropsOrStringArray" => (false, true),
        _ => (false, false),
    };
    let (mut schema, mut allows, mut list) = (None, false, Vec::new());
    for field in Fields::of(raw.bytes()?) {
        let field = field?;
        match field.number {
            1 if is_bool => allows = field.raw.number()? != 0,
            2 if is_texts => list.push(Value::from(field.raw.text()?)),
            2 if !is_bool => list.push(from.reference(props()?, field.raw)?),
            1 | 2 => schema = Some(from.reference(props()?, field.raw)?),
            _ => {}
        }
    }
    let other = if is_bool { allows.into() } else { Value::Array(list) };
    Ok(schema.unwrap_or(other))
}
