//! ComponentStatus: whether a part of the control plane is healthy, asked when someone wants to know.

use jiff::Timestamp;
use serde_json::Value;

use super::cells;
use crate::kind::{Column, Kind, NameRule, Rules, Scope, Verbs};

/// `componentstatuses`, read only.
pub static COMPONENT_STATUS: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ComponentStatus",
    plural: "componentstatuses",
    singular: "componentstatus",
    short_names: &["cs"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::ReadOnly,
    names: NameRule::PathSegment,
    subresources: &[],
    schema: "io.k8s.api.core.v1.ComponentStatus",
    storage: "componentstatuses",
    columns: COLUMNS,
    rules: &ComponentStatusRules,
};

const COLUMNS: &[Column] = &[cells::NAME, cells::text("Status"), cells::text("Message"), cells::text("Error")];

struct ComponentStatusRules;

impl Rules for ComponentStatusRules {
    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let mut conditions = object["conditions"].as_array().into_iter().flatten();
        let healthy = conditions.rfind(|condition| condition["type"] == "Healthy").unwrap_or(&Value::Null);
        let status = if healthy["status"] == "True" { "Healthy" } else { "Unhealthy" };
        let text = |field: &str| Value::from(healthy[field].as_str().unwrap_or_default());
        vec![cells::name(object), status.into(), text("message"), text("error")]
    }

    fn deprecation(&self) -> Option<&str> {
        Some("v1 ComponentStatus is deprecated in v1.19+")
    }
}

#[cfg(test)]
mod tests {
    use super::COMPONENT_STATUS;
    use crate::kinds::testing::check_row;

    #[test]
    fn a_row_shows_the_condition() {
        let object = "{metadata: {name: scheduler}, conditions: [{type: Healthy, status: 'True', message: ok}]}";
        check_row(&COMPONENT_STATUS, object, "scheduler | Healthy | ok | ");
        let object = "{metadata: {name: etcd-0}, conditions: [{type: Healthy, status: 'False', error: gone}]}";
        check_row(&COMPONENT_STATUS, object, "etcd-0 | Unhealthy |  | gone");
    }
}
