//! Schemas of a definition: they must be structural. Every field is described once, with its type, outside of `allOf`,
//! `anyOf`, `oneOf` and `not`; what is in those only restricts it.

use serde_json::Value;

use super::{rules, spec};
use crate::custom::rules::Rules;
use crate::structural;
use crate::validation::Cursor;

/// Where in a schema a part is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// What CustomResourceDefinitions have no place for.
const UNSUPPORTED: [&str; 6] = ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"];
/// What may not be said of a field in `allOf`, `anyOf`, `oneOf` and `not`, and how that is told.
const NOT_NESTED: [(&str, &str); 13] = [
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("externalDocs", "must be undefined to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
];

/// A whole schema.
pub(super) fn schema(root: &Cursor<'_>) {
    let before = root.fault_count();
    part(root, Level::Root, 0);
    complete(root, root);
    if root.fault_count() == before {
        rules::programs(root);
    }
    if root.fault_count() == before {
        defaults(root, Level::Root);
    }
}

fn part(schema: &Cursor<'_>, level: Level, depth: usize) {
    if depth > structural::MAX_DEPTH {
        return schema.forbidden("must not be nested deeper");
    }
    plain(schema);
    own_type(schema, level);
    extensions(schema);
    let (items, additional) = (schema.get("items"), schema.get("additionalProperties"));
    if schema.get("type").text() == "array" && !items.is_set() {
        items.required("must be specified");
    }
    if items.value().is_array() {
        items.forbidden("items must be a schema object and not an array");
    } else if items.is_set() {
        part(&items, Level::Item, depth + 1);
    }
    if additional.is_set() {
        if !schema.get("properties").is_empty() && !additional.is_true() {
            additional.forbidden("additionalProperties and properties are mutual exclusive");
        }
        if level == Level::Root {
            additional.forbidden("must not be used at the root");
        }
        if additional.value().is_object() {
            part(&additional, Level::Field, depth + 1);
        }
    }
    for (name, property) in schema.get("properties").entries() {
        if level == Level::Root && name == "metadata" {
            metadata(&property);
        } else {
            part(&property, Level::Field, depth + 1);
        }
    }
    let int_or_string = schema.get("x-kubernetes-int-or-string").is_true();
    junctors(schema, int_or_string, depth);
}

/// What is wrong with a schema wherever it is.
fn plain(schema: &Cursor<'_>) {
    for name in UNSUPPORTED {
        let field = schema.get(name);
        if field.is_set() && field.value() != "" {
            field.forbidden(format!("{name} is not supported"));
        }
    }
    if schema.get("uniqueItems").is_true() {
        let text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        schema.get("uniqueItems").forbidden(text);
    }
    if schema.get("type").text() == "null" {
        schema.get("type").forbidden("type cannot be set to null, use nullable as an alternative");
    }
    let pattern = schema.get("pattern");
    if let Err(error) = regex::Regex::new(pattern.text()) {
        pattern.invalid(format!("must be a valid regular expression, but isn't: {error}"));
    }
}

fn own_type(schema: &Cursor<'_>, level: Level) {
    let ty = schema.get("type");
    let flag = |name: &str| schema.get(name).is_true();
    let embedded = flag("x-kubernetes-embedded-resource");
    if embedded && ty.text() != "object" {
        let text = "must be object if x-kubernetes-embedded-resource is true";
        if ty.is_empty() { ty.required(text) } else { ty.invalid(text) }
    } else if ty.is_empty() && !flag("x-kubernetes-int-or-string") && !flag("x-kubernetes-preserve-unknown-fields") {
        ty.required(match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        });
    }
    if level == Level::Root && !ty.is_empty() && ty.text() != "object" {
        ty.invalid("must be object at the root");
    }
    if !matches!(ty.text(), "" | "object" | "array" | "string" | "integer" | "number" | "boolean" | "null") {
        ty.not_supported(&["array", "boolean", "integer", "number", "object", "string"]);
    }
    let additional = schema.get("additionalProperties");
    if embedded && additional.is_set() {
        additional.forbidden("must not be used if x-kubernetes-embedded-resource is set");
    }
    if embedded && !flag("x-kubernetes-preserve-unknown-fields") && schema.get("properties").is_empty() {
        schema.get("properties").required(
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        );
    }
    if level == Level::Root || embedded {
        for name in ["kind", "apiVersion"] {
            let field = schema.get("properties").key(name);
            if field.is_set() && field.get("type").text() != "string" {
                field.get("type").invalid_as(field.get("type").text(), "must be string");
            }
        }
    }
}

/// Of an object's own metadata only the names may be restricted.
fn metadata(metadata: &Cursor<'_>) {
    if metadata.get("type").text() != "object" {
        metadata.get("type").invalid_as(metadata.get("type").text(), "must be object");
    }
    let names = metadata.get("properties").entries().all(|(name, _)| matches!(name, "name" | "generateName"));
    let others = metadata.fields().any(|(name, _)| !matches!(name, "type" | "properties" | "description"));
    if !names || others {
        metadata.forbidden(
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        );
    }
}

fn extensions(schema: &Cursor<'_>) {
    let flag = |name: &str| schema.get(name).is_true();
    if flag("x-kubernetes-int-or-string") {
        for name in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
            if flag(name) {
                schema.get(name).invalid("must be false if x-kubernetes-int-or-string is true");
            }
        }
    }
    let preserve = schema.get("x-kubernetes-preserve-unknown-fields");
    if preserve.value() == false {
        preserve.invalid("must be true or undefined");
    }
    let ty = schema.get("type");
    let map = schema.get("x-kubernetes-map-type");
    if map.is_set() {
        map.may_be_one_of(&["granular", "atomic"]);
        if ty.text() != "object" {
            let text = "must be object if x-kubernetes-map-type is specified";
            if ty.is_empty() { ty.required(text) } else { ty.invalid(text) }
        }
    }
    list(schema);
    rules::texts(schema);
}

