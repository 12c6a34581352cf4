//! ValidatingAdmissionPolicy: demands, written in CEL, that requests must meet where a binding puts it in force.
//!
//! Its status says what its expressions get wrong about the kinds they are for. It follows from the specification alone,
//! so it is there as soon as the policy is.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{cells, fill, read, subresources};
use crate::field;
use crate::kind::{Column, Kind, NameRule, Rules, Scope, Subresource, Verbs};
use crate::policy;
use crate::validation::{Cursor, check, policy as shared};

/// `validatingadmissionpolicies.admissionregistration.k8s.io`
pub static VALIDATING_ADMISSION_POLICY: Kind = Kind {
    group: "admissionregistration.k8s.io",
    version: "v1",
    kind: "ValidatingAdmissionPolicy",
    plural: "validatingadmissionpolicies",
    singular: "validatingadmissionpolicy",
    short_names: &[],
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: SUBRESOURCES,
    schema: "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
    storage: "validatingadmissionpolicies",
    columns: COLUMNS,
    rules: &ValidatingAdmissionPolicyRules,
};

const SUBRESOURCES: &[Subresource] =
    &[subresources::status(("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy"))];
const COLUMNS: &[Column] = &[cells::NAME, cells::number("Validations"), cells::text("ParamKind"), cells::AGE];

struct ValidatingAdmissionPolicyRules;

impl Rules for ValidatingAdmissionPolicyRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", |spec| {
            fill::absent(spec, "failurePolicy", "Fail");
            shared::default_match_resources(spec, "matchConstraints");
        });
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = status(object, 1);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
        if new["spec"] != old["spec"] {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or_default() + 1;
            let conditions = new["status"]["conditions"].take();
            new["status"] = status(new, generation);
            if !conditions.is_null() {
                new["status"]["conditions"] = conditions;
            }
        }
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |policy| faults(&policy.get("spec")))
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            cells::name(object),
            read::list(object, "/spec/validations").len().into(),
            param_kind_cell(object).into(),
            cells::age(object, now),
        ]
    }

    fn updates_say_version(&self) -> bool {
        true
    }
}

fn status(policy: &Value, generation: i64) -> Value {
    let warnings = policy::expression_warnings(policy);
    let checked = if warnings.is_empty() { json!({}) } else { json!({ "expressionWarnings": warnings }) };
    json!({ "observedGeneration": generation, "typeChecking": checked })
}

/// The kind of parameters that a policy wants, as tables show it.
pub(super) fn param_kind_cell(object: &Value) -> String {
    match (read::text(object, "/spec/paramKind/apiVersion"), read::text(object, "/spec/paramKind/kind")) {
        ("", "") => "<unset>".to_owned(),
        (version, kind) => format!("{version}/{kind}"),
    }
}

fn faults(spec: &Cursor<'_>) {
    shared::policy(spec);
    policy::faults(spec);
    if spec.get("validations").is_empty() && spec.get("auditAnnotations").is_empty() {
        let why = "validations or auditAnnotations must be non-empty; neither specified";
        spec.get("validations").required(why);
        spec.get("auditAnnotations").required(why);
    }
}

#[cfg(test)]
mod tests {
    use super::VALIDATING_ADMISSION_POLICY;
    use crate::kinds::testing::check;

    const SPEC: &str = "failurePolicy: Fail, matchConstraints: {namespaceSelector: {}, objectSelector: {}, resourceRules: \
                        [{operations: [CREATE], apiGroups: [''], apiVersions: [v1], resources: [pods]}]}";

    fn faults(rest: &str, want: &[&str]) {
        check(&VALIDATING_ADMISSION_POLICY, &format!("{{spec: {{{SPEC}, {rest}}}}}"), want);
    }

    #[test]
    fn expressions_compile() {
        faults(
            "validations: [{expression: 'object.spec.replicas < 5', messageExpression: '\"x\" + object.kind'}]",
            &[],
        );
        faults(
            "variables: [{name: a, expression: '1'}, {name: b, expression: 'variables.a + 1'}], \
             validations: [{expression: 'variables.b == 2'}]",
            &[],
        );
        faults(
            "validations: [{expression: 'nothing'}, {expression: '1'}, {expression: 'true', reason: No}]",
            &[
                "spec.validations[0].expression: Invalid value: \"nothing\": compilation failed: ERROR: <input>:1:1: undeclared \
                 reference to 'nothing' (in container '')\n | nothing\n | ^",
                "spec.validations[1].expression: Invalid value: \"1\": must evaluate to bool",
                "spec.validations[2].reason: Unsupported value: \"No\": supported values: \"Forbidden\", \"Invalid\", \
                 \"RequestEntityTooLarge\", \"Unauthorized\"",
            ],
        );
        faults(
            "",
            &[
                "spec.validations: Required value: validations or auditAnnotations must be non-empty; neither specified",
                "spec.auditAnnotations: Required value: validations or auditAnnotations must be non-empty; neither specified",
            ],
        );
    }
}
