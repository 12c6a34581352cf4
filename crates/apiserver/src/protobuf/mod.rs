//! Bodies in protobuf, which kubectl and client-go send for built-in kinds: turned into JSON before anything else sees
//! them. Answers stay JSON, which every such client accepts as well.
//!
//! Types come from the schema, field numbers from [`fields`]. An envelope of four bytes and a `runtime.Unknown` says what
//! kind is inside. Sizes that a message claims are never believed: everything is a slice of the bounded body.

mod fields;
mod wire;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use sampan_api::schema::{Definition, Scalar, Shape, Type};
use sampan_api::status::Status;
use serde_json::{Map, Value};

use self::fields::{Row, Slot, row};
use self::wire::{Bad, Field, Fields, Raw};

/// The media type.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";
/// No built-in type is nested deeper.
const MAX_DEPTH: usize = 32;

/// The JSON of a body that holds an object of `definition`.
pub(crate) fn to_json(body: &[u8], definition: &'static Definition) -> Result<Vec<u8>, Status> {
    let bad = |_| Status::bad_request("the protobuf body cannot be decoded");
    let inner = body.strip_prefix(MAGIC).ok_or_else(|| {
        Status::bad_request("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    })?;
    object(inner, definition).map(|object| object.to_string().into_bytes()).map_err(bad)
}

/// Unwraps `runtime.Unknown { 1: TypeMeta { 1: apiVersion, 2: kind }, 2: raw }`.
fn object(unknown: &[u8], definition: &'static Definition) -> Result<Value, Bad> {
    let mut object = Map::new();
    for field in Fields::of(unknown) {
        match field? {
            Field { number: 1, raw } => {
                for field in Fields::of(raw.bytes()?) {
                    let Field { number, raw } = field?;
                    let name = match number {
                        1 => "apiVersion",
                        2 => "kind",
                        _ => continue,
                    };
                    object.insert(name.to_owned(), raw.text()?.into());
                }
            }
            Field { number: 2, raw } => {
                let (package, _) = definition.name.rsplit_once('.').ok_or(Bad)?;
                let row = row(definition.name).ok_or(Bad)?;
                Message { definition, package, depth: 0 }.read(raw.bytes()?, row, &mut object)?;
            }
            _ => {}
        }
    }
    Ok(Value::Object(object))
}

/// A message being read.
#[derive(Clone, Copy)]
struct Message {
    definition: &'static Definition,
    /// Where the names of inlined messages are looked up.
    package: &'static str,
    depth: usize,
}

impl Message {
    fn read(self, bytes: &[u8], row: &Row, into: &mut Map<String, Value>) -> Result<(), Bad> {
        if self.depth > MAX_DEPTH {
            return Err(Bad);
        }
        for field in Fields::of(bytes) {
            let Field { number, raw } = field?;
            match number.checked_sub(1).and_then(|index| row.get(index as usize)) {
                None | Some(Slot::Unused) => {}
                Some(Slot::Inline(name)) => {
                    let row = fields::row(&format!("{}.{name}", self.package)).ok_or(Bad)?;
                    Self { depth: self.depth + 1, ..self }.read(raw.bytes()?, row, into)?;
                }
                Some(Slot::Named { name, nullable }) => self.named(name, *nullable, raw, into)?,
            }
        }
        Ok(())
    }

    fn named(self, name: &str, nullable: bool, raw: Raw<'_>, into: &mut Map<String, Value>) -> Result<(), Bad> {
        let Some(field) = self.definition.field(name) else { return Ok(()) };
        match field.ty {
            Type::List(item) => {
                let list = into.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                list.as_array_mut().ok_or(Bad)?.push(self.value(*item, raw)?);
            }
            Type::Map(value) => {
                let (key, value) = self.entry(*value, raw)?;
                let map = into.entry(name).or_insert_with(|| Value::Object(Map::new()));
                map.as_object_mut().ok_or(Bad)?.insert(key, value);
            }
            ty => {
                let value = self.value(ty, raw)?;
                // Go writes zeros of plain fields as well; in JSON they are left out.
                if !value.is_null() && (nullable || !is_zero(&value)) {
                    into.insert(name.to_owned(), value);
                }
            }
        }
        Ok(())
    }

    /// An entry of a map: `{ 1: key, 2: value }`.
    fn entry(self, ty: Type, raw: Raw<'_>) -> Result<(String, Value), Bad> {
        let (mut key, mut value) = (String::new(), zero(ty));
        for field in Fields::of(raw.bytes()?) {
            match field? {
                Field { number: 1, raw } => key = raw.text()?.to_owned(),
                Field { number: 2, raw } => value = self.value(ty, raw)?,
                _ => {}
            }
        }
        Ok((key, value))
    }

    fn value(self, ty: Type, raw: Raw<'_>) -> Result<Value, Bad> {
        match ty {
            Type::Scalar(scalar) => self::scalar(scalar, raw),
            Type::Ref(definition) => self.reference(definition, raw),
            // A list inside a map or list is a message of its own: `{ 1: items }`.
            Type::List(item) => {
                let items = Fields::of(raw.bytes()?).map(|field| self.value(*item, field?.raw));
                items.collect::<Result<Vec<_>, _>>().map(Value::Array)
            }
            Type::Map(_) => Err(Bad),
        }
    }

    fn reference(self, definition: &'static Definition, raw: Raw<'_>) -> Result<Value, Bad> {
        match definition.shape {
            Shape::Struct => {
                let (package, _) = definition.name.rsplit_once('.').ok_or(Bad)?;
                let mut object = Map::new();
                let row = row(definition.name).ok_or(Bad)?;
                Self { definition, package, depth: self.depth + 1 }.read(raw.bytes()?, row, &mut object)?;
                Ok(Value::Object(object))
            }
            Shape::Quantity => Ok(first(raw)?.map_or(Ok(""), Raw::text)?.into()),
            Shape::IntOrString => int_or_string(raw),
            Shape::Time | Shape::MicroTime => time(raw),
            Shape::Json if definition.short_name().starts_with("JSONSchemaPropsOr") => self.schema_or(definition, raw),
            Shape::Json => match first(raw)? {
                Some(raw) => serde_json::from_slice(raw.bytes()?).map_err(|_| Bad),
                None => Ok(Value::Null),
            },
        }
    }
}

impl Message {
    /// A schema in a place that can hold something else instead: several schemas, texts, or a boolean.
    fn schema_or(self, definition: &'static Definition, raw: Raw<'_>) -> Result<Value, Bad> {
        let name = definition.name.strip_suffix(definition.short_name()).unwrap_or_default();
        let schema = sampan_api::schema::definition(&format!("{name}JSONSchemaProps")).ok_or(Bad)?;
        let below = Self { depth: self.depth + 1, ..self };
        let mut found = Value::Null;
        for field in Fields::of(raw.bytes()?) {
            match (definition.short_name(), field?) {
                ("JSONSchemaPropsOrBool", Field { number: 1, raw }) if found.is_null() => found = (raw.number()? != 0).into(),
                ("JSONSchemaPropsOrBool", Field { number: 2, raw })
                | ("JSONSchemaPropsOrArray" | "JSONSchemaPropsOrStringArray", Field { number: 1, raw }) => {
                    found = below.reference(schema, raw)?;
                }
                (which, Field { number: 2, raw }) => {
                    let item = match which {
                        "JSONSchemaPropsOrArray" => below.reference(schema, raw)?,
                        _ => raw.text()?.into(),
                    };
                    if !found.is_array() {
                        found = Value::Array(Vec::new());
                    }
                    found.as_array_mut().ok_or(Bad)?.push(item);
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

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

fn zero(ty: Type) -> Value {
    match ty {
        Type::Scalar(scalar) => scalar.zero(),
        Type::List(_) => Value::Array(Vec::new()),
        _ => Value::Null,
    }
}

fn scalar(scalar: Scalar, raw: Raw<'_>) -> Result<Value, Bad> {
    Ok(match scalar {
        Scalar::String => raw.text()?.into(),
        Scalar::Bytes => STANDARD.encode(raw.bytes()?).into(),
        Scalar::Boolean => (raw.number()? != 0).into(),
        // 32-bit numbers are written sign-extended to 64 bits, so one reading fits both.
        Scalar::Int32 | Scalar::Int64 => raw.number()?.cast_signed().into(),
        Scalar::Double => f64::from_bits(raw.number()?).into(),
    })
}

/// Field 1 of a message.
fn first(raw: Raw<'_>) -> Result<Option<Raw<'_>>, Bad> {
    let mut found = None;
    for field in Fields::of(raw.bytes()?) {
        let Field { number, raw } = field?;
        if number == 1 {
            found = Some(raw);
        }
    }
    Ok(found)
}

/// `{ 1: type (0 number, 1 text), 2: number, 3: text }`
fn int_or_string(raw: Raw<'_>) -> Result<Value, Bad> {
    let (mut is_text, mut number, mut text) = (false, 0, "");
    for field in Fields::of(raw.bytes()?) {
        match field? {
            Field { number: 1, raw } => is_text = raw.number()? == 1,
            Field { number: 2, raw } => number = raw.number()?.cast_signed(),
            Field { number: 3, raw } => text = raw.text()?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

/// `{ 1: seconds, 2: nanoseconds }`; nothing at all is no time.
fn time(raw: Raw<'_>) -> Result<Value, Bad> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    for field in Fields::of(raw.bytes()?) {
        match field? {
            Field { number: 1, raw } => seconds = raw.number()?.cast_signed(),
            Field { number: 2, raw } => nanos = raw.number()?.cast_signed(),
            _ => {}
        }
    }
    if (seconds, nanos) == (0, 0) {
        return Ok(Value::Null);
    }
    let at = Timestamp::new(seconds, i32::try_from(nanos).map_err(|_| Bad)?).map_err(|_| Bad)?;
    Ok(at.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_api::schema;
    use serde_json::json;

    /// A field of bytes.
    fn b(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    }

    /// A field with a small number.
    fn n(number: u8, value: u8) -> Vec<u8> {
        vec![number << 3, value]
    }

    fn body(api_version: &str, kind: &str, object: &[Vec<u8>]) -> Vec<u8> {
        let meta = [b(1, api_version.as_bytes()), b(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), b(1, &meta), b(2, &object.concat())].concat()
    }

    #[track_caller]
    fn check(group: &str, kind: &str, object: &[Vec<u8>], want: Value) {
        let definition = schema::of_kind(group, "v1", kind).unwrap();
        let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
        let got = to_json(&body(&api_version, kind, object), definition).unwrap();
        let mut want = want;
        want["apiVersion"] = api_version.into();
        want["kind"] = kind.into();
        assert_eq!(serde_json::from_slice::<Value>(&got).unwrap(), want);
    }

    #[test]
    fn maps_and_empty_fields() {
        let meta = [b(1, b"a"), b(2, b""), b(8, b"")].concat();
        let entry = [b(1, b"x"), b(2, b"y")].concat();
        let object = [b(1, &meta), b(2, &entry), b(2, &[b(1, b"e"), b(2, b"")].concat())];
        check("", "ConfigMap", &object, json!({ "metadata": { "name": "a" }, "data": { "x": "y", "e": "" } }));
    }

    #[test]
    fn nullable_zeros_stay_and_inlined_messages_spread() {
        let volume = [b(1, b"v"), b(2, &b(2, b""))].concat();
        let spec = [b(1, &volume), n(4, 0), b(3, b""), n(11, 0)].concat();
        let want = json!({ "spec": {
            "volumes": [{ "name": "v", "emptyDir": {} }], "terminationGracePeriodSeconds": 0,
        } });
        check("", "Pod", &[b(2, &spec)], want);
    }

    #[test]
    fn lying_lengths_and_truncation_are_errors() {
        let definition = schema::of_kind("", "v1", "ConfigMap").unwrap();
        let whole = body("v1", "ConfigMap", &[b(1, &b(1, b"name"))]);
        assert_eq!(to_json(b"json", definition).unwrap_err().code, 400);
        assert_eq!(to_json(&whole[..whole.len() - 1], definition).unwrap_err().code, 400);
        let lying = [MAGIC, &[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]].concat();
        assert_eq!(to_json(&lying, definition).unwrap_err().code, 400);
        let endless = [MAGIC, &[0xff; 11]].concat();
        assert_eq!(to_json(&endless, definition).unwrap_err().code, 400);
    }

    #[test]
    fn every_served_kind_has_its_numbers() {
        for kind in sampan_api::kinds::ALL {
            assert!(row(kind.schema).is_some(), "{}", kind.schema);
        }
    }
}
