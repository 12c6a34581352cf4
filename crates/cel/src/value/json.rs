//! JSON to values, guided by types, and back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::collections::{Key, List, Map, MapShape};
use super::{Opaque, Text, Value};
use crate::library::{conversions, time};
use crate::types::{ListSemantics, ListType, Type};

/// The value that this JSON is for an expression that sees it as of type `ty`. What the type does not foretell is
/// taken as it is.
pub(crate) fn from_json<'a>(json: &'a Json, ty: &Type) -> Result<Value<'a>, String> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match (number.as_i64(), ty) {
            (Some(whole), Type::Double) => Value::Double(whole as f64),
            (Some(whole), _) => Value::Int(whole),
            (None, _) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => return from_text(text, ty),
        Json::Array(items) => Value::List(List::Json(items, list_type(ty))),
        Json::Object(members) => Value::Map(Map::Json(members, shape(ty))),
    })
}

fn from_text<'a>(text: &'a str, ty: &Type) -> Result<Value<'a>, String> {
    let malformed = |what: &str| format!("Invalid {what} formatted string \"{text}\"");
    match ty {
        Type::Bytes => STANDARD.decode(text).map(|bytes| Value::Bytes(bytes.into())).map_err(|_| malformed("byte")),
        Type::Timestamp => {
            let moment = time::parse_timestamp(text).or_else(|| time::parse_date(text));
            moment.map(Value::Timestamp).ok_or_else(|| malformed("date-time"))
        }
        Type::Duration => time::parse_duration(text).map(Value::Duration).ok_or_else(|| malformed("duration")),
        _ => Ok(Value::String(Text::Borrowed(text))),
    }
}

fn list_type(ty: &Type) -> std::sync::Arc<ListType> {
    match ty {
        Type::List(list) => list.clone(),
        _ => ListType { element: Type::Dyn, semantics: ListSemantics::Atomic }.into(),
    }
}

fn shape(ty: &Type) -> MapShape {
    match ty {
        Type::Map(map) => MapShape::Entries(map.1.clone()),
        Type::Object(object) => MapShape::Fields(object.clone()),
        _ => MapShape::Entries(Type::Dyn),
    }
}

impl Value<'_> {
    /// The value as JSON; `Err` names the type of what JSON has no form for. Absent optionals leave no trace.
    pub fn to_json(&self) -> Result<Json, String> {
        Ok(match self {
            Self::Null | Self::Optional(None) => Json::Null,
            Self::Bool(truth) => (*truth).into(),
            Self::Int(number) => (*number).into(),
            Self::Uint(number) => (*number).into(),
            Self::Double(number) => serde_json::Number::from_f64(*number).map_or(Json::Null, Json::Number),
            Self::String(text) => (**text).into(),
            Self::Bytes(bytes) => STANDARD.encode(bytes).into(),
            Self::Duration(_) | Self::Timestamp(_) => conversions::to_text(self).unwrap_or_default().into(),
            Self::List(List::Json(items, _)) => Json::Array(items.to_vec()),
            Self::List(List::Own(items, _)) => Json::Array(items.iter().map(Value::to_json).collect::<Result<_, _>>()?),
            Self::Map(Map::Json(members, _)) => Json::Object((*members).clone()),
            Self::Map(map @ Map::Own(own)) => {
                let field =
                    |key: &Key, value: &Value<'_>| Ok::<_, String>((name(key, map.is_object()), value.to_json()?));
                let present = own.entries.iter().filter(|(_, value)| !matches!(value, Value::Optional(None)));
                Json::Object(present.map(|(key, value)| field(key, value)).collect::<Result<_, _>>()?)
            }
            Self::Optional(Some(inner)) => inner.to_json()?,
            Self::Opaque(Opaque::Quantity(quantity)) => quantity.to_string().into(),
            other => return Err(format!("a value of type {} has no form in JSON", other.type_name())),
        })
    }
}

/// Field names of objects are escaped in expressions; keys of maps are as they are.
fn name(key: &Key, field: bool) -> String {
    match key {
        Key::String(text) if field => crate::unescape(text).unwrap_or_else(|| text.to_string()),
        Key::String(text) => text.to_string(),
        Key::Int(number) => number.to_string(),
        Key::Bool(truth) => truth.to_string(),
    }
}
