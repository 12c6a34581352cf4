//! Types as JSON schemas.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Dialect, custom, gvk};
use crate::kind::{KindRef, Verbs};
use crate::schema::{self, Definition, Descriptions, Field, List, Scalar, Shape, Type};

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
/// Types that every group has for its own, too.
const SHARED: [&str; 2] =
    ["io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent"];

/// Writes schemas in the words of one version.
pub(super) struct Schemas {
    dialect: Dialect,
    texts: Descriptions,
}

impl Schemas {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, texts: Descriptions::unpack() }
    }

    /// Where a type is found.
    pub(super) fn reference(&self, name: &str) -> Value {
        match self.dialect {
            Dialect::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Dialect::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }

    /// The schemas of these types, of the kinds with their lists, and of all they refer to, by name.
    pub(super) fn all(&self, types: impl Iterator<Item = &'static str>, kinds: &[KindRef]) -> Map<String, Value> {
        let mut names = BTreeSet::new();
        let built_in = types.chain(kinds.iter().map(|kind| kind.schema)).chain([LIST_META]);
        built_in.filter_map(schema::definition).for_each(|definition| reach(definition, &mut names));
        let mut schemas: Map<String, Value> = names
            .into_iter()
            .filter_map(schema::definition)
            .map(|definition| (definition.name.to_owned(), self.definition(definition)))
            .collect();
        share(&mut schemas, kinds);
        for kind in kinds {
            if let Some(custom) = kind.custom() {
                schemas.insert(kind.schema.to_owned(), custom::object(custom, self, self.dialect));
            }
            if kind.verbs != Verbs::CreateOnly {
                schemas.insert(list_name(kind.schema), self.list(kind));
            }
        }
        schemas
    }

    fn definition(&self, definition: &'static Definition) -> Value {
        let mut schema = Map::new();
        put_text(&mut schema, self.texts.of(definition));
        match (definition.shape, self.dialect) {
            (Shape::Struct, _) => self.put_fields(&mut schema, definition),
            (Shape::Json, _) if definition.short_name() == "JSON" => {}
            (Shape::Json, _) => put(&mut schema, "type", "object"),
            (Shape::Time | Shape::MicroTime, _) => {
                put(&mut schema, "type", "string");
                put(&mut schema, "format", "date-time");
            }
            (Shape::Quantity, Dialect::V2) => put(&mut schema, "type", "string"),
            (Shape::Quantity, Dialect::V3) => {
                put(&mut schema, "oneOf", json!([{"type": "string"}, {"type": "number"}]))
            }
            (Shape::IntOrString, dialect) => {
                put(&mut schema, "format", "int-or-string");
                match dialect {
                    Dialect::V2 => put(&mut schema, "type", "string"),
                    Dialect::V3 => put(&mut schema, "oneOf", json!([{"type": "integer"}, {"type": "string"}])),
                }
            }
        }
        if definition.atomic {
            put(&mut schema, "x-kubernetes-map-type", "atomic");
        }
        if let Ok(unions) = serde_json::from_str::<Value>(definition.unions) {
            put(&mut schema, "x-kubernetes-unions", unions);
        }
        if let Some(own) = definition.gvk {
            put(&mut schema, "x-kubernetes-group-version-kind", json!([gvk((own.group, own.version, own.kind))]));
        }
        Value::Object(schema)
    }

    fn put_fields(&self, schema: &mut Map<String, Value>, definition: &'static Definition) {
        put(schema, "type", "object");
        let fields = definition.fields.iter().enumerate();
        let properties: Map<String, Value> = fields
            .map(|(index, field)| {
                let text = self.texts.of_field(definition, index);
                (field.name.to_owned(), self.field(field, text))
            })
            .collect();
        if !properties.is_empty() {
            put(schema, "properties", Value::Object(properties));
        }
        let required: Vec<&str> =
            definition.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
        if !required.is_empty() {
            put(schema, "required", required);
        }
    }

    fn field(&self, field: &Field, text: &str) -> Value {
        // Upstream's version 2 says no defaults.
        let default = field.default().filter(|_| self.dialect == Dialect::V3);
        let has_siblings = !text.is_empty() || default.is_some();
        let mut schema = self.ty(&field.ty, self.dialect == Dialect::V3 && has_siblings);
        put_text(&mut schema, text);
        default.into_iter().for_each(|default| put(&mut schema, "default", default));
        Self::put_choices(&mut schema, field, text);
        match field.merge.list {
            Some(List::Atomic) => put(&mut schema, "x-kubernetes-list-type", "atomic"),
            Some(List::Set) => put(&mut schema, "x-kubernetes-list-type", "set"),
            Some(List::Map(keys)) => {
                put(&mut schema, "x-kubernetes-list-type", "map");
                put(&mut schema, "x-kubernetes-list-map-keys", keys.to_vec());
            }
            None => {}
        }
        for (name, value) in [
            ("x-kubernetes-patch-strategy", field.merge.strategy),
            ("x-kubernetes-patch-merge-key", field.merge.merge_key),
            ("x-kubernetes-map-type", field.merge.map),
        ] {
            if !value.is_empty() {
                put(&mut schema, name, value);
            }
        }
        Value::Object(schema)
    }

    /// Which values a field, each of its items or each value of its map may have: as `enum`, and in words where they
    /// are the field's own.
    fn put_choices(schema: &mut Map<String, Value>, field: &Field, text: &str) {
        if field.choices.is_empty() {
            return;
        }
        let place = match field.ty {
            Type::List(_) => schema.get_mut("items").and_then(Value::as_object_mut),
            Type::Map(_) => schema.get_mut("additionalProperties").and_then(Value::as_object_mut),
            Type::Scalar(_) | Type::Ref(_) => {
                put(schema, "description", with_choices(text, field.choices));
                Some(schema)
            }
        };
        place.into_iter().for_each(|place| put(place, "enum", field.choices));
    }

    /// A type; `wrapped` puts a reference where it may have siblings, which version 3 forbids beside `$ref`.
    fn ty(&self, ty: &Type, wrapped: bool) -> Map<String, Value> {
        let value = match ty {
            Type::Scalar(scalar) => scalar_schema(*scalar),
            Type::List(item) => json!({"type": "array", "items": self.ty(item, false)}),
            Type::Map(item) => json!({"type": "object", "additionalProperties": self.ty(item, false)}),
            Type::Ref(definition) if wrapped => json!({"allOf": [self.reference(definition.name)]}),
            Type::Ref(definition) => self.reference(definition.name),
        };
        match value {
            Value::Object(schema) => schema,
            _ => Map::new(),
        }
    }

    /// The list of a kind, which every kind has and no type of ours describes.
    fn list(&self, kind: &KindRef) -> Value {
        let text = |text: &str| json!({"type": "string", "description": text});
        let usual = format!("{}List", kind.kind);
        let list_kind = kind.custom().map_or(usual.as_str(), |custom| custom.list_kind.as_str());
        let own = gvk((kind.group, kind.version, list_kind));
        let metadata = match self.dialect {
            Dialect::V2 => self.reference(LIST_META),
            Dialect::V3 => json!({"allOf": [self.reference(LIST_META)], "default": {}}),
        };
        json!({
            "description": format!("{list_kind} is a list of {} objects.", kind.kind),
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": text("Group and version of this representation of an object."),
                "items": {"type": "array", "description": "The objects.", "items": self.reference(kind.schema)},
                "kind": text("The kind of object this is."),
                "metadata": metadata,
            },
            "x-kubernetes-group-version-kind": [own],
        })
    }
}

