//! Values against their schema: upstream's checks with upstream's words.
//!
//! An update is judged with what was there before: what has not changed is not looked at again, so that an object that
//! was valid under an older schema can still be changed elsewhere (ratcheting).

use serde_json::{Map, Value};

use super::{ListType, Schema, Type, formats, key_of, lists};
use crate::field::{Error, Path, Reason};

/// Faults that are told at most.
const MAX_FAULTS: usize = 100;

/// The faults of an object; `old` is what it replaces.
pub fn validate(object: &Value, old: Option<&Value>, schema: &Schema) -> Vec<Error> {
    let mut walk = Walk { faults: Vec::new() };
    walk.visit(object, old, schema, &Path::root());
    walk.faults.truncate(MAX_FAULTS);
    walk.faults
}

struct Walk {
    faults: Vec<Error>,
}

impl Walk {
    fn visit(&mut self, value: &Value, old: Option<&Value>, schema: &Schema, path: &Path) {
        if old == Some(value) || self.faults.len() > MAX_FAULTS {
            return;
        }
        if value.is_null() && schema.nullable {
            return;
        }
        if !self.has_type(value, schema, path) {
            return;
        }
        self.choices(value, schema, path);
        match value {
            Value::String(text) => self.text(text, schema, path),
            Value::Number(_) => self.number(value, schema, path),
            Value::Array(items) => self.list(items, old, schema, path),
            Value::Object(fields) => self.object(fields, old, schema, path),
            _ => {}
        }
        self.alternatives(value, schema, path);
    }

    fn has_type(&mut self, value: &Value, schema: &Schema, path: &Path) -> bool {
        let wanted = match schema.ty {
            _ if schema.int_or_string => "integer,string",
            Some(ty) => ty.name(),
            None => return true,
        };
        let fits = match schema.ty {
            _ if schema.int_or_string => is_int_or_string(value),
            Some(ty) => ty.fits(value),
            None => true,
        };
        if !fits {
            let found = type_name(value);
            let text = format!("{path} in body must be of type {wanted}: \"{found}\"");
            self.fault(Reason::TypeInvalid, path, found, text);
        }
        fits
    }

