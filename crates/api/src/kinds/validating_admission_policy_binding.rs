//! ValidatingAdmissionPolicyBinding: puts a ValidatingAdmissionPolicy in force, with parameters and for a selection of requests.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, fill, read};
use crate::field;
use crate::kind::{Column, Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, check, policy as shared};

/// `validatingadmissionpolicybindings.admissionregistration.k8s.io`
pub static VALIDATING_ADMISSION_POLICY_BINDING: Kind = Kind {
    group: "admissionregistration.k8s.io",
    version: "v1",
    kind: "ValidatingAdmissionPolicyBinding",
    plural: "validatingadmissionpolicybindings",
    singular: "validatingadmissionpolicybinding",
    short_names: &[],
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
    storage: "validatingadmissionpolicybindings",
    columns: COLUMNS,
    rules: &BindingRules(validation_actions),
};

pub(super) const COLUMNS: &[Column] = &[cells::NAME, cells::text("PolicyName"), cells::text("ParamRef"), cells::AGE];

/// The rules for the bindings of both sorts of policies: what they share, and what a sort has beside that.
pub(super) struct BindingRules(pub(super) fn(&Cursor<'_>));

impl Rules for BindingRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", |spec| shared::default_match_resources(spec, "matchResources"));
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |binding| {
            let spec = binding.get("spec");
            shared::binding(&spec);
            self.0(&spec);
        })
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            cells::name(object),
            read::text(object, "/spec/policyName").into(),
            param_ref_cell(object).into(),
            cells::age(object, now),
        ]
    }

    fn updates_say_version(&self) -> bool {
        true
    }
}

/// The parameters that a binding refers to, as tables show them.
fn param_ref_cell(object: &Value) -> String {
    let reference = &object["spec"]["paramRef"];
    match (reference["namespace"].as_str(), reference["name"].as_str()) {
        (None, None) if reference["selector"].is_object() => go_selector(&reference["selector"]),
        (None, None) if reference.is_object() => "*".to_owned(),
        (None, None) => "<unset>".to_owned(),
        (Some(namespace), name) => format!("{namespace}/{}", name.unwrap_or("*")),
        (None, Some(name)) => name.to_owned(),
    }
}

/// A label selector as upstream's tables show it here: as Go prints the struct.
fn go_selector(selector: &Value) -> String {
    let labels = read::map(selector, "/matchLabels").into_iter().flatten();
    let labels = labels.map(|(name, value)| format!("{name}: {},", value.as_str().unwrap_or_default()));
    let expression = |expression: &Value| {
        let text = |name: &str| read::text(expression, name);
        let values = read::texts(expression, "/values").join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", text("/key"), text("/operator"))
    };
    let expressions = read::list(selector, "/matchExpressions").iter().map(expression);
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{}}},MatchExpressions:[]LabelSelectorRequirement{{{}}},}}",
        labels.collect::<String>(),
        expressions.collect::<String>()
    )
}

fn validation_actions(spec: &Cursor<'_>) {
    let actions = spec.get("validationActions");
    if actions.is_empty() {
        return actions.required("at least one validation action is required");
    }
    let mut known = Vec::new();
    for action in actions.items() {
        action.may_be_one_of(&["Audit", "Deny", "Warn"]);
        if known.contains(&action.text()) {
            action.duplicate();
        }
        known.push(action.text());
    }
    if known.contains(&"Deny") && known.contains(&"Warn") {
        actions.invalid(
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response and \
             headers serves no purpose)",
        );
    }
}
