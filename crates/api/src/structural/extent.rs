//! How large the values of a schema can be, and how small: by what it says of lengths, else by what fits into a request.
//!
//! The cost of CEL rules is estimated from this (`custom::rules`), so the figures are upstream's: see Kubernetes'
//! `pkg/cel/common/schemas.go`.

use std::collections::BTreeMap;

use super::{Schema, Type};

/// The largest request.
const REQUEST_BYTES: u64 = 3 << 20;
/// `""`, `[]`, `{}`
const EMPTY_BYTES: u64 = 2;
/// The longest moment or duration in JSON.
const TIME_BYTES: u64 = 32;
/// A day in JSON.
const DATE_BYTES: u64 = 12;
/// The longest name of an object.
const NAME_LENGTH: u64 = 253;
/// The most bytes that one character takes.
const CHARACTER_BYTES: u64 = 4;

/// The extent of values.
#[derive(Debug)]
pub(crate) struct Extent {
    /// The most characters, bytes, items or entries; 0 for what has none.
    pub(crate) most: u64,
    /// The fewest bytes in JSON.
    least_bytes: u64,
    parts: Parts,
}

#[derive(Debug)]
enum Parts {
    None,
    Fields(BTreeMap<String, Extent>),
    Items(Box<Extent>),
    Values(Box<Extent>),
}

impl Extent {
    /// The extent of the values of a schema; `None` if it does not describe them. `is_object` says that they are whole
    /// objects: those have a kind, a version and a name, declared or not.
    pub(crate) fn of(schema: &Schema, is_object: bool) -> Option<Self> {
        if schema.int_or_string {
            let most = schema.limits.max_length.map_or(REQUEST_BYTES - EMPTY_BYTES, in_bytes);
            return Some(Self::plain(most, 1));
        }
        Some(match schema.ty? {
            Type::Boolean => Self::plain(0, 4),
            Type::Integer | Type::Number => Self::plain(0, 1),
            Type::String => Self::of_text(schema),
            Type::Array => {
                let items = schema.items.as_deref()?;
                let items = Self::of(items, items.embedded)?;
                let fitting = (REQUEST_BYTES - EMPTY_BYTES) / (items.least_bytes + 1);
                let most = schema.limits.max_items.unwrap_or(fitting);
                Self { most, least_bytes: EMPTY_BYTES, parts: Parts::Items(Box::new(items)) }
            }
            Type::Object => match schema.additional.as_deref() {
                Some(values) => {
                    let values = Self::of(values, values.embedded)?;
                    // A key of two characters, its quotes, a colon and a comma.
                    let fitting = (REQUEST_BYTES - EMPTY_BYTES) / (values.least_bytes + 6);
                    let most = schema.limits.max_properties.unwrap_or(fitting);
                    Self { most, least_bytes: EMPTY_BYTES, parts: Parts::Values(Box::new(values)) }
                }
                None => Self::of_fields(schema, is_object),
            },
        })
    }

    fn plain(most: u64, least_bytes: u64) -> Self {
        Self { most, least_bytes, parts: Parts::None }
    }

    fn of_text(schema: &Schema) -> Self {
        let max_length = schema.limits.max_length;
        match schema.format() {
            "byte" => Self::plain(max_length.unwrap_or(REQUEST_BYTES - EMPTY_BYTES), EMPTY_BYTES),
            "duration" => Self::plain(TIME_BYTES, 3),
            "date" => Self::plain(DATE_BYTES, DATE_BYTES),
            "date-time" => Self::plain(TIME_BYTES, 21),
            _ => {
                let choices = schema.limits.choices.iter().filter_map(|choice| choice.as_str());
                let longest = choices.map(|choice| choice.len() as u64).max();
                let unsaid = if schema.limits.choices.is_empty() {
                    REQUEST_BYTES - EMPTY_BYTES
                } else {
                    longest.unwrap_or_default()
                };
                Self::plain(max_length.map_or(unsaid, in_bytes), EMPTY_BYTES)
            }
        }
    }

    fn of_fields(schema: &Schema, is_object: bool) -> Self {
        let mut least_bytes = EMPTY_BYTES;
        let mut fields = BTreeMap::new();
        for (name, property) in &schema.properties {
            let Some(extent) = Self::of(property, property.embedded) else { continue };
            // A value that is left out and has a default takes no room in a request.
            if property.default.is_none() && schema.limits.required.contains(name) {
                least_bytes += name.len() as u64 + extent.least_bytes + 4;
            }
            fields.insert(name.clone(), extent);
        }
        if is_object {
            let text = || Self::plain(REQUEST_BYTES - EMPTY_BYTES, EMPTY_BYTES);
            fields.insert("kind".to_owned(), text());
            fields.insert("apiVersion".to_owned(), text());
            fields.insert("metadata".to_owned(), Self::of_metadata(schema.properties.get("metadata")));
        }
        Self { most: 0, least_bytes, parts: Parts::Fields(fields) }
    }

    fn of_metadata(declared: Option<&Schema>) -> Self {
        let capped = |name: &str, most: u64| {
            let said = declared.and_then(|metadata| metadata.properties.get(name)?.limits.max_length);
            Self::plain(in_bytes(said.map_or(most, |said| said.min(most))), EMPTY_BYTES)
        };
        let name = ("name".to_owned(), capped("name", NAME_LENGTH));
        // What is generated is a character at least.
        let generated = ("generateName".to_owned(), capped("generateName", NAME_LENGTH - 1));
        Self { most: 0, least_bytes: EMPTY_BYTES, parts: Parts::Fields([name, generated].into()) }
    }

    /// The extent of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        match &self.parts {
            Parts::Fields(fields) => fields.get(name),
            _ => None,
        }
    }

    /// The extent of a list's items.
    pub(crate) fn items(&self) -> Option<&Self> {
        match &self.parts {
            Parts::Items(items) => Some(items),
            _ => None,
        }
    }

    /// The extent of a map's values.
    pub(crate) fn values(&self) -> Option<&Self> {
        match &self.parts {
            Parts::Values(values) => Some(values),
            _ => None,
        }
    }

    /// How many such values fit into a request, a comma between them.
    pub(crate) fn per_request(&self) -> u64 {
        REQUEST_BYTES / (self.least_bytes + 1)
    }
}

/// The most bytes of a text of so many characters.
fn in_bytes(characters: u64) -> u64 {
    characters.saturating_mul(CHARACTER_BYTES)
}
