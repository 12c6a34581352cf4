//! PriorityClass: a name for how important a Pod is.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, fill, read};
use crate::field;
use crate::kind::{Column, Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::check;

/// `priorityclasses.scheduling.k8s.io`
pub static PRIORITY_CLASS: Kind = Kind {
    group: "scheduling.k8s.io",
    version: "v1",
    kind: "PriorityClass",
    plural: "priorityclasses",
    singular: "priorityclass",
    short_names: &["pc"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.scheduling.v1.PriorityClass",
    storage: "priorityclasses",
    columns: &[
        cells::NAME,
        cells::number("Value"),
        Column { name: "Global-Default", kind: "boolean", format: "", priority: 0 },
        cells::AGE,
        cells::text("PreemptionPolicy"),
    ],
    rules: &PriorityClassRules,
};

/// The classes that every cluster has: name, value, description.
pub const SYSTEM_PRIORITY_CLASSES: [(&str, i64, &str); 2] = [
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
];

/// Names that begin like this are the system's.
const SYSTEM_PREFIX: &str = "system-";
/// The highest value that is not the system's.
const HIGHEST_VALUE: i64 = 1_000_000_000;

struct PriorityClassRules;

impl Rules for PriorityClassRules {
    fn default(&self, object: &mut Value) {
        fill::absent(object, "preemptionPolicy", "PreemptLowerPriority");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |class| {
            let (name, value) = (class.get("metadata").get("name"), class.get("value"));
            if name.text().starts_with(SYSTEM_PREFIX) {
                if let Err(why) = is_system_class(object) {
                    name.forbidden(format!(
                        "priority class names with 'system-' prefix are reserved for system use only. error: {why}"
                    ));
                }
            } else if value.int().is_some_and(|value| value > HIGHEST_VALUE) {
                value.forbidden(format!("maximum allowed value of a user defined priority is {HIGHEST_VALUE}"));
            }
            class.get("preemptionPolicy").may_be_one_of(&["PreemptLowerPriority", "Never"]);
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |class| {
            if read::int(new, "/value") != read::int(old, "/value") {
                class.get("value").forbidden("may not be changed in an update.");
            }
            class.get("preemptionPolicy").immutable(&old["preemptionPolicy"]);
        })
    }

    fn has_generation(&self) -> bool {
        true
    }

    // What it asks for cannot change.
    fn generation_changes(&self, _new: &Value, _old: &Value) -> bool {
        false
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            cells::name(object),
            read::int(object, "/value").into(),
            read::flag(object, "/globalDefault").into(),
            cells::age(object, now),
            read::text(object, "/preemptionPolicy").into(),
        ]
    }
}

/// Whether a class with a system name is just the one that every cluster has.
fn is_system_class(class: &Value) -> Result<(), String> {
    let name = read::text(class, "/metadata/name");
    let Some((_, value, _)) = SYSTEM_PRIORITY_CLASSES.iter().find(|(known, ..)| *known == name) else {
        return Err(format!("{name} is not a known system priority class"));
    };
    if read::int(class, "/value") != *value {
        return Err(format!("value of {name} PriorityClass must be {value}"));
    }
    if read::flag(class, "/globalDefault") {
        return Err(format!("globalDefault of {name} PriorityClass must be false"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::PRIORITY_CLASS;
    use crate::kinds::testing::{check, check_defaults, check_row, check_update};

    #[test]
    fn values_are_bounded() {
        check(&PRIORITY_CLASS, "{metadata: {name: a}, value: 1000000000}", &[]);
        check(&PRIORITY_CLASS, "{metadata: {name: a}, value: -5}", &[]);
        check(
            &PRIORITY_CLASS,
            "{metadata: {name: a}, value: 1000000001, preemptionPolicy: Sometimes}",
            &[
                "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
                "preemptionPolicy: Unsupported value: \"Sometimes\": supported values: \"PreemptLowerPriority\", \
                 \"Never\"",
            ],
        );
    }

    #[test]
    fn system_names_are_the_systems() {
        let reserved = "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system \
                        use only. error: ";
        check(&PRIORITY_CLASS, "{metadata: {name: system-node-critical}, value: 2000001000}", &[]);
        check(
            &PRIORITY_CLASS,
            "{metadata: {name: system-a}, value: 1}",
            &[&format!("{reserved}system-a is not a known system priority class")],
        );
        check(
            &PRIORITY_CLASS,
            "{metadata: {name: system-node-critical}, value: 1}",
            &[&format!("{reserved}value of system-node-critical PriorityClass must be 2000001000")],
        );
    }

    #[test]
    fn the_value_stays() {
        check_update(
            &PRIORITY_CLASS,
            "{metadata: {name: a}, value: 1}",
            "{metadata: {name: a}, value: 2, preemptionPolicy: Never}",
            &[
                "value: Forbidden: may not be changed in an update.",
                "preemptionPolicy: Invalid value: \"Never\": field is immutable",
            ],
        );
    }

    #[test]
    fn defaults_and_rows() {
        check_defaults(&PRIORITY_CLASS, "{value: 1}", "{value: 1, preemptionPolicy: PreemptLowerPriority}");
        check_row(
            &PRIORITY_CLASS,
            "{metadata: {name: a}, value: 7, globalDefault: true, preemptionPolicy: Never}",
            "a | 7 | true | <unknown> | Never",
        );
    }
}
