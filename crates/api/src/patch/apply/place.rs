//! What the schema says about one place in an object: is it owned as a whole, or what are its parts?

use serde_json::{Map, Value};

use super::set;
use crate::custom::object_meta;
use crate::model::Model;
use crate::schema::{List, Merge, Scalar, Shape, Type};
use crate::structural::{ListType, Schema, Type as JsonType};

/// A place in an object.
#[derive(Clone, Copy)]
pub(super) struct Place<'s> {
    form: Form<'s>,
    merge: Option<Merge>,
    /// Whether upstream's types demand something there.
    required: bool,
    /// Whether a struct can be absent there.
    pointer: bool,
}

/// What is known of a place.
#[derive(Clone, Copy)]
enum Form<'s> {
    /// Nothing: objects are owned by their keys, all else as a whole.
    Unknown,
    BuiltIn(Type),
    /// An object of a custom kind.
    Object(&'s Schema),
    /// A part of one.
    Custom(&'s Schema),
}

/// How a place is owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grain {
    /// As a whole.
    Whole,
    /// By its fields.
    Struct,
    /// By its keys.
    Map,
    /// By its items, which their keys tell apart.
    KeyedList,
    /// By its items, which are scalars.
    Set,
}

/// What a place can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Anything,
    Scalar(Scalar),
    AnyScalar,
    List,
    Fields,
}

impl<'s> Place<'s> {
    /// The place of a whole object.
    pub(super) fn root(model: Model<'s>) -> Self {
        let form = match model {
            Model::BuiltIn(definition) => Form::BuiltIn(Type::Ref(definition)),
            Model::Custom(custom) => Form::Object(&custom.schema),
        };
        Self { form, merge: None, required: true, pointer: false }
    }

    fn of(form: Form<'s>) -> Self {
        Self { form, merge: None, required: false, pointer: false }
    }

    /// How the place is owned, given what may be there.
    pub(super) fn grain(&self, values: [Option<&Value>; 2]) -> Grain {
        let map = self.merge.map_or("", |merge| merge.map);
        match self.form {
            _ if map == "atomic" => Grain::Whole,
            Form::Unknown => untyped(values),
            Form::Object(_) => Grain::Struct,
            Form::Custom(schema) => custom_grain(schema, values),
            Form::BuiltIn(Type::Scalar(_)) => Grain::Whole,
            Form::BuiltIn(Type::Map(_)) => Grain::Map,
            Form::BuiltIn(Type::Ref(definition)) => match definition.shape {
                Shape::Struct if definition.atomic && map != "granular" => Grain::Whole,
                Shape::Struct => Grain::Struct,
                Shape::Json => untyped(values),
                _ => Grain::Whole,
            },
            Form::BuiltIn(Type::List(_)) => match self.merge.and_then(|merge| merge.list) {
                Some(List::Map(_)) => Grain::KeyedList,
                Some(List::Set) => Grain::Set,
                Some(List::Atomic) | None => Grain::Whole,
            },
        }
    }

    /// What the place can hold.
    pub(super) fn holds(&self) -> Holds {
        match self.form {
            Form::Unknown => Holds::Anything,
            Form::Object(_) => Holds::Fields,
            Form::Custom(schema) => custom_holds(schema),
            Form::BuiltIn(Type::Scalar(scalar)) => Holds::Scalar(scalar),
            Form::BuiltIn(Type::List(_)) => Holds::List,
            Form::BuiltIn(Type::Map(_)) => Holds::Fields,
            Form::BuiltIn(Type::Ref(definition)) => match definition.shape {
                Shape::Struct => Holds::Fields,
                Shape::Json => Holds::Anything,
                _ => Holds::AnyScalar,
            },
        }
    }

    /// The place of a field or map key.
    pub(super) fn field(&self, name: &str) -> Self {
        match self.form {
            Form::BuiltIn(Type::Ref(definition)) => {
                definition.field(name).map_or(Self::of(Form::Unknown), |field| Self {
                    form: Form::BuiltIn(field.ty),
                    merge: Some(field.merge),
                    required: field.required,
                    pointer: field.pointer,
                })
            }
            Form::BuiltIn(Type::Map(item)) => Self::of(Form::BuiltIn(*item)),
            Form::Object(schema) => own_field(name).unwrap_or_else(|| part(schema.field(name))),
            Form::Custom(schema) if schema.embedded && !schema.properties.contains_key(name) => {
                own_field(name).unwrap_or_else(|| part(schema.field(name)))
            }
            Form::Custom(schema) => part(schema.field(name)),
            _ => Self::of(Form::Unknown),
        }
    }

    /// Whether the schema declares this very field, and not just any.
    pub(super) fn declares(&self, name: &str) -> bool {
        match self.form {
            Form::BuiltIn(Type::Ref(definition)) => definition.field(name).is_some(),
            Form::Object(schema) => own_field(name).is_some() || schema.properties.contains_key(name),
            Form::Custom(schema) => schema.properties.contains_key(name),
            _ => false,
        }
    }

