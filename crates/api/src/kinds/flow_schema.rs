//! FlowSchema: which requests go to which priority level, and how they are told apart there.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::flowcontrol::{conditions, mandatory, policy_rules};
use crate::validation::{Cursor, check, names};

const GVK: Gvk = ("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema");

/// `flowschemas.flowcontrol.apiserver.k8s.io`
pub static FLOW_SCHEMA: Kind = Kind {
    group: GVK.0,
    version: GVK.1,
    kind: GVK.2,
    plural: "flowschemas",
    singular: "flowschema",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.flowcontrol.v1.FlowSchema",
    storage: "flowschemas",
    columns: &[
        cells::NAME,
        cells::text("PriorityLevel"),
        cells::text("MatchingPrecedence"),
        cells::text("DistinguisherMethod"),
        cells::AGE,
        cells::text("MissingPL"),
    ],
    rules: &FlowSchemaRules,
};

const MAX_PRECEDENCE: i64 = 10_000;
const DEFAULT_PRECEDENCE: i64 = 1000;

struct FlowSchemaRules;

impl Rules for FlowSchemaRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", |spec| fill::zero(spec, "matchingPrecedence", DEFAULT_PRECEDENCE));
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |schema| {
            let name = schema.get("metadata").get("name").text();
            let spec = schema.get("spec");
            precedence(&spec.get("matchingPrecedence"), name);
            let method = spec.get("distinguisherMethod");
            if method.is_set() {
                method.get("type").may_be_one_of(&["ByNamespace", "ByUser"]);
            }
            let level = spec.get("priorityLevelConfiguration").get("name");
            if level.is_empty() {
                level.required("must reference a priority level");
            }
            level.may_follow(names::subdomain);
            policy_rules(&spec.get("rules"));
            mandatory("FlowSchema", name, &spec);
            conditions(&schema.get("status").get("conditions"));
        })
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<field::Error> {
        check(new, |schema| conditions(&schema.get("status").get("conditions")))
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let dangling = read::find(object, "/status/conditions", "type", "Dangling");
        vec![
            cells::name(object),
            read::text(object, "/spec/priorityLevelConfiguration/name").into(),
            read::int(object, "/spec/matchingPrecedence").into(),
            cells::or_none(read::text(object, "/spec/distinguisherMethod/type")),
            cells::age(object, now),
            dangling.map_or("?", |condition| read::text(condition, "/status")).into(),
        ]
    }
}

fn precedence(precedence: &Cursor<'_>, name: &str) {
    let number = precedence.int().unwrap_or_default();
    match number {
        ..=0 => precedence.invalid_as(number, "must be a positive value"),
        1 if name != "exempt" => precedence.invalid("only the schema named 'exempt' may have matchingPrecedence 1"),
        _ if number > MAX_PRECEDENCE => precedence.invalid(format!("must not be greater than {MAX_PRECEDENCE}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::FLOW_SCHEMA;
    use crate::kinds::testing::{check, check_defaults, check_row};

    const RULE: &str = "{subjects: [{kind: User, user: {name: a}}], nonResourceRules: [{verbs: ['*'], nonResourceURLs: \
        [/healthz]}]}";

    #[test]
    fn precedence_is_within_bounds() {
        check_defaults(&FLOW_SCHEMA, "{spec: {matchingPrecedence: 0}}", "{spec: {matchingPrecedence: 1000}}");
        for (number, fault) in [
            (-1, "must be a positive value"),
            (1, "only the schema named 'exempt' may have matchingPrecedence 1"),
            (10_001, "must not be greater than 10000"),
        ] {
            check(
                &FLOW_SCHEMA,
                &format!("{{spec: {{matchingPrecedence: {number}, priorityLevelConfiguration: {{name: a}}}}}}"),
                &[&format!("spec.matchingPrecedence: Invalid value: {number}: {fault}")],
            );
        }
    }

    #[test]
    fn rules_name_subjects_and_what_they_do() {
        check(&FLOW_SCHEMA, &format!("{{spec: {{priorityLevelConfiguration: {{name: a}}, rules: [{RULE}]}}}}"), &[]);
        check(
            &FLOW_SCHEMA,
            "{spec: {rules: [{}], distinguisherMethod: {type: ByHeight}}}",
            &[
                "spec.distinguisherMethod.type: Unsupported value: \"ByHeight\": supported values: \"ByNamespace\", \
                 \"ByUser\"",
                "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
                "spec.rules[0].subjects: Required value: subjects must contain at least one value",
                "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
            ],
        );
    }

    #[test]
    fn the_mandatory_ones_stay_as_they_are() {
        check(
            &FLOW_SCHEMA,
            "{metadata: {name: exempt}, spec: {matchingPrecedence: 1, priorityLevelConfiguration: {name: exempt}}}",
            &[
                "spec: Invalid value: {\"matchingPrecedence\":1,\"priorityLevelConfiguration\":{\"name\":\"exempt\"}}: spec \
               of 'exempt' must equal the fixed value",
            ],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &FLOW_SCHEMA,
            "{metadata: {name: a}, spec: {matchingPrecedence: 7, priorityLevelConfiguration: {name: l}, \
             distinguisherMethod: {type: ByUser}}, status: {conditions: [{type: Dangling, status: 'False'}]}}",
            "a | l | 7 | ByUser | <unknown> | False",
        );
        check_row(
            &FLOW_SCHEMA,
            "{metadata: {name: a}, spec: {matchingPrecedence: 7, priorityLevelConfiguration: {name: l}}}",
            "a | l | 7 | <none> | <unknown> | ?",
        );
    }
}
