//! Lists and maps: views of the caller's JSON, or made by the expression.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::json::from_json;
use super::{Text, Value};
use crate::types::{Field, ListSemantics, ListType, Object, Type};

/// A list.
#[derive(Clone, Debug)]
pub enum List<'a> {
    /// A view of JSON, with the type that says what its items are.
    Json(&'a [Json], Arc<ListType>),
    /// Made by the expression; what it was made from says how it compares.
    Own(Arc<Vec<Value<'a>>>, ListSemantics),
}

impl<'a> List<'a> {
    /// A list of these items, compared by position.
    pub fn own(items: Vec<Value<'a>>) -> Self {
        Self::Own(Arc::new(items), ListSemantics::Atomic)
    }

    /// How many items it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(items, _) => items.len(),
            Self::Own(items, _) => items.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at `index`.
    pub fn get(&self, index: usize) -> Option<Result<Value<'a>, String>> {
        match self {
            Self::Json(items, ty) => items.get(index).map(|item| from_json(item, &ty.element)),
            Self::Own(items, _) => items.get(index).cloned().map(Ok),
        }
    }

    /// All items.
    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, String>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// All items, or the first error among them.
    pub(crate) fn items(&self) -> Result<Vec<Value<'a>>, String> {
        self.iter().collect()
    }

    pub(crate) fn semantics(&self) -> &ListSemantics {
        match self {
            Self::Json(_, ty) => &ty.semantics,
            Self::Own(_, semantics) => semantics,
        }
    }
}

/// A map's key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `true`
    Bool(bool),
    /// Signed and unsigned integers alike: `1` and `1u` are one key.
    Int(i128),
    /// Text.
    String(Arc<str>),
}

impl Key {
    pub(crate) fn of(value: &Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Int(number) => Self::Int((*number).into()),
            Value::Uint(number) => Self::Int((*number).into()),
            Value::Double(number) if number.fract() == 0.0 && number.abs() < 9.0e18 => Self::Int(*number as i128),
            Value::String(Text::Shared(text)) => Self::String(text.clone()),
            Value::String(Text::Borrowed(text)) => Self::String((*text).into()),
            _ => return None,
        })
    }

    pub(crate) fn value<'a>(&self) -> Value<'a> {
        match self {
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Int(number) => match i64::try_from(*number) {
                Ok(number) => Value::Int(number),
                Err(_) => Value::Uint(u64::try_from(*number).unwrap_or(u64::MAX)),
            },
            Self::String(text) => Value::String(Text::Shared(text.clone())),
        }
    }
}

/// A map or object.
#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// A view of JSON.
    Json(&'a serde_json::Map<String, Json>, MapShape),
    /// Made by the expression.
    Own(Arc<Owned<'a>>),
}

/// How the members of a JSON object are seen.
#[derive(Clone, Debug)]
pub enum MapShape {
    /// As entries whose values have this type.
    Entries(Type),
    /// As declared fields.
    Fields(Object),
}

/// A map or object made by an expression.
#[derive(Clone, Debug, Default)]
pub struct Owned<'a> {
    /// The name of the object's type; `None` for a map.
    pub(crate) object: Option<Arc<str>>,
    pub(crate) entries: BTreeMap<Key, Value<'a>>,
}

impl<'a> Map<'a> {
    pub(crate) fn own(entries: BTreeMap<Key, Value<'a>>) -> Self {
        Self::Own(Arc::new(Owned { object: None, entries }))
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(map, MapShape::Entries(_)) => map.len(),
            Self::Json(..) => self.keys().len(),
            Self::Own(own) => own.entries.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of this key.
    pub fn get(&self, key: &Key) -> Option<Result<Value<'a>, String>> {
        match (self, key) {
            (Self::Json(map, shape), Key::String(name)) => member(map, shape, name),
            (Self::Json(..), _) => None,
            (Self::Own(own), key) => own.entries.get(key).cloned().map(Ok),
        }
    }

    /// The value of this field or key.
    pub fn field(&self, name: &str) -> Option<Result<Value<'a>, String>> {
        match self {
            Self::Json(map, shape) => member(map, shape, name),
            Self::Own(own) => own.entries.get(&Key::String(name.into())).cloned().map(Ok),
        }
    }

    /// All keys, in order.
    pub fn keys(&self) -> Vec<Key> {
        match self {
            Self::Json(map, MapShape::Entries(_)) => map.keys().map(|key| Key::String(key.as_str().into())).collect(),
            Self::Json(map, MapShape::Fields(object)) => {
                // A field that is null counts as absent.
                let present = map.iter().filter(|(_, value)| !value.is_null());
                let names = present.filter_map(|(name, _)| crate::escape(name));
                names.filter(|name| object.0.field(name).is_some()).map(|name| Key::String(name.into())).collect()
            }
            Self::Own(own) => own.entries.keys().cloned().collect(),
        }
    }

    /// Whether it is an object with declared fields: no map, even if it looks like one.
    pub fn is_object(&self) -> bool {
        match self {
            Self::Json(_, shape) => matches!(shape, MapShape::Fields(_)),
            Self::Own(own) => own.object.is_some(),
        }
    }

    pub(super) fn type_name(&self) -> &str {
        match self {
            Self::Json(_, MapShape::Fields(object)) => object.0.name(),
            Self::Json(..) => "map",
            Self::Own(own) => own.object.as_deref().unwrap_or("map"),
        }
    }
}

fn member<'a>(
    map: &'a serde_json::Map<String, Json>,
    shape: &MapShape,
    name: &str,
) -> Option<Result<Value<'a>, String>> {
    match shape {
        MapShape::Entries(ty) => map.get(name).map(|value| from_json(value, ty)),
        MapShape::Fields(object) => {
            let Field { ty, json_name } = object.0.field(name)?;
            map.get(&json_name).filter(|value| !value.is_null()).map(|value| from_json(value, &ty))
        }
    }
}