    /// Whether the place may hold a field of this name.
    pub(super) fn allows(&self, name: &str) -> bool {
        let keeps_unknown = match self.form {
            Form::Object(schema) | Form::Custom(schema) => schema.preserve_unknown || schema.any_additional,
            _ => false,
        };
        keeps_unknown || !matches!(self.field(name).form, Form::Unknown)
    }

    /// The place of a list's items.
    pub(super) fn item(&self) -> Self {
        match self.form {
            Form::BuiltIn(Type::List(item)) => Self::of(Form::BuiltIn(*item)),
            Form::Custom(schema) => part(schema.items.as_deref()),
            _ => Self::of(Form::Unknown),
        }
    }

    /// Whether the place of a field is there whenever its object is, written or not.
    pub(super) fn is_implied(&self, grain: Grain) -> bool {
        let is_custom = matches!(self.form, Form::Custom(_));
        self.required || (grain == Grain::Struct && !is_custom && !self.pointer)
    }

    /// The place at the end of a path below this one.
    pub(super) fn at(self, path: &[String]) -> Self {
        path.iter().fold(self, |place, element| match element.strip_prefix("f:") {
            Some(name) => place.field(name),
            None => place.item(),
        })
    }

    /// The fields that tell items of this list apart.
    fn keys(&self) -> Vec<&'s str> {
        match self.form {
            Form::Custom(Schema { list: ListType::Map(keys), .. }) => keys.iter().map(String::as_str).collect(),
            _ => match self.merge.and_then(|merge| merge.list) {
                Some(List::Map(keys)) => keys.to_vec(),
                _ => Vec::new(),
            },
        }
    }

    /// The path element of an item of a keyed list or set at this place; an `Err` says why it has none.
    pub(super) fn element(&self, grain: Grain, item: &Value) -> Result<String, String> {
        if grain != Grain::KeyedList {
            return match item {
                Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
                scalar => Ok(set::value(scalar)),
            };
        }
        let keys = self.keys();
        let fields = match item {
            Value::Object(fields) => fields,
            Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
            _ => return Err("associative list with keys may not have non-map elements".to_owned()),
        };
        let found: Map<String, Value> = keys
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), fields.get(*key).cloned().or_else(|| self.default_key(key))?)))
            .collect();
        if found.is_empty() {
            let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                keys.join(" ")
            ));
        }
        Ok(set::key(found))
    }

    /// The value of a key that an item leaves out.
    fn default_key(&self, key: &str) -> Option<Value> {
        match self.item().form {
            Form::BuiltIn(Type::Ref(definition)) => definition.field(key)?.default(),
            Form::Custom(schema) => schema.properties.get(key)?.default.clone(),
            _ => None,
        }
    }
}

fn untyped(values: [Option<&Value>; 2]) -> Grain {
    let objects = values.into_iter().flatten().all(Value::is_object);
    if objects { Grain::Map } else { Grain::Whole }
}

/// A field that every object has.
fn own_field<'s>(name: &str) -> Option<Place<'s>> {
    match name {
        "metadata" => object_meta().map(|meta| Place { required: true, ..Place::of(Form::BuiltIn(Type::Ref(meta))) }),
        "apiVersion" | "kind" => Some(Place::of(Form::BuiltIn(Type::Scalar(Scalar::String)))),
        _ => None,
    }
}

fn part(schema: Option<&Schema>) -> Place<'_> {
    Place::of(schema.map_or(Form::Unknown, Form::Custom))
}

fn custom_grain(schema: &Schema, values: [Option<&Value>; 2]) -> Grain {
    match schema.ty {
        _ if schema.int_or_string || schema.atomic_map => Grain::Whole,
        Some(JsonType::Object) if !schema.properties.is_empty() => Grain::Struct,
        Some(JsonType::Object) => Grain::Map,
        Some(JsonType::Array) => match schema.list {
            ListType::Map(_) => Grain::KeyedList,
            ListType::Set => Grain::Set,
            ListType::Atomic => Grain::Whole,
        },
        None if schema.preserve_unknown => untyped(values),
        _ => Grain::Whole,
    }
}

fn custom_holds(schema: &Schema) -> Holds {
    match schema.ty {
        _ if schema.int_or_string => Holds::AnyScalar,
        None => Holds::Anything,
        Some(JsonType::Object) => Holds::Fields,
        Some(JsonType::Array) => Holds::List,
        Some(JsonType::String) => Holds::Scalar(Scalar::String),
        Some(JsonType::Boolean) => Holds::Scalar(Scalar::Boolean),
        Some(JsonType::Integer) => Holds::Scalar(Scalar::Int64),
        Some(JsonType::Number) => Holds::Scalar(Scalar::Double),
    }
}

/// The items of a list that may be null or missing.
pub(super) fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The entries of an object that may be null or missing.
pub(super) fn entries(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

/// Whether nothing is in there: missing, null, `{}` or `[]`.
pub(super) fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(_) => false,
    }
}
