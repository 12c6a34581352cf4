//! ConfigMap: plain configuration, as text or bytes under keys.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check, names, same};

/// `configmaps`
pub static CONFIG_MAP: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.core.v1.ConfigMap",
    storage: "configmaps",
    columns: &[cells::NAME, cells::text("Data"), cells::AGE],
    rules: &ConfigMapRules,
};

struct ConfigMapRules;

/// All values together may have this many bytes; the same holds for Secrets.
pub(super) const MAX_DATA_BYTES: usize = 1 << 20;

impl Rules for ConfigMapRules {
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        let mut faults = check(object, |object| {
            let (data, binary) = (object.get("data"), object.get("binaryData"));
            for (key, entry) in data.entries().chain(binary.entries()) {
                for fault in names::data_key(key) {
                    entry.invalid_as(key, fault);
                }
            }
            for (key, entry) in data.entries().filter(|(key, _)| binary.key(key).is_set()) {
                entry.invalid_as(key, "duplicate of key present in binaryData");
            }
        });
        let bytes: usize = lengths(object, "/data", str::len) + lengths(object, "/binaryData", decoded_len);
        if bytes > MAX_DATA_BYTES {
            // The fault is the whole object's.
            faults.push(field::Error::too_long(&field::Path::new("[]"), MAX_DATA_BYTES));
        }
        faults
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |new| unchanged_if_immutable(new, old, &["data", "binaryData"]))
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let keys = ["/data", "/binaryData"].map(|field| read::map(object, field).map_or(0, serde_json::Map::len));
        vec![cells::name(object), (keys[0] + keys[1]).into(), cells::age(object, now)]
    }
}

/// Once `immutable` is true it stays so, and the `fields` stay as they are.
pub(super) fn unchanged_if_immutable(new: &Cursor<'_>, old: &Value, fields: &[&str]) {
    const WHY: &str = "field is immutable when `immutable` is set";
    if old["immutable"] != true {
        return;
    }
    if !new.get("immutable").is_true() {
        new.get("immutable").forbidden(WHY);
    }
    for field in fields {
        if !same(new.get(field).value(), &old[*field]) {
            new.get(field).forbidden(WHY);
        }
    }
}

/// The lengths of the values of the map at `pointer`, together.
pub(super) fn lengths(object: &Value, pointer: &str, length: impl Fn(&str) -> usize) -> usize {
    read::map(object, pointer).into_iter().flatten().map(|(_, value)| length(value.as_str().unwrap_or_default())).sum()
}

/// How many bytes a base64 text stands for.
pub(super) fn decoded_len(base64: &str) -> usize {
    base64.trim_end_matches('=').len() * 3 / 4
}

#[cfg(test)]
mod tests {
    use super::CONFIG_MAP;
    use crate::kinds::testing::{check, check_row, check_update};

    #[test]
    fn keys() {
        check(&CONFIG_MAP, "{data: {a.b: x}, binaryData: {c: eA==}}", &[]);
        check(
            &CONFIG_MAP,
            "{data: {..: x, a: y}, binaryData: {a: eA==}}",
            &[
                "data[..]: Invalid value: \"..\": must not be '..'",
                "data[a]: Invalid value: \"a\": duplicate of key present in binaryData",
            ],
        );
    }

    #[test]
    fn the_data_is_bounded() {
        let mebibyte = "x".repeat(super::MAX_DATA_BYTES);
        check(&CONFIG_MAP, &format!("{{data: {{a: {mebibyte}}}}}"), &[]);
        check(
            &CONFIG_MAP,
            &format!("{{data: {{a: {mebibyte}, b: x}}}}"),
            &["[]: Too long: may not be more than 1048576 bytes"],
        );
    }

    #[test]
    fn immutable_is_for_good() {
        check_update(&CONFIG_MAP, "{data: {a: b}}", "{immutable: true, data: {a: c}}", &[]);
        check_update(
            &CONFIG_MAP,
            "{immutable: true, data: {a: b}}",
            "{data: {a: c}}",
            &[
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ],
        );
    }

    #[test]
    fn rows() {
        check_row(&CONFIG_MAP, "{metadata: {name: a}, data: {a: b}, binaryData: {c: eA==}}", "a | 2 | <unknown>");
    }
}
