//! The CEL types of structural schemas. What a schema does not describe, its rules do not see.

use std::collections::BTreeMap;
use std::sync::Arc;

use sampan_cel::{Field, ListSemantics, Type, escape};

use crate::structural::{self, ListType, Schema};

/// The name of the type of `self`; those of its parts are made from it. No expression can spell them.
const SELF: &str = "selfType";

/// The type of the values of a schema; `None` if rules cannot see them. `is_object` says that they are whole objects:
/// those have a kind, a version and a name, declared or not.
pub(crate) fn of(schema: &Schema, is_object: bool) -> Option<Type> {
    named(schema, is_object, SELF)
}

fn named(schema: &Schema, is_object: bool, name: &str) -> Option<Type> {
    if schema.int_or_string {
        return Some(Type::Dyn);
    }
    Some(match schema.ty? {
        structural::Type::Boolean => Type::Bool,
        structural::Type::Integer => Type::Int,
        structural::Type::Number => Type::Double,
        structural::Type::String => text(schema.format()),
        structural::Type::Array => {
            let item = schema.items.as_deref()?;
            Type::list_with(named(item, item.embedded, &format!("{name}.@idx"))?, semantics(&schema.list))
        }
        structural::Type::Object => match schema.additional.as_deref() {
            Some(value) => Type::map(Type::String, named(value, value.embedded, &format!("{name}.@elem"))?),
            None => Type::object(Arc::new(Fields::of(schema, is_object, name))),
        },
    })
}

fn text(format: &str) -> Type {
    match format {
        "byte" => Type::Bytes,
        "duration" => Type::Duration,
        "date" | "date-time" => Type::Timestamp,
        _ => Type::String,
    }
}

fn semantics(list: &ListType) -> ListSemantics {
    match list {
        ListType::Atomic => ListSemantics::Atomic,
        ListType::Set => ListSemantics::Set,
        ListType::Map(keys) => ListSemantics::Map(keys.iter().cloned().collect()),
    }
}

/// The fields of an object, by the names that expressions have for them.
struct Fields {
    name: String,
    fields: BTreeMap<String, Field>,
}

impl Fields {
    fn of(schema: &Schema, is_object: bool, name: &str) -> Self {
        let mut fields = Self { name: name.to_owned(), fields: BTreeMap::new() };
        for (field, property) in &schema.properties {
            if let Some(ty) = named(property, property.embedded, &format!("{name}.{field}")) {
                fields.add(field, ty);
            }
        }
        if is_object {
            let mut metadata = Self { name: format!("{name}.metadata"), fields: BTreeMap::new() };
            metadata.add("name", Type::String);
            metadata.add("generateName", Type::String);
            fields.add("kind", Type::String);
            fields.add("apiVersion", Type::String);
            fields.add("metadata", Type::object(Arc::new(metadata)));
        }
        fields
    }

    fn add(&mut self, name: &str, ty: Type) {
        if let Some(escaped) = escape(name) {
            self.fields.insert(escaped, Field { ty, json_name: name.to_owned() });
        }
    }
}

impl sampan_cel::Schema for Fields {
    fn name(&self) -> &str {
        &self.name
    }

    fn field(&self, name: &str) -> Option<Field> {
        self.fields.get(name).cloned()
    }
}