fn list(schema: &Cursor<'_>) {
    let (ty, list, keys) =
        (schema.get("type"), schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys"));
    if list.is_set() {
        list.may_be_one_of(&["atomic", "set", "map"]);
        if ty.text() != "array" {
            let text = "must be array if x-kubernetes-list-type is specified";
            if ty.is_empty() { ty.required(text) } else { ty.invalid(text) }
        }
    }
    if list.text() != "map" {
        if !keys.is_empty() {
            let text = "must be map if x-kubernetes-list-map-keys is non-empty";
            if list.is_empty() { list.required(text) } else { list.invalid(text) }
        }
        return;
    }
    if keys.is_empty() {
        keys.required("must not be empty if x-kubernetes-list-type is map");
    }
    let items = schema.get("items");
    if items.get("type").text() != "object" {
        items
            .get("type")
            .invalid_as(items.get("type").text(), "must be object if parent array's x-kubernetes-list-type is map");
    }
    for key in keys.items() {
        let property = items.get("properties").key(key.text());
        if !property.is_set() {
            key.invalid("entries must all be names of item properties");
        } else if matches!(property.get("type").text(), "array" | "object") {
            property.get("type").invalid("must be a scalar type if parent array's x-kubernetes-list-type is map");
        } else if !property.get("default").is_set() && !items.get("required").texts().any(|name| name == key.text()) {
            property.get("default").required(
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            );
        }
    }
}

/// The parts of `allOf`, `anyOf`, `oneOf` and `not`. Those of a number or text may name its two types, in just one form.
fn junctors(schema: &Cursor<'_>, int_or_string: bool, depth: usize) {
    for name in ["anyOf", "allOf", "oneOf"] {
        if name == "anyOf" && int_or_string && is_both_types(schema.get(name).value()) {
            continue;
        }
        for (index, branch) in schema.get(name).items().enumerate() {
            let both = name == "allOf" && index == 0 && int_or_string;
            nested(&branch, both, depth + 1);
        }
    }
    if schema.get("not").is_set() {
        nested(&schema.get("not"), false, depth + 1);
    }
}

fn is_both_types(any_of: &Value) -> bool {
    *any_of == serde_json::json!([{ "type": "integer" }, { "type": "string" }])
}

fn nested(schema: &Cursor<'_>, both_types: bool, depth: usize) {
    if depth > structural::MAX_DEPTH {
        return schema.forbidden("must not be nested deeper");
    }
    plain(schema);
    for (name, text) in NOT_NESTED {
        let field = schema.get(name);
        if !field.is_empty() {
            field.forbidden(text);
        }
    }
    if !schema.get("x-kubernetes-validations").is_empty() {
        schema.get("x-kubernetes-validations").forbidden("must be empty to be structural");
    }
    let metadata = schema.get("properties").key("metadata");
    if metadata.is_set() {
        metadata.forbidden("must not be specified in a nested context");
    }
    junctors(schema, both_types, depth);
    if schema.get("items").is_set() {
        nested(&schema.get("items"), false, depth + 1);
    }
    schema.get("properties").entries().for_each(|(_, property)| nested(&property, false, depth + 1));
}

/// Every field that is restricted somewhere below `schema` must be described by `described`.
fn complete(schema: &Cursor<'_>, described: &Cursor<'_>) {
    for branch in branches(schema) {
        covered(&branch, described);
    }
    schema.get("properties").entries().for_each(|(_, property)| complete(&property, &property));
    for name in ["items", "additionalProperties"] {
        if schema.get(name).value().is_object() {
            complete(&schema.get(name), &schema.get(name));
        }
    }
}

fn branches<'a>(schema: &Cursor<'a>) -> Vec<Cursor<'a>> {
    let lists = ["anyOf", "allOf", "oneOf"].into_iter().flat_map(|name| schema.get(name).items().collect::<Vec<_>>());
    lists.chain(Some(schema.get("not")).filter(Cursor::is_set)).collect()
}

fn covered(restricting: &Cursor<'_>, described: &Cursor<'_>) {
    for branch in branches(restricting) {
        covered(&branch, described);
    }
    let items = restricting.get("items");
    if items.is_set() {
        let there = described.get("items");
        if there.is_set() {
            covered(&items, &there);
        } else {
            there.required(&format!("because it is defined in {}", items.place()));
        }
    }
    for (name, property) in restricting.get("properties").entries() {
        let there = described.get("properties").key(name);
        if there.is_set() {
            covered(&property, &there);
        } else {
            there.required(&format!("because it is defined in {}", property.place()));
        }
    }
}

/// Defaults must be what they stand for: pruned, and valid.
fn defaults(schema: &Cursor<'_>, level: Level) {
    let default = schema.get("default");
    if default.is_set() {
        let read = spec::read(schema);
        let mut pruned = default.value().clone();
        let unknown = structural::prune_part(&mut pruned, &read);
        if !unknown.is_empty() {
            default.invalid("must be pruned");
        }
        structural::default(&mut pruned, &read);
        let mut faults = structural::validate(&pruned, None, &read);
        if faults.is_empty() {
            let rules = Rules::compile(&read, level == Level::Root || read.embedded);
            faults = rules.map_or_else(Vec::new, |rules| rules.faults(&pruned, None, &read));
        }
        faults.into_iter().for_each(|fault| default.fault_below(fault));
    }
    schema.get("properties").entries().for_each(|(_, property)| defaults(&property, Level::Field));
    for (name, level) in [("items", Level::Item), ("additionalProperties", Level::Field)] {
        if schema.get(name).value().is_object() {
            defaults(&schema.get(name), level);
        }
    }
}
