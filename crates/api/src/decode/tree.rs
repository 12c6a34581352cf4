//! A parsed document that still has duplicate keys and their order, bounded in size.
//!
//! YAML is read as version 1.2 has it (`yes` and `0644` are texts): kubectl itself turns the older forms into JSON.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::Format;
use crate::cbor;

/// What a document may grow to when its YAML aliases are written out: a body's limit with room for its structure.
const MAX_EXPANDED_BYTES: usize = 64 << 20;

/// What one value costs against [`MAX_EXPANDED_BYTES`] besides its text.
const VALUE_BYTES: usize = size_of::<Tree>();

/// A parsed document.
#[derive(Debug, PartialEq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    pub(super) fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// What Go's decoder calls a value of this kind.
    pub(super) fn go_kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::List(_) => "array",
            Self::Map(_) => "object",
        }
    }
}

impl From<Value> for Tree {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(bool) => Self::Bool(bool),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::String(text),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Value::Object(fields) => Self::Map(fields.into_iter().map(|(key, value)| (key, value.into())).collect()),
        }
    }
}

/// Parses a body. Depth is bounded by the parsers (128), size by a budget.
pub(super) fn parse(body: &[u8], format: Format) -> Result<Tree, String> {
    match format {
        Format::Json => json(body).map_err(|error| error.to_string()),
        Format::Yaml => yaml(body).map_err(|error| format!("yaml: {error}")),
        Format::Cbor => cbor::decode(body).map(Tree::from).map_err(|error| error.to_string()),
        Format::Protobuf => Err("protobuf cannot be read without a type".to_owned()),
    }
}

fn json(body: &[u8]) -> Result<Tree, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let tree = Budget::default().deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(tree)
}

/// Nearly all that clients send as YAML is JSON, which is YAML too and read several times faster as what it is.
fn yaml(body: &[u8]) -> Result<Tree, serde_yaml_ng::Error> {
    if body.trim_ascii_start().starts_with(b"{")
        && let Ok(tree) = json(body)
    {
        return Ok(tree);
    }
    Budget::default().deserialize(serde_yaml_ng::Deserializer::from_slice(body))
}

struct Budget {
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: MAX_EXPANDED_BYTES }
    }
}

impl Budget {
    fn spend<E: de::Error>(&mut self, text_bytes: usize) -> Result<(), E> {
        let rest = self.bytes.checked_sub(text_bytes + VALUE_BYTES);
        self.bytes = rest.ok_or_else(|| E::custom("document contains excessive aliasing"))?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &mut Budget {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Budget {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Tree, E> {
        self.spend(0)?;
        Ok(Tree::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Tree, E> {
        self.spend(0)?;
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Tree, E> {
        self.spend(0)?;
        Ok(Tree::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Tree, E> {
        self.spend(0)?;
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Tree, E> {
        self.spend(0)?;
        Number::from_f64(value).map(Tree::Number).ok_or_else(|| E::custom("number is not finite"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Tree, E> {
        self.spend(text.len())?;
        Ok(Tree::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        self.spend(0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(&mut *self)? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Tree, A::Error> {
        self.spend(0)?;
        let mut map = Vec::new();
        while let Some(key) = fields.next_key_seed(&mut *self)? {
            let key = key_text(key).ok_or_else(|| de::Error::custom("a key must be a string"))?;
            map.push((key, fields.next_value_seed(&mut *self)?));
        }
        Ok(Tree::Map(map))
    }
}

/// YAML's keys may be numbers and booleans; in JSON they are their text.
fn key_text(key: Tree) -> Option<String> {
    match key {
        Tree::String(text) => Some(text),
        Tree::Number(number) => Some(number.to_string()),
        Tree::Bool(bool) => Some(bool.to_string()),
        _ => None,
    }
}
