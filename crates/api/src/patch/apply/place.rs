//! What the schema says about one place in an object: is it owned as a whole, or what are its parts?

use serde_json::{Map, Value};

use super::set;
use crate::schema::{Definition, List, Merge, Shape, Type};

/// A place in an object.
#[derive(Clone, Copy)]
pub(super) struct Place {
    ty: Option<Type>,
    merge: Option<Merge>,
    /// Whether upstream's types demand something there.
    required: bool,
}

/// How a place is owned.
#[derive(Clone, Copy)]
pub(super) enum Grain {
    /// As a whole.
    Whole,
    /// By its fields.
    Struct(&'static Definition),
    /// By its keys.
    Map,
    /// By its items, which these fields tell apart.
    KeyedList(&'static [&'static str]),
    /// By its items, which are scalars.
    Set,
}

impl Place {
    /// The place of a whole object.
    pub(super) fn root(definition: &'static Definition) -> Self {
        Self { ty: Some(Type::Ref(definition)), merge: None, required: true }
    }

    /// What the schema knows nothing of: objects by their keys, all else as a whole.
    const UNKNOWN: Self = Self { ty: None, merge: None, required: false };

    /// How the place is owned, given what may be there.
    pub(super) fn grain(&self, values: [Option<&Value>; 2]) -> Grain {
        let map = self.merge.map_or("", |merge| merge.map);
        match self.ty {
            _ if map == "atomic" => Grain::Whole,
            None => self.untyped(values),
            Some(Type::Scalar(_)) => Grain::Whole,
            Some(Type::Map(_)) => Grain::Map,
            Some(Type::Ref(definition)) => match definition.shape {
                Shape::Struct if definition.atomic && map != "granular" => Grain::Whole,
                Shape::Struct => Grain::Struct(definition),
                Shape::Json => self.untyped(values),
                _ => Grain::Whole,
            },
            Some(Type::List(_)) => match self.merge.and_then(|merge| merge.list) {
                Some(List::Map(keys)) => Grain::KeyedList(keys),
                Some(List::Set) => Grain::Set,
                Some(List::Atomic) | None => Grain::Whole,
            },
        }
    }

    fn untyped(&self, values: [Option<&Value>; 2]) -> Grain {
        let objects = values.into_iter().flatten().all(Value::is_object);
        if objects { Grain::Map } else { Grain::Whole }
    }

    /// The place of a field or map key.
    pub(super) fn field(&self, name: &str) -> Self {
        match self.ty {
            Some(Type::Ref(definition)) => definition.field(name).map_or(Self::UNKNOWN, |field| Self {
                ty: Some(field.ty),
                merge: Some(field.merge),
                required: field.required,
            }),
            Some(Type::Map(item)) => Self { ty: Some(*item), ..Self::UNKNOWN },
            _ => Self::UNKNOWN,
        }
    }

    /// The place of a list's items.
    pub(super) fn item(&self) -> Self {
        match self.ty {
            Some(Type::List(item)) => Self { ty: Some(*item), ..Self::UNKNOWN },
            _ => Self::UNKNOWN,
        }
    }

    /// Whether nobody owns the place itself, only what is in it: upstream's objects always have it.
    pub(super) fn is_implied(&self, grain: Grain, is_item: bool) -> bool {
        !is_item && (self.required || matches!(grain, Grain::Struct(_)))
    }

    /// The place at the end of a path below this one.
    pub(super) fn at(self, path: &[String]) -> Self {
        path.iter().fold(self, |place, element| match element.strip_prefix("f:") {
            Some(name) => place.field(name),
            None => place.item(),
        })
    }

    /// The type, if the schema knows it.
    pub(super) fn ty(&self) -> Option<Type> {
        self.ty
    }

    /// The path element of an item of a keyed list or set at this place; an `Err` says why it has none.
    pub(super) fn element(&self, grain: Grain, item: &Value) -> Result<String, String> {
        let Grain::KeyedList(keys) = grain else {
            return match item {
                Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
                scalar => Ok(set::value(scalar)),
            };
        };
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
        match self.item().ty {
            Some(Type::Ref(definition)) => definition.field(key)?.default(),
            _ => None,
        }
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
