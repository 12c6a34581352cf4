//! The CEL rules in a definition's schemas: first their texts, then, if the schema is right, whether they compile and what
//! they can cost.

use serde_json::{Value, json};

use super::costs::{self, Costs};
use super::spec;
use crate::custom::rules::{Rule, place, type_of};
use crate::structural::Extent;
use crate::validation::Cursor;

const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// What is wrong with the rules of this part of a schema as texts.
pub(super) fn texts(schema: &Cursor<'_>) {
    for rule in schema.get("x-kubernetes-validations").items() {
        source(&rule);
        let message = rule.get("messageExpression");
        if is_blank(message.text()) {
            message.required("messageExpression must be non-empty if specified");
        }
        rule.get("reason").may_be_one_of(&REASONS);
        field_path(schema, &rule.get("fieldPath"));
    }
}

fn source(rule: &Cursor<'_>) {
    let (source, message) = (rule.get("rule"), rule.get("message"));
    if source.text().trim().is_empty() {
        source.required("rule is not specified");
    } else if is_blank(message.text()) {
        message.invalid("must be non-empty if specified");
    } else if message.text().trim().contains('\n') {
        message.invalid("must not contain line breaks");
    } else if source.text().trim().contains('\n') && message.is_empty() {
        message.required("message must be specified if rule contains line breaks");
    }
}

fn field_path(schema: &Cursor<'_>, path: &Cursor<'_>) {
    if is_blank(path.text()) {
        path.invalid("must be non-empty if specified");
    }
    if path.text().contains('\n') {
        path.invalid("must not contain line breaks");
    }
    if !path.is_empty() && place(path.text(), &spec::read(schema)).is_none() {
        path.invalid("must be a valid path");
    }
}

fn is_blank(text: &str) -> bool {
    !text.is_empty() && text.trim().is_empty()
}

/// What is wrong with the rules of a whole schema as programs.
pub(super) fn programs(root: &Cursor<'_>) {
    let mut costs = Costs::default();
    part(root, Scope { is_object: true, loose: None, times: Some(1) }, &mut costs);
    costs.judge(root);
}

/// Where in the schema rules are.
#[derive(Clone, Copy)]
struct Scope<'a> {
    /// Whether values are whole objects.
    is_object: bool,
    /// The first list above whose items cannot be told apart, so that nothing in it has an old value.
    loose: Option<&'a str>,
    /// How many values there can be in an object, if the schemas above bound that.
    times: Option<u64>,
}

fn part<'a>(schema: &Cursor<'a>, scope: Scope<'_>, costs: &mut Costs<'a>) {
    let rules = schema.get("x-kubernetes-validations");
    if !rules.is_empty() {
        compile(schema, &rules, scope, costs);
    }
    let times = scope.times.zip(costs::multiplied(schema)).map(|(times, more)| times.saturating_mul(more));
    let within = |schema: &Cursor<'_>| {
        let is_object = schema.get("x-kubernetes-embedded-resource").is_true();
        Scope { is_object, times, ..scope }
    };
    for (_, property) in schema.get("properties").entries() {
        part(&property, within(&property), costs);
    }
    let (items, additional) = (schema.get("items"), schema.get("additionalProperties"));
    if items.value().is_object() {
        let place = (schema.get("x-kubernetes-list-type").text() != "map").then(|| schema.place());
        part(&items, Scope { loose: scope.loose.or(place.as_deref()), ..within(&items) }, costs);
    }
    if additional.value().is_object() {
        part(&additional, within(&additional), costs);
    }
}

fn compile<'a>(schema: &Cursor<'a>, rules: &Cursor<'a>, scope: Scope<'_>, costs: &mut Costs<'a>) {
    let read = spec::read(schema);
    let (Some(ty), Some(extent)) = (type_of(&read, scope.is_object), Extent::of(&read, scope.is_object)) else {
        return rules.internal("internal error: failed to retrieve type information for x-kubernetes-validations");
    };
    let times = scope.times.unwrap_or_else(|| extent.per_request());
    for rule in rules.items() {
        let (compiled, source) = (Rule::compile(rule.value(), &read, &ty), rule.get("rule"));
        let estimate = Rule::estimate(rule.value(), &ty, &extent);
        costs.add(rule.get("rule"), "estimated rule cost", estimate.rule.saturating_mul(times));
        if let Err(text) = &compiled.program {
            source.invalid_as(shown(&rule), text);
        }
        match &compiled.message_program {
            Some(Err(text)) => rule.get("messageExpression").invalid_as(shown(&rule), text),
            Some(Ok(_)) => {
                costs.add(rule.get("messageExpression"), "estimated messageExpression cost", estimate.message);
            }
            None => {}
        }
        let optional = rule.get("optionalOldSelf");
        if !compiled.is_transition && optional.is_set() {
            optional.invalid("may not be set if oldSelf is not used in rule");
        }
        if let Some(place) = scope.loose.filter(|_| compiled.is_transition) {
            let text = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {place}");
            source.invalid(text);
        }
    }
}

/// A rule as faults show it: with the names of upstream's own form.
fn shown(rule: &Cursor<'_>) -> Value {
    json!({
        "Rule": rule.get("rule").text(), "Message": rule.get("message").text(),
        "MessageExpression": rule.get("messageExpression").text(), "Reason": rule.get("reason").value(),
        "FieldPath": rule.get("fieldPath").text(), "OptionalOldSelf": rule.get("optionalOldSelf").value(),
    })
}