/// Says of what every group has for its own of which groups it is.
fn share(schemas: &mut Map<String, Value>, kinds: &[KindRef]) {
    let built_in = kinds.iter().filter(|kind| kind.custom().is_none()).map(|kind| (kind.group, kind.version));
    let groups: BTreeSet<_> = built_in.chain([("", "v1")]).collect();
    for name in SHARED {
        if let Some(Value::Object(schema)) = schemas.get_mut(name) {
            let kind = name.rsplit('.').next().unwrap_or_default();
            let all: Vec<Value> = groups.iter().map(|(group, version)| gvk((group, version, kind))).collect();
            put(schema, "x-kubernetes-group-version-kind", all);
        }
    }
}

/// The name of a kind's list.
pub(super) fn list_name(item: &str) -> String {
    format!("{item}List")
}

/// Adds the names of a type and of all it refers to.
fn reach(definition: &'static Definition, names: &mut BTreeSet<&'static str>) {
    if names.insert(definition.name) {
        definition.fields.iter().filter_map(|field| referred(&field.ty)).for_each(|inner| reach(inner, names));
    }
}

fn referred(ty: &Type) -> Option<&'static Definition> {
    match ty {
        Type::Scalar(_) => None,
        Type::Ref(definition) => Some(definition),
        Type::List(item) | Type::Map(item) => referred(item),
    }
}

fn scalar_schema(scalar: Scalar) -> Value {
    match scalar {
        Scalar::String => json!({"type": "string"}),
        Scalar::Bytes => json!({"type": "string", "format": "byte"}),
        Scalar::Boolean => json!({"type": "boolean"}),
        Scalar::Int32 => json!({"type": "integer", "format": "int32"}),
        Scalar::Int64 => json!({"type": "integer", "format": "int64"}),
        Scalar::Double => json!({"type": "number", "format": "double"}),
    }
}

fn put(schema: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    schema.insert(name.to_owned(), value.into());
}

/// The text of a field with the list of its values, as upstream's generator writes it.
fn with_choices(text: &str, choices: &[&str]) -> String {
    let values = choices.iter().map(|choice| format!("\n - `{}`", Value::from(*choice)));
    let gap = if text.is_empty() { "" } else { "\n\n" };
    format!("{text}{gap}Possible enum values:{}", values.collect::<String>())
}

fn put_text(schema: &mut Map<String, Value>, text: &str) {
    if !text.is_empty() {
        put(schema, "description", text);
    }
}
