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
    walk(root, Scope::ROOT, &mut compile);
}

/// Whether the rules of a whole schema cost too much by estimate.
pub(super) fn costs(root: &Cursor<'_>) {
    let mut costs = Costs::default();
    walk(root, Scope::ROOT, &mut |schema, rules, scope| estimate(schema, rules, scope, &mut costs));
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

impl Scope<'_> {
    const ROOT: Self = Self { is_object: true, loose: None, times: Some(1) };
}

/// Shows `visit` each part of the schema that has rules, with them.
fn walk<'a>(schema: &Cursor<'a>, scope: Scope<'_>, visit: &mut impl FnMut(&Cursor<'a>, &Cursor<'a>, Scope<'_>)) {
    let rules = schema.get("x-kubernetes-validations");
    if !rules.is_empty() {
        visit(schema, &rules, scope);
    }
    let times = scope.times.zip(costs::multiplied(schema)).map(|(times, more)| times.saturating_mul(more));
    let within = |schema: &Cursor<'_>| {
        let is_object = schema.get("x-kubernetes-embedded-resource").is_true();
        Scope { is_object, times, ..scope }
    };
    for (_, property) in schema.get("properties").entries() {
        walk(&property, within(&property), visit);
    }
    let (items, additional) = (schema.get("items"), schema.get("additionalProperties"));
    if items.value().is_object() {
        let place = (schema.get("x-kubernetes-list-type").text() != "map").then(|| schema.place());
        walk(&items, Scope { loose: scope.loose.or(place.as_deref()), ..within(&items) }, visit);
    }
    if additional.value().is_object() {
        walk(&additional, within(&additional), visit);
    }
}

fn compile(schema: &Cursor<'_>, rules: &Cursor<'_>, scope: Scope<'_>) {
    let read = spec::read(schema);
    let Some(ty) = type_of(&read, scope.is_object) else {
        return rules.internal("internal error: failed to retrieve type information for x-kubernetes-validations");
    };
    for rule in rules.items() {
        let (compiled, source) = (Rule::compile(rule.value(), &read, &ty), rule.get("rule"));
        if let Err(text) = &compiled.program {
            source.invalid_as(shown(&rule), text);
        }
        if let Some(Err(text)) = &compiled.message_program {
            rule.get("messageExpression").invalid_as(shown(&rule), text);
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

/// Counts the rules in. Of what has no type and of what does not compile it has been told elsewhere.
fn estimate<'a>(schema: &Cursor<'a>, rules: &Cursor<'a>, scope: Scope<'_>, costs: &mut Costs<'a>) {
    let read = spec::read(schema);
    let (Some(ty), Some(extent)) = (type_of(&read, scope.is_object), Extent::of(&read, scope.is_object)) else {
        return;
    };
    let times = scope.times.unwrap_or_else(|| extent.per_request());
    for rule in rules.items() {
        let estimate = Rule::estimate(rule.value(), &ty, &extent);
        costs.add(rule.get("rule"), "estimated rule cost", estimate.rule.saturating_mul(times));
        costs.add(rule.get("messageExpression"), "estimated messageExpression cost", estimate.message);
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
