//! Secret: bytes under keys that only some may read; its type says which keys it must have.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::Value;

use super::config_map::{MAX_DATA_BYTES, decoded_len, lengths, unchanged_if_immutable};
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check, names};

/// `secrets`
pub static SECRET: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.core.v1.Secret",
    storage: "secrets",
    columns: &[cells::NAME, cells::text("Type"), cells::text("Data"), cells::AGE],
    rules: &SecretRules,
};

struct SecretRules;

impl Rules for SecretRules {
    fn default(&self, object: &mut Value) {
        fill::zero(object, "type", "Opaque");
        fold_string_data(object);
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |object| {
            let data = object.get("data");
            for (key, entry) in data.entries() {
                for fault in names::data_key(key) {
                    entry.invalid_as(key, fault);
                }
            }
            if lengths(object.value(), "/data", decoded_len) > MAX_DATA_BYTES {
                data.too_long(MAX_DATA_BYTES);
            }
            keys_of_type(object, &data);
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |new| {
            new.get("type").immutable(&old["type"]);
            unchanged_if_immutable(new, old, &["data"]);
        })
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("type", read::text(object, "/type").to_owned())]
    }

    fn selectable_names(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let keys = read::map(object, "/data").map_or(0, serde_json::Map::len);
        vec![cells::name(object), read::text(object, "/type").into(), keys.into(), cells::age(object, now)]
    }
}

/// `stringData` is write-only: its entries replace those of `data`, and it is never stored.
fn fold_string_data(secret: &mut Value) {
    let Some(Value::Object(strings)) = secret.as_object_mut().and_then(|map| map.remove("stringData")) else { return };
    if strings.is_empty() {
        return;
    }
    let Some(data) = fill::map(secret, "data") else { return };
    for (key, value) in strings {
        data.insert(key, BASE64.encode(value.as_str().unwrap_or_default()).into());
    }
}

/// What a Secret of a well-known type must hold.
fn keys_of_type(secret: &Cursor<'_>, data: &Cursor<'_>) {
    let has = |key: &str| data.key(key).is_set();
    let need = |key: &str| {
        if !has(key) {
            data.key(key).required("");
        }
    };
    match secret.get("type").text() {
        "kubernetes.io/service-account-token" => {
            secret.get("metadata").get("annotations").key("kubernetes.io/service-account.name").must();
        }
        "kubernetes.io/dockercfg" => docker_config(&data.key(".dockercfg")),
        "kubernetes.io/dockerconfigjson" => docker_config(&data.key(".dockerconfigjson")),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            need("username");
            need("password");
        }
        "kubernetes.io/ssh-auth" => {
            data.key("ssh-privatekey").must();
        }
        "kubernetes.io/tls" => {
            need("tls.crt");
            need("tls.key");
        }
        _ => {}
    }
}

/// The entry must be there and hold a JSON object. Nothing of it may be shown.
fn docker_config(entry: &Cursor<'_>) {
    if !entry.is_set() {
        entry.required("");
        return;
    }
    let bytes = BASE64.decode(entry.text()).unwrap_or_default();
    if serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes).is_err() {
        entry.invalid_as("<secret contents redacted>", "must be a JSON object");
    }
}

#[cfg(test)]
mod tests {
    use super::SECRET;
    use crate::kinds::testing::{check, check_defaults, check_row, check_update};

    #[test]
    fn well_known_types_have_their_keys() {
        check(&SECRET, "{type: example.com/mine}", &[]);
        check(&SECRET, "{type: kubernetes.io/tls, data: {tls.crt: ''}}", &["data[tls.key]: Required value"]);
        check(
            &SECRET,
            "{type: kubernetes.io/basic-auth}",
            &["data[username]: Required value", "data[password]: Required value"],
        );
        check(
            &SECRET,
            "{type: kubernetes.io/service-account-token}",
            &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        );
        check(&SECRET, "{type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: '{}'}}", &[]);
        check(
            &SECRET,
            "{type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: hunter2}}",
            &["data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": must be a JSON object"],
        );
    }

    #[test]
    fn the_type_stays() {
        check_update(&SECRET, "{type: a}", "{type: b}", &["type: Invalid value: \"b\": field is immutable"]);
    }

    #[test]
    fn string_data_becomes_data() {
        check_defaults(
            &SECRET,
            "{data: {a: eA==, b: eA==}, stringData: {a: y}}",
            "{type: Opaque, data: {a: eQ==, b: eA==}}",
        );
    }

    #[test]
    fn rows() {
        check_row(&SECRET, "{metadata: {name: a}, type: Opaque, data: {a: eA==}}", "a | Opaque | 1 | <unknown>");
    }
}
