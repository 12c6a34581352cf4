//! Strategic merge patch: a merge patch that knows from the schema which lists merge item by item, and by which key.
//!
//! Directives inside the patch steer it: `$patch: replace | delete`, `$retainKeys`, `$setElementOrder/<list>`,
//! `$deleteFromPrimitiveList/<list>`. Start at [`patch`].

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::rejected;
use crate::schema::{Definition, Merge, Shape, Type};
use crate::status::Status;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList/";

type Object = Map<String, Value>;

/// Why a patch cannot be applied.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("unknown patch type: {0} in map: {1}")]
    UnknownDirective(Value, String),
    #[error("map: {0} does not contain declared merge key: {1}")]
    NoMergeKey(String, &'static str),
    #[error("merging lists cannot yet be specified in the patch")]
    MergeDirectiveInList,
    #[error("invalid patch format of primitive list")]
    PrimitiveList,
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    #[error("invalid patch format of setElementOrder list")]
    SetElementOrder,
    #[error("unable to find api field in struct {0} for the json field {1:?}")]
    UnknownField(&'static str, String),
    #[error("list element types are not identical")]
    MixedItems,
    #[error("lists of lists are not supported")]
    ListOfLists,
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        if matches!(error, Error::ListOfLists) { rejected() } else { Self::bad_request(error.to_string()) }
    }
}

/// The object after the patch.
pub fn patch(live: &Value, patch: Value, definition: &'static Definition) -> Result<Value, Status> {
    let (Value::Object(live), Value::Object(patch)) = (live, patch) else {
        return Err(Status::bad_request("invalid JSON document"));
    };
    Ok(merge_objects(live.clone(), patch, Type::Ref(definition)).map(Value::Object)?)
}

/// What the schema says about one field of an object.
struct Place {
    ty: Option<Type>,
    merge: Option<Merge>,
}

impl Place {
    fn of(ty: Option<Type>, name: &str) -> Result<Self, Error> {
        match ty {
            Some(Type::Ref(definition)) if definition.shape == Shape::Struct => {
                let unknown = || Error::UnknownField(definition.short_name(), name.to_owned());
                let field = definition.field(name).ok_or_else(unknown)?;
                Ok(Self { ty: Some(field.ty), merge: Some(field.merge) })
            }
            Some(Type::Map(item)) => Ok(Self { ty: Some(*item), merge: None }),
            _ => Ok(Self { ty: None, merge: None }),
        }
    }

    fn merges_items(&self) -> bool {
        self.merge.is_some_and(|merge| merge.patch_merges())
    }

    fn replaces(&self) -> bool {
        self.merge.is_some_and(|merge| merge.patch_replaces())
    }

    fn key(&self) -> &'static str {
        self.merge.map_or("", |merge| merge.merge_key)
    }

    fn item(&self) -> Option<Type> {
        match self.ty {
            Some(Type::List(item)) => Some(*item),
            _ => None,
        }
    }
}

fn merge_objects(original: Object, patch: Object, ty: impl Into<Option<Type>>) -> Result<Object, Error> {
    let (mut original, mut patch, ty) = (original, patch, ty.into());
    match patch.remove(PATCH) {
        None => {}
        Some(Value::String(directive)) if directive == "replace" => return Ok(without_directives(patch)),
        Some(Value::String(directive)) if directive == "delete" => return Ok(Object::new()),
        Some(other) => return Err(Error::UnknownDirective(other, show(&patch))),
    }
    retain_keys(&mut original, &mut patch)?;
    apply_element_orders(&mut original, &mut patch, ty)?;
    for (name, value) in patch {
        merge_field(&mut original, name, value, ty)?;
    }
    Ok(original)
}

fn merge_field(original: &mut Object, name: String, value: Value, ty: Option<Type>) -> Result<(), Error> {
    if let Some(list) = name.strip_prefix(DELETE_FROM_PRIMITIVE_LIST) {
        return delete_from_primitive_list(original, list, value);
    }
    if value.is_null() {
        original.remove(&name);
        return Ok(());
    }
    let merged = match (original.remove(&name), value) {
        (Some(Value::Object(original)), Value::Object(patch)) => {
            let place = Place::of(ty, &name)?;
            let original = if place.replaces() { Object::new() } else { original };
            Value::Object(merge_objects(original, patch, place.ty)?)
        }
        (Some(Value::Array(original)), Value::Array(patch)) => {
            Value::Array(merge_lists(original, patch, &Place::of(ty, &name)?)?)
        }
        // What is not there cannot be deleted or merged with.
        (None, Value::Object(patch)) if patch.contains_key(PATCH) => return Ok(()),
        (_, value) => cleaned(value),
    };
    original.insert(name, merged);
    Ok(())
}

