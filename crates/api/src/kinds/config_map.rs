//! ConfigMap: plain configuration, as text or bytes under keys.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, read};
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};

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

impl Rules for ConfigMapRules {
    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let keys = ["/data", "/binaryData"].map(|field| read::map(object, field).map_or(0, serde_json::Map::len));
        vec![cells::name(object), (keys[0] + keys[1]).into(), cells::age(object, now)]
    }
}
