//! Structural schemas: what a CustomResourceDefinition says about the fields of its objects.
//!
//! A [`Schema`] is read once, when its definition is accepted; then objects are pruned ([`prune`]), given their defaults
//! ([`default`]) and validated ([`validate`]) against it, with upstream's paths and texts. Whether a definition's schema
//! is structural at all is judged by the rules of the kind CustomResourceDefinition. CEL rules are kept as they were
//! written ([`Schema::rules`]); `custom::rules` compiles and evaluates them.

mod defaults;
mod extent;
mod formats;
mod lists;
mod pruning;
mod validation;

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

pub use defaults::default;
pub(crate) use extent::Extent;
pub use pruning::prune;
pub(crate) use pruning::prune_part;
pub(crate) use validation::before;
pub use validation::validate;

/// Schemas nested deeper than this are refused by the rules for definitions, and cut off here.
pub const MAX_DEPTH: usize = 60;

/// The JSON type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `{}`
    Object,
    /// `[]`
    Array,
    /// `"a"`
    String,
    /// `1`
    Integer,
    /// `1.5`
    Number,
    /// `true`
    Boolean,
}

/// How a list's items are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// They are not.
    #[default]
    Atomic,
    /// By what they are.
    Set,
    /// By these of their fields.
    Map(Vec<String>),
}