fn delete_from_primitive_list(original: &mut Object, list: &str, delete: Value) -> Result<(), Error> {
    let Value::Array(delete) = delete else { return Err(Error::PrimitiveList) };
    if let Some(Value::Array(items)) = original.get_mut(list) {
        items.retain(|item| !delete.contains(item));
    }
    Ok(())
}

/// `$retainKeys` drops all fields but the named ones; the patch may set no others.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), Error> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else { return Err(Error::RetainKeys) };
    let named = |name: &str| keys.iter().any(|key| key == name);
    let steering = |name: &str| name.starts_with(SET_ELEMENT_ORDER) || name.starts_with(DELETE_FROM_PRIMITIVE_LIST);
    if patch.iter().any(|(name, value)| !value.is_null() && !steering(name) && !named(name)) {
        return Err(Error::RetainKeys);
    }
    original.retain(|name, _| named(name));
    Ok(())
}

/// Merges the lists that have a `$setElementOrder` and puts their items in that order.
fn apply_element_orders(original: &mut Object, patch: &mut Object, ty: Option<Type>) -> Result<(), Error> {
    let names: Vec<String> = patch.keys().filter(|name| name.starts_with(SET_ELEMENT_ORDER)).cloned().collect();
    for directive in names {
        let Some(Value::Array(order)) = patch.remove(&directive) else { return Err(Error::SetElementOrder) };
        let name = &directive[SET_ELEMENT_ORDER.len()..];
        let place = Place::of(ty, name)?;
        if let Some(delete) = patch.remove(&format!("{DELETE_FROM_PRIMITIVE_LIST}{name}")) {
            delete_from_primitive_list(original, name, delete)?;
        }
        let server = match original.remove(name) {
            Some(Value::Array(items)) => Some(items),
            Some(other) => {
                original.insert(name.to_owned(), other);
                continue;
            }
            None => None,
        };
        let merged = match (server.clone(), patch.remove(name)) {
            (None, None) => continue,
            (Some(items), None) => items,
            (items, Some(Value::Array(patch))) => merge_lists(items.unwrap_or_default(), patch, &place)?,
            (_, Some(Value::Null)) => continue,
            (_, Some(_)) => return Err(Error::SetElementOrder),
        };
        let ordered = in_order(merged, &order, &server.unwrap_or_default(), place.key())?;
        original.insert(name.to_owned(), Value::Array(ordered));
    }
    Ok(())
}

fn merge_lists(original: Vec<Value>, patch: Vec<Value>, place: &Place) -> Result<Vec<Value>, Error> {
    if !place.merges_items() {
        return Ok(patch.into_iter().map(cleaned).collect());
    }
    if original.iter().chain(&patch).any(Value::is_array) {
        return Err(Error::ListOfLists);
    }
    let objects = original.iter().chain(&patch).filter(|item| item.is_object()).count();
    if objects == 0 {
        return merge_scalars(original, patch);
    }
    if objects != original.len() + patch.len() {
        return Err(Error::MixedItems);
    }
    let (key, server) = (place.key(), original.clone());
    let (mut merged, patch) = match obey_item_directives(original, patch, key)? {
        Items::Replace(items) => return Ok(items),
        Items::Merge { original, patch } => (original, patch),
    };
    let order = patch.clone();
    let mut positions: HashMap<String, usize> = HashMap::new();
    for (index, item) in merged.iter().enumerate() {
        positions.entry(identity(item, key)?).or_insert(index);
    }
    for item in patch {
        match (positions.get(&identity(&item, key)?).copied(), item) {
            (Some(index), Value::Object(patch)) => {
                let Value::Object(original) = merged[index].take() else { return Err(Error::MixedItems) };
                merged[index] = Value::Object(merge_objects(original, patch, place.item())?);
            }
            (_, item) => {
                positions.insert(identity(&item, key)?, merged.len());
                merged.push(cleaned(item));
            }
        }
    }
    in_order(merged, &order, &server, key)
}

