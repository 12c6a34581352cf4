//! Secret: bytes under keys that only some may read; its type says which keys it must have.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::Value;

use super::{cells, fill, read};
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};

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
