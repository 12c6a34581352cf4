//! JSON values to messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::write::Writer;
use super::{Error, envelope, own};
use crate::schema::{self, Content, Definition, Field, Presence, Scalar, Shape, Slot, Type};

/// An object of `definition` in its envelope, which tells its kind.
pub fn encode(object: &Value, definition: &'static Definition) -> Result<Vec<u8>, Error> {
    let text = |name: &str| object[name].as_str().unwrap_or_default();
    Ok(envelope::wrap(text("apiVersion"), text("kind"), &message(object, definition)?))
}

/// The bare message of an object.
pub fn message(object: &Value, definition: &'static Definition) -> Result<Vec<u8>, Error> {
    let slots = definition.message.ok_or(Error::NoForm(definition.name))?;
    let fields = object.as_object().ok_or_else(|| Error::Unfit(definition.name.to_owned()))?;
    let mut encoder = Encoder { writer: Writer::with_capacity(1024) };
    encoder.slots(slots, definition, fields)?;
    Ok(encoder.writer.finish())
}

/// The bare message of a `PartialObjectMetadata`.
pub fn partial(metadata: &Value) -> Result<Vec<u8>, Error> {
    const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let definition = schema::definition(META).ok_or(Error::NoForm(META))?;
    let mut encoder = Encoder { writer: Writer::with_capacity(1024) };
    encoder.reference(1, definition, metadata)?;
    Ok(encoder.writer.finish())
}

/// A message being written from values.
pub(super) struct Encoder {
    pub(super) writer: Writer,
}

impl Encoder {
    fn slots(
        &mut self,
        slots: &'static [Slot],
        owner: &'static Definition,
        fields: &Map<String, Value>,
    ) -> Result<(), Error> {
        for slot in slots {
            match slot.content {
                Content::Inline(inner) => self.message(slot.number, |walk| walk.slots(inner, owner, fields))?,
                Content::Items(index) => {
                    let field = &owner.fields[index];
                    if let Some(value) = fields.get(field.name).filter(|value| !value.is_null()) {
                        self.value(slot.number, field.ty, value).map_err(|why| within(why, owner, field))?;
                    }
                }
                Content::Field(index) => {
                    let field = &owner.fields[index];
                    let value = fields.get(field.name).filter(|value| !value.is_null());
                    self.field(slot, field.ty, value).map_err(|why| within(why, owner, field))?;
                }
            }
        }
        Ok(())
    }

    fn field(&mut self, slot: &Slot, ty: Type, value: Option<&Value>) -> Result<(), Error> {
        match (ty, value) {
            (Type::List(_) | Type::Map(_) | Type::Scalar(Scalar::Bytes), None) => Ok(()),
            (_, None) if slot.presence == Presence::Pointer => Ok(()),
            (ty, None) => self.zero(slot.number, ty),
            (Type::List(item), Some(Value::Array(items))) => {
                items.iter().try_for_each(|value| self.value(slot.number, *item, value))
            }
            (Type::Map(item), Some(Value::Object(entries))) => entries.iter().try_for_each(|(key, value)| {
                self.message(slot.number, |walk| {
                    walk.writer.bytes(1, key.as_bytes());
                    walk.value(2, *item, value)
                })
            }),
            (ty, Some(value)) => self.value(slot.number, ty, value),
        }
    }

    fn value(&mut self, number: u32, ty: Type, value: &Value) -> Result<(), Error> {
        match (ty, value) {
            (_, Value::Null) => self.zero(number, ty),
            (Type::Scalar(scalar), value) => self.scalar(number, scalar, value),
            (Type::Ref(definition), value) => self.reference(number, definition, value),
            // A list inside a map or list is a message of its own: `{ 1: items }`.
            (Type::List(item), Value::Array(items)) => {
                self.message(number, |walk| items.iter().try_for_each(|value| walk.value(1, *item, value)))
            }
            _ => Err(unfit()),
        }
    }

    fn scalar(&mut self, number: u32, scalar: Scalar, value: &Value) -> Result<(), Error> {
        match (scalar, value) {
            (Scalar::String, Value::String(text)) => self.writer.bytes(number, text.as_bytes()),
            (Scalar::Bytes, Value::String(text)) => {
                self.writer.bytes(number, &STANDARD.decode(text).map_err(|_| unfit())?);
            }
            (Scalar::Boolean, Value::Bool(flag)) => self.writer.number(number, u64::from(*flag)),
            // 32-bit numbers are written sign-extended to 64 bits, so one writing fits both.
            (Scalar::Int32 | Scalar::Int64, Value::Number(value)) => {
                self.writer.number(number, value.as_i64().ok_or_else(unfit)?.cast_unsigned());
            }
            (Scalar::Double, Value::Number(value)) => self.writer.double(number, value.as_f64().ok_or_else(unfit)?),
            _ => return Err(unfit()),
        }
        Ok(())
    }

    pub(super) fn reference(
        &mut self,
        number: u32,
        definition: &'static Definition,
        value: &Value,
    ) -> Result<(), Error> {
        match (definition.shape, value) {
            (Shape::Struct, Value::Object(fields)) => {
                let slots = definition.message.ok_or(Error::NoForm(definition.name))?;
                self.message(number, |walk| walk.slots(slots, definition, fields))
            }
            (Shape::Struct, _) => Err(unfit()),
            _ => own::encode(self, number, definition, value),
        }
    }

    /// Go's zero value of a type.
    fn zero(&mut self, number: u32, ty: Type) -> Result<(), Error> {
        match ty {
            Type::Scalar(Scalar::String | Scalar::Bytes) => self.writer.bytes(number, b""),
            Type::Scalar(Scalar::Double) => self.writer.double(number, 0.0),
            Type::Scalar(_) => self.writer.number(number, 0),
            Type::Ref(definition) if definition.shape == Shape::Struct => {
                return self.reference(number, definition, &Value::Object(Map::new()));
            }
            Type::Ref(definition) => return own::encode_zero(self, number, definition),
            Type::List(_) | Type::Map(_) => self.writer.bytes(number, b""),
        }
        Ok(())
    }

    /// A field that is a message.
    pub(super) fn message(
        &mut self,
        number: u32,
        write: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let start = self.writer.begin(number);
        write(self)?;
        self.writer.end(start);
        Ok(())
    }
}

/// A value that is not of its type; the field's name is added on the way out.
pub(super) fn unfit() -> Error {
    Error::Unfit(String::new())
}

fn within(why: Error, owner: &Definition, field: &Field) -> Error {
    match why {
        Error::Unfit(place) if place.is_empty() => Error::Unfit(format!("{}.{}", owner.short_name(), field.name)),
        why => why,
    }
}