fn merge_scalars(original: Vec<Value>, patch: Vec<Value>) -> Result<Vec<Value>, Error> {
    let mut merged: Vec<Value> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for item in original.iter().chain(&patch) {
        if seen.insert(item.to_string()) {
            merged.push(item.clone());
        }
    }
    in_order(merged, &patch, &original, "")
}

/// What is left of a list and its patch once `$patch` items have been obeyed.
enum Items {
    Replace(Vec<Value>),
    Merge { original: Vec<Value>, patch: Vec<Value> },
}

fn obey_item_directives(mut original: Vec<Value>, patch: Vec<Value>, key: &'static str) -> Result<Items, Error> {
    let (mut plain, mut replace) = (Vec::new(), false);
    for item in patch {
        match item.get(PATCH).and_then(Value::as_str) {
            None if item.get(PATCH).is_none() => plain.push(item),
            Some("replace") => replace = true,
            Some("delete") => {
                let gone = identity(&item, key)?;
                original.retain(|item| identity(item, key).map_or(true, |own| own != gone));
            }
            Some("merge") => return Err(Error::MergeDirectiveInList),
            _ => return Err(Error::UnknownDirective(item[PATCH].clone(), item.to_string())),
        }
    }
    if replace {
        return Ok(Items::Replace(plain.into_iter().map(cleaned).collect()));
    }
    Ok(Items::Merge { original, patch: plain })
}

/// What tells an item apart: its merge key's value, or for scalars (no key) the item itself.
fn identity(item: &Value, key: &'static str) -> Result<String, Error> {
    if key.is_empty() || !item.is_object() {
        return Ok(item.to_string());
    }
    item.get(key).map(Value::to_string).ok_or_else(|| Error::NoMergeKey(item.to_string(), key))
}

/// Items named in `order` come in that order; the others, which only the server knows, stay where they were relative
/// to the items around them.
fn in_order(items: Vec<Value>, order: &[Value], server: &[Value], key: &'static str) -> Result<Vec<Value>, Error> {
    let ranks = |list: &[Value]| -> Result<HashMap<String, usize>, Error> {
        list.iter().enumerate().map(|(rank, item)| Ok((identity(item, key)?, rank))).collect()
    };
    let (wanted, before) = (ranks(order)?, ranks(server)?);
    let (mut named, mut others) = (Vec::new(), Vec::new());
    for item in items {
        let identity = identity(&item, key)?;
        match wanted.get(&identity) {
            Some(rank) => named.push((*rank, before.get(&identity).copied(), item)),
            None => others.push((before.get(&identity).copied(), item)),
        }
    }
    named.sort_by_key(|(rank, ..)| *rank);
    others.sort_by_key(|(before, _)| *before);
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut result = Vec::new();
    while let (Some((_, right, _)), Some((left, _))) = (named.peek(), others.peek()) {
        let other_first = matches!((left, right), (Some(left), Some(right)) if left < right);
        result.extend(if other_first { others.next().map(|o| o.1) } else { named.next().map(|n| n.2) });
    }
    result.extend(named.map(|(.., item)| item));
    result.extend(others.map(|(_, item)| item));
    Ok(result)
}

/// A value of the patch that has nothing to merge with: without its nulls and directives.
fn cleaned(value: Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(without_directives(object)),
        Value::Array(items) => {
            Value::Array(items.into_iter().filter(|item| item.get(PATCH).is_none()).map(cleaned).collect())
        }
        scalar => scalar,
    }
}

fn without_directives(object: Object) -> Object {
    let directive = |name: &str| {
        name == PATCH
            || name == RETAIN_KEYS
            || name.starts_with(SET_ELEMENT_ORDER)
            || name.starts_with(DELETE_FROM_PRIMITIVE_LIST)
    };
    // Objects that steer a merge have nothing to merge with either.
    let steers = |value: &Value| value.get(PATCH).is_some();
    let kept = object.into_iter().filter(|(name, value)| !value.is_null() && !directive(name) && !steers(value));
    kept.map(|(name, value)| (name, cleaned(value))).collect()
}

fn show(object: &Object) -> String {
    Value::Object(object.clone()).to_string()
}

#[cfg(test)]
mod tests;
