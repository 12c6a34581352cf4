//! The CEL rules in a definition's schemas: first their texts, then, if the schema is right, whether they compile.

use serde_json::{Value, json};

use super::spec;
use crate::custom::rules::{Rule, place, type_of};
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
    part(root, true, None);
}

/// `loose` is the first list above whose items cannot be told apart, so that nothing in it has an old value.
fn part(schema: &Cursor<'_>, is_object: bool, loose: Option<&str>) {
    let rules = schema.get("x-kubernetes-validations");
    if !rules.is_empty() {
        compile(schema, &rules, is_object, loose);
    }
    let is_embedded = |schema: &Cursor<'_>| schema.get("x-kubernetes-embedded-resource").is_true();
    for (_, property) in schema.get("properties").entries() {
        part(&property, is_embedded(&property), loose);
    }
    let (items, additional) = (schema.get("items"), schema.get("additionalProperties"));
    if items.value().is_object() {
        let place = (schema.get("x-kubernetes-list-type").text() != "map").then(|| schema.place());
        part(&items, is_embedded(&items), loose.or(place.as_deref()));
    }
    if additional.value().is_object() {
        part(&additional, is_embedded(&additional), loose);
    }
}

fn compile(schema: &Cursor<'_>, rules: &Cursor<'_>, is_object: bool, loose: Option<&str>) {
    let read = spec::read(schema);
    let Some(ty) = type_of(&read, is_object) else {
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
        if let Some(place) = loose.filter(|_| compiled.is_transition) {
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