    fn choices(&mut self, value: &Value, schema: &Schema, path: &Path) {
        let choices = &schema.limits.choices;
        if choices.is_empty() || choices.iter().any(|choice| same(choice, value)) {
            return;
        }
        let shown: Vec<String> =
            choices.iter().map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned)).collect();
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        self.faults.push(Error::not_supported(path, value.clone(), &shown));
    }

    fn text(&mut self, text: &str, schema: &Schema, path: &Path) {
        let limits = &schema.limits;
        let length = text.chars().count() as u64;
        if let Some(max) = limits.max_length.filter(|max| length > *max) {
            self.faults.push(Error::too_long(path, usize::try_from(max).unwrap_or(usize::MAX)));
        }
        if let Some(min) = limits.min_length.filter(|min| length < *min) {
            self.invalid(path, text, format!("{path} in body should be at least {min} chars long"));
        }
        if let Some(pattern) = &limits.pattern
            && !pattern.regex.as_ref().is_some_and(|regex| regex.is_match(text))
        {
            self.invalid(path, text, format!("{path} in body should match '{}'", pattern.text));
        }
        if !limits.format.is_empty() && !formats::fits(&limits.format, text) {
            let format = &limits.format;
            let fault = format!("{path} in body must be of type {format}: {}", Value::from(text));
            self.fault(Reason::TypeInvalid, path, text, fault);
        }
    }

    fn number(&mut self, value: &Value, schema: &Schema, path: &Path) {
        let (limits, number) = (&schema.limits, value.as_f64().unwrap_or_default());
        if let Some(max) = limits.maximum {
            let exclusive = limits.exclusive_maximum;
            if number > max || (exclusive && number == max) {
                let than = if exclusive { "less than" } else { "less than or equal to" };
                self.invalid(path, value.clone(), format!("{path} in body should be {than} {max}"));
            }
        }
        if let Some(min) = limits.minimum {
            let exclusive = limits.exclusive_minimum;
            if number < min || (exclusive && number == min) {
                let than = if exclusive { "greater than" } else { "greater than or equal to" };
                self.invalid(path, value.clone(), format!("{path} in body should be {than} {min}"));
            }
        }
        if let Some(factor) = limits.multiple_of.filter(|factor| *factor != 0.0 && (number / factor).fract() != 0.0) {
            self.invalid(path, value.clone(), format!("{path} in body should be a multiple of {factor}"));
        }
        self.width(value, schema, path);
    }

    /// `int32` and `int64` bound integers.
    fn width(&mut self, value: &Value, schema: &Schema, path: &Path) {
        let fits = match schema.limits.format.as_str() {
            "int32" => value.as_f64().is_some_and(|n| n >= f64::from(i32::MIN) && n <= f64::from(i32::MAX)),
            "int64" => value.is_i64() || !value.is_u64(),
            _ => true,
        };
        if !fits {
            let format = &schema.limits.format;
            self.invalid(
                path,
                value.clone(),
                format!("Checked value must be of type integer with format {format} in {path}"),
            );
        }
    }

    fn list(&mut self, items: &[Value], old: Option<&Value>, schema: &Schema, path: &Path) {
        let (limits, length) = (&schema.limits, items.len() as u64);
        if let Some(min) = limits.min_items.filter(|min| length < *min) {
            self.invalid(path, items.to_vec(), format!("{path} in body should have at least {min} items"));
        }
        if let Some(max) = limits.max_items.filter(|max| length > *max) {
            self.faults.push(Error::too_many(path, items.len(), usize::try_from(max).unwrap_or(usize::MAX)));
        }
        if limits.unique_items && (1..items.len()).any(|index| items[..index].contains(&items[index])) {
            self.invalid(path, items.to_vec(), format!("{path} in body shouldn't contain duplicates"));
        }
        self.faults.extend(lists::duplicates(items, schema, path));
        let Some(item_schema) = schema.items.as_deref() else { return };
        for (index, item) in items.iter().enumerate() {
            self.visit(item, before(item, old, schema), item_schema, &path.index(index));
        }
    }

    fn object(&mut self, fields: &Map<String, Value>, old: Option<&Value>, schema: &Schema, path: &Path) {
        let (limits, count) = (&schema.limits, fields.len() as u64);
        if let Some(min) = limits.min_properties.filter(|min| count < *min) {
            let text = format!("{path} in body should have at least {min} properties");
            self.invalid(path, Value::Object(fields.clone()), text);
        }
        if let Some(max) = limits.max_properties.filter(|max| count > *max) {
            self.faults.push(Error::too_many(path, fields.len(), usize::try_from(max).unwrap_or(usize::MAX)));
        }
        for name in limits.required.iter().filter(|name| !fields.contains_key(*name)) {
            self.faults.push(Error::required(&path.child(name), ""));
        }
        for (name, value) in fields {
            if let Some(schema) = schema.field(name) {
                self.visit(value, old.and_then(|old| old.get(name)), schema, &path.child(name));
            }
        }
    }

    /// `allOf`, `anyOf`, `oneOf`, `not`. Their failures have no place of their own, so upstream reports none.
    fn alternatives(&mut self, value: &Value, schema: &Schema, path: &Path) {
        let limits = &schema.limits;
        let place = if path == &Path::root() { String::new() } else { path.to_string() };
        let faults_of = |schema: &Schema| {
            let mut walk = Self { faults: Vec::new() };
            walk.visit(value, None, schema, path);
            walk.faults
        };
        if !limits.any_of.is_empty() {
            let tried: Vec<Vec<Error>> = limits.any_of.iter().map(faults_of).collect();
            if tried.iter().all(|faults| !faults.is_empty()) {
                self.composite(format!("\"{place}\" must validate at least one schema (anyOf)"));
                self.faults.extend(tried.into_iter().min_by_key(Vec::len).unwrap_or_default());
            }
        }
        if !limits.one_of.is_empty() {
            let mut tried: Vec<Vec<Error>> = limits.one_of.iter().map(faults_of).collect();
            let valid = tried.iter().filter(|faults| faults.is_empty()).count();
            if valid != 1 {
                let found = if valid == 0 {
                    "Found none valid".to_owned()
                } else {
                    format!("Found {valid} valid alternatives")
                };
                self.composite(format!("\"{place}\" must validate one and only one schema (oneOf). {found}"));
                tried.retain(|faults| !faults.is_empty());
                self.faults.extend(tried.into_iter().min_by_key(Vec::len).filter(|_| valid == 0).unwrap_or_default());
            }
        }
        let failed: Vec<Error> = limits.all_of.iter().flat_map(faults_of).collect();
        if !failed.is_empty() {
            let valid = limits.all_of.iter().filter(|schema| faults_of(schema).is_empty()).count();
            let none = if valid == 0 { ". None validated" } else { "" };
            self.faults.extend(failed);
            self.composite(format!("\"{place}\" must validate all the schemas (allOf){none}"));
        }
        if limits.not.as_deref().is_some_and(|not| faults_of(not).is_empty()) {
            self.composite(format!("\"{place}\" must not validate the schema (not)"));
        }
    }

    fn composite(&mut self, text: String) {
        self.fault(Reason::Invalid, &Path::root(), "", text);
    }

    fn invalid(&mut self, path: &Path, value: impl Into<Value>, text: String) {
        self.fault(Reason::Invalid, path, value, text);
    }

    fn fault(&mut self, reason: Reason, path: &Path, value: impl Into<Value>, detail: String) {
        self.faults.push(Error { reason, path: path.clone(), value: Some(value.into()), detail });
    }
}

/// What an item was before: only keyed lists can tell.
pub(crate) fn before<'o>(item: &Value, old: Option<&'o Value>, schema: &Schema) -> Option<&'o Value> {
    let ListType::Map(keys) = &schema.list else { return None };
    let key = key_of(item, keys, schema.items.as_deref());
    old?.as_array()?.iter().find(|old| key_of(old, keys, schema.items.as_deref()) == key)
}

fn is_int_or_string(value: &Value) -> bool {
    value.is_string() || Type::Integer.fits(value)
}

/// Whether two values are the same; 1 and 1.0 are.
fn same(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a == b)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        value if super::is_integer(value) => "integer",
        _ => "number",
    }
}
