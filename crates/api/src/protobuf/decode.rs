//! Messages to JSON values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::read::{Field, Fields, Raw};
use super::{Error, MAX_DEPTH, envelope, own};
use crate::decode::growth::Growth;
use crate::schema::{Content, Definition, Presence, Scalar, Shape, Slot, Type};

/// The object of `definition` in a body.
pub fn decode(body: &[u8], definition: &'static Definition) -> Result<Value, Error> {
    let slots = definition.message.ok_or(Error::NoForm(definition.name))?;
    let unknown = envelope::unwrap(body)?;
    let mut object = Map::new();
    for (name, text) in [("apiVersion", unknown.api_version), ("kind", unknown.kind)] {
        if !text.is_empty() {
            object.insert(name.to_owned(), text.into());
        }
    }
    let mut decoder = Decoder { depth: 0, growth: Growth::new() };
    decoder.slots(unknown.raw, slots, definition, &mut object)?;
    Ok(Value::Object(object))
}

/// A message being read.
pub(super) struct Decoder {
    depth: usize,
    growth: Growth,
}

impl Decoder {
    /// Takes what a value will need.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), Error> {
        Ok(self.growth.value(bytes)?)
    }

    fn slots(
        &mut self,
        bytes: &[u8],
        slots: &'static [Slot],
        owner: &'static Definition,
        into: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        for field in Fields::of(bytes) {
            let Field { number, raw } = field?;
            let Ok(found) = slots.binary_search_by_key(&number, |slot| slot.number) else { continue };
            let slot = &slots[found];
            match slot.content {
                Content::Inline(inner) => self.slots(raw.bytes()?, inner, owner, into)?,
                Content::Field(index) => {
                    let field = &owner.fields[index];
                    self.field(field.name, field.ty, raw, into)?;
                    if slot.presence == Presence::Plain && into.get(field.name).is_some_and(is_zero) {
                        into.remove(field.name);
                    }
                }
                Content::Items(index) => {
                    let field = &owner.fields[index];
                    let value = self.value(field.ty, raw)?;
                    into.insert(field.name.to_owned(), value);
                }
            }
        }
        Ok(())
    }

    fn field(&mut self, name: &str, ty: Type, raw: Raw<'_>, into: &mut Map<String, Value>) -> Result<(), Error> {
        match ty {
            Type::List(item) => {
                let list = into.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                self.item(*item, raw, list.as_array_mut().ok_or(Error::Broken)?)?;
            }
            Type::Map(item) => {
                let (key, value) = self.entry(*item, raw)?;
                let map = into.entry(name).or_insert_with(|| Value::Object(Map::new()));
                map.as_object_mut().ok_or(Error::Broken)?.insert(key, value);
            }
            // A message that comes in several parts is the sum of them.
            Type::Ref(definition) if definition.shape == Shape::Struct => {
                let before = into.remove(name);
                into.insert(name.to_owned(), self.object(definition, raw, before)?);
            }
            ty => match self.value(ty, raw)? {
                Value::Null => drop(into.remove(name)),
                value => drop(into.insert(name.to_owned(), value)),
            },
        }
        Ok(())
    }

    /// An item of a list; numbers may also come packed, many in one field.
    fn item(&mut self, ty: Type, raw: Raw<'_>, list: &mut Vec<Value>) -> Result<(), Error> {
        match (ty, raw) {
            (Type::Scalar(scalar @ (Scalar::Int32 | Scalar::Int64 | Scalar::Boolean)), Raw::Bytes(packed)) => {
                for number in Fields::packed(packed) {
                    list.push(self.scalar(scalar, Raw::Number(number?))?);
                }
            }
            (ty, raw) => list.push(self.value(ty, raw)?),
        }
        Ok(())
    }

    /// An entry of a map: `{ 1: key, 2: value }`.
    fn entry(&mut self, ty: Type, raw: Raw<'_>) -> Result<(String, Value), Error> {
        let (mut key, mut value) = (String::new(), None);
        for field in Fields::of(raw.bytes()?) {
            match field? {
                Field { number: 1, raw } => raw.text()?.clone_into(&mut key),
                Field { number: 2, raw } => value = Some(self.value(ty, raw)?),
                _ => {}
            }
        }
        self.growth.object()?;
        Ok((key, value.unwrap_or_else(|| zero(ty))))
    }

    fn value(&mut self, ty: Type, raw: Raw<'_>) -> Result<Value, Error> {
        match ty {
            Type::Scalar(scalar) => self.scalar(scalar, raw),
            Type::Ref(definition) => self.reference(definition, raw),
            // A list inside a map or list is a message of its own: `{ 1: items }`.
            Type::List(item) => {
                let mut list = Vec::new();
                for field in Fields::of(raw.bytes()?) {
                    self.item(*item, field?.raw, &mut list)?;
                }
                self.spend(0)?;
                Ok(Value::Array(list))
            }
            Type::Map(_) => Err(Error::Broken),
        }
    }

    fn scalar(&mut self, scalar: Scalar, raw: Raw<'_>) -> Result<Value, Error> {
        self.spend(if let Raw::Bytes(bytes) = raw { bytes.len() } else { 0 })?;
        Ok(match scalar {
            Scalar::String => raw.text()?.into(),
            Scalar::Bytes => STANDARD.encode(raw.bytes()?).into(),
            Scalar::Boolean => (raw.number()? != 0).into(),
            Scalar::Int32 => raw.int32()?.into(),
            Scalar::Int64 => raw.number()?.cast_signed().into(),
            Scalar::Double => f64::from_bits(raw.number()?).into(),
        })
    }

    pub(super) fn reference(&mut self, definition: &'static Definition, raw: Raw<'_>) -> Result<Value, Error> {
        match definition.shape {
            Shape::Struct => self.object(definition, raw, None),
            _ => self.deeper(|walk| {
                walk.spend(0)?;
                own::decode(walk, definition, raw)
            }),
        }
    }

    fn object(&mut self, definition: &'static Definition, raw: Raw<'_>, before: Option<Value>) -> Result<Value, Error> {
        let slots = definition.message.ok_or(Error::NoForm(definition.name))?;
        self.growth.object()?;
        let mut object = if let Some(Value::Object(before)) = before { before } else { Map::new() };
        self.deeper(|walk| walk.slots(raw.bytes()?, slots, definition, &mut object))?;
        Ok(Value::Object(object))
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth == MAX_DEPTH {
            return Err(Error::TooLarge);
        }
        self.depth += 1;
        let done = read(self);
        self.depth -= 1;
        done
    }
}

/// What Go's JSON leaves out of a plain field. Lists and maps are here only if they are not empty.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// What a map's entry without a value holds.
fn zero(ty: Type) -> Value {
    match ty {
        Type::Scalar(scalar) => scalar.zero(),
        Type::List(_) => Value::Array(Vec::new()),
        Type::Ref(definition) if definition.shape == Shape::Quantity => "0".into(),
        Type::Ref(definition) if definition.shape == Shape::Struct => Value::Object(Map::new()),
        _ => Value::Null,
    }
}