/// A schema, or a part of one.
#[derive(Debug, Default)]
pub struct Schema {
    /// The type that values must have.
    pub ty: Option<Type>,
    /// Whether null is a value, too.
    pub nullable: bool,
    /// `x-kubernetes-int-or-string`
    pub int_or_string: bool,
    /// `x-kubernetes-preserve-unknown-fields`
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`
    pub embedded: bool,
    /// Known fields.
    pub properties: BTreeMap<String, Schema>,
    /// The values of a map with free keys.
    pub additional: Option<Box<Schema>>,
    /// Whether free keys are allowed without a schema (`additionalProperties: true`).
    pub any_additional: bool,
    /// The items of a list.
    pub items: Option<Box<Schema>>,
    /// What a missing value is.
    pub default: Option<Value>,
    /// `x-kubernetes-list-type` with its keys.
    pub list: ListType,
    /// `x-kubernetes-map-type: atomic`
    pub atomic_map: bool,
    /// `x-kubernetes-validations`, as written.
    pub rules: Vec<Value>,
    /// What values must fulfil besides.
    limits: Limits,
}

/// Value validations.
#[derive(Debug, Default)]
struct Limits {
    format: String,
    maximum: Option<f64>,
    exclusive_maximum: bool,
    minimum: Option<f64>,
    exclusive_minimum: bool,
    multiple_of: Option<f64>,
    max_length: Option<u64>,
    min_length: Option<u64>,
    pattern: Option<Pattern>,
    max_items: Option<u64>,
    min_items: Option<u64>,
    unique_items: bool,
    max_properties: Option<u64>,
    min_properties: Option<u64>,
    required: Vec<String>,
    choices: Vec<Value>,
    all_of: Vec<Schema>,
    any_of: Vec<Schema>,
    one_of: Vec<Schema>,
    not: Option<Box<Schema>>,
}

#[derive(Debug)]
struct Pattern {
    text: String,
    /// `None` for what is no regular expression, which the rules for definitions refuse: then nothing matches.
    regex: Option<Regex>,
}

impl Schema {
    /// Reads a schema from its `JSONSchemaProps`.
    pub fn read(props: &Value) -> Self {
        Self::read_at(props, 0)
    }

    fn read_at(props: &Value, depth: usize) -> Self {
        if depth > MAX_DEPTH {
            return Self { preserve_unknown: true, ..Self::default() };
        }
        let flag = |name: &str| props[name] == true;
        let below = |value: &Value| Self::read_at(value, depth + 1);
        let one = |name: &str| props.get(name).filter(|value| value.is_object()).map(|value| Box::new(below(value)));
        let properties = props["properties"].as_object().into_iter().flatten();
        Self {
            ty: type_of(props["type"].as_str().unwrap_or_default()),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            properties: properties.map(|(name, value)| (name.clone(), below(value))).collect(),
            additional: one("additionalProperties"),
            any_additional: flag("additionalProperties"),
            items: one("items"),
            default: props.get("default").filter(|value| !value.is_null()).cloned(),
            list: list_type(props),
            atomic_map: props["x-kubernetes-map-type"] == "atomic",
            rules: props["x-kubernetes-validations"].as_array().cloned().unwrap_or_default(),
            limits: Limits::read(props, below),
        }
    }

    /// The schema of the field or map entry `name`.
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(self.additional.as_deref())
    }

    /// `format`, or nothing.
    pub fn format(&self) -> &str {
        &self.limits.format
    }

    /// Whether the schema or any part of it carries CEL rules.
    pub fn has_rules(&self) -> bool {
        let parts = self.properties.values().chain(self.additional.as_deref()).chain(self.items.as_deref());
        !self.rules.is_empty() || parts.into_iter().any(Self::has_rules)
    }
}

impl Limits {
    fn read(props: &Value, below: impl Fn(&Value) -> Schema) -> Self {
        let many = |name: &str| props[name].as_array().into_iter().flatten().map(&below).collect();
        let count = |name: &str| props[name].as_u64();
        let text = |name: &str| props[name].as_str().filter(|text| !text.is_empty());
        let required = props["required"].as_array().into_iter().flatten();
        Self {
            format: text("format").unwrap_or_default().to_owned(),
            maximum: props["maximum"].as_f64(),
            exclusive_maximum: props["exclusiveMaximum"] == true,
            minimum: props["minimum"].as_f64(),
            exclusive_minimum: props["exclusiveMinimum"] == true,
            multiple_of: props["multipleOf"].as_f64(),
            max_length: count("maxLength"),
            min_length: count("minLength"),
            pattern: text("pattern").map(|text| Pattern { text: text.to_owned(), regex: Regex::new(text).ok() }),
            max_items: count("maxItems"),
            min_items: count("minItems"),
            unique_items: props["uniqueItems"] == true,
            max_properties: count("maxProperties"),
            min_properties: count("minProperties"),
            required: required.filter_map(Value::as_str).map(str::to_owned).collect(),
            choices: props["enum"].as_array().cloned().unwrap_or_default(),
            all_of: many("allOf"),
            any_of: many("anyOf"),
            one_of: many("oneOf"),
            not: props.get("not").filter(|not| not.is_object()).map(|not| Box::new(below(not))),
        }
    }
}

fn type_of(name: &str) -> Option<Type> {
    Some(match name {
        "object" => Type::Object,
        "array" => Type::Array,
        "string" => Type::String,
        "integer" => Type::Integer,
        "number" => Type::Number,
        "boolean" => Type::Boolean,
        _ => return None,
    })
}

impl Type {
    /// The name of the type in schemas.
    pub fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
            Self::String => value.is_string(),
            Self::Integer => is_integer(value),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
        }
    }
}

/// Whether a value is a whole number, however it is written.
fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn list_type(props: &Value) -> ListType {
    match props["x-kubernetes-list-type"].as_str() {
        Some("set") => ListType::Set,
        Some("map") => {
            let keys = props["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
            ListType::Map(keys.filter_map(Value::as_str).map(str::to_owned).collect())
        }
        _ => ListType::Atomic,
    }
}

/// The fields of an object by which a keyed list tells its items apart; left-out ones have their defaults.
pub(crate) fn key_of(item: &Value, keys: &[String], schema: Option<&Schema>) -> Map<String, Value> {
    let default = |key: &str| schema.and_then(|schema| schema.properties.get(key)?.default.clone());
    let found = keys.iter().filter_map(|key| Some((key.clone(), item.get(key).cloned().or_else(|| default(key))?)));
    found.collect()
}

#[cfg(test)]
mod tests;
