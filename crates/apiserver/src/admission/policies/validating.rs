//! ValidatingAdmissionPolicies, asked: refusals, warnings, audit annotations.

use std::collections::BTreeMap;

use sampan_api::policy::{Policy, Validation};
use sampan_api::status::{Cause, Status};
use sampan_cel::{Bindings, Budget, Value as Cel};
use serde_json::{Value, json};

use super::subject::{Failed, evaluate};
use super::{Binding, Invocation, Misconfigured, Requester, Subject, conditions_hold, is_exempt, namespace_of, turns};
use crate::admission::Request;
use crate::notes::Notes;
use crate::registry::{Registry, converted};

/// Longest message that an expression may make.
const MAX_MESSAGE_BYTES: usize = 5 * 1024;
/// Longest value of an audit annotation.
const MAX_ANNOTATION_BYTES: usize = 10 * 1024;
/// Where failures of bindings with the action `Audit` are noted.
const FAILURE_KEY: &str = "validation.policy.admission.k8s.io/validation_failure";

/// What one validation says against a request.
struct Objection {
    /// Which of the policy's validations.
    index: usize,
    message: String,
    /// Empty for `Invalid`.
    reason: String,
}

/// What a policy says.
#[derive(Default)]
struct Verdict {
    objections: Vec<Objection>,
    annotations: Vec<(String, String)>,
    /// What is wrong with annotations; refused whatever the binding's actions.
    faults: Vec<String>,
}

/// Asks all policies that the request concerns.
pub(in crate::admission) fn validate(registry: &Registry, request: &Request<'_>, new: &Value) -> Result<(), Status> {
    let hooks = registry.policies.validating.now(&registry.cache);
    if hooks.is_empty() || is_exempt(request) {
        return Ok(());
    }
    let mut denied = None;
    let mut annotations: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for turn in turns(&hooks, registry, request, new) {
        let refusal = match turn {
            Err(misconfigured) => refuse_misconfigured(misconfigured),
            Ok(invocation) => {
                let verdict = ask(&invocation, registry, request, new)?;
                for (key, value) in &verdict.annotations {
                    let values = annotations.entry(format!("{}/{key}", invocation.policy.name)).or_default();
                    if !values.contains(value) {
                        values.push(value.clone());
                    }
                }
                carry_out(&invocation, verdict, &request.attempt.notes)
            }
        };
        denied = denied.or(refusal);
    }
    for (key, values) in annotations {
        request.attempt.notes.annotate(key, values.join(", "));
    }
    denied.map_or(Ok(()), |(message, reason)| Err(refusal(request, message, &reason)))
}

fn refuse_misconfigured(fault: Misconfigured<'_>) -> Option<(String, String)> {
    if fault.policy.ignores_failures {
        return None;
    }
    Some((sentence(fault.policy, fault.binding, &fault.why), String::new()))
}

fn sentence(policy: &Policy, binding: Option<&Binding>, why: &str) -> String {
    let with = binding.map(|binding| format!(" with binding '{}'", binding.name)).unwrap_or_default();
    format!("ValidatingAdmissionPolicy '{}'{with} denied request: {why}", policy.name)
}

fn refusal(request: &Request<'_>, message: String, reason: &str) -> Status {
    let (reason, code) = match reason {
        "Unauthorized" => ("Unauthorized", 401),
        "Forbidden" => ("Forbidden", 403),
        "RequestEntityTooLarge" => ("RequestEntityTooLarge", 413),
        _ => ("Invalid", 422),
    };
    let mut status = request.attempt.forbidden(&message);
    status.code = code;
    status.reason = reason.to_owned();
    status.with_causes(vec![Cause { message, ..Cause::default() }])
}

/// Asks one policy.
fn ask(
    invocation: &Invocation<'_>,
    registry: &Registry,
    request: &Request<'_>,
    new: &Value,
) -> Result<Verdict, Status> {
    let (policy, kind) = (invocation.policy, &request.attempt.kind);
    let (object, old) =
        (converted(new, kind, &invocation.seen), converted(Subject::old_of(request), kind, &invocation.seen));
    let namespace = namespace_of(registry, request)?;
    let subject = Subject {
        object: &object,
        old: &old,
        request: request.described(&invocation.seen),
        namespace: &namespace,
        params: &invocation.params,
        rights: Requester { rights: &registry.rights, identity: &request.attempt.identity },
    };
    match conditions_hold(&policy.conditions, &subject.bindings(&[])) {
        Ok(true) => Ok(verdict(policy, &subject.bindings(&policy.variables))),
        Ok(false) => Ok(Verdict::default()),
        Err(why) => Ok(failed(policy, why)),
    }
}

/// The verdict of a policy that could not be evaluated as a whole.
fn failed(policy: &Policy, why: String) -> Verdict {
    let objection = Objection { index: 0, message: why, reason: String::new() };
    Verdict { objections: if policy.ignores_failures { vec![] } else { vec![objection] }, ..Verdict::default() }
}

fn verdict(policy: &Policy, bindings: &Bindings<'_>) -> Verdict {
    let budget = Budget::new(Budget::OBJECT);
    let mut verdict = Verdict::default();
    for (index, validation) in policy.validations.iter().enumerate() {
        let (message, reason) = match evaluate(&validation.expression, bindings, &budget) {
            Ok(value) if value.as_bool() == Some(true) => continue,
            Ok(_) => (message(validation, bindings, &budget), validation.reason.clone()),
            Err(Failed::OutOfBudget(text)) => return failed(policy, text),
            Err(Failed::Alone(_)) if policy.ignores_failures => continue,
            Err(Failed::Alone(text)) => (text, String::new()),
        };
        verdict.objections.push(Objection { index, message, reason });
    }
    annotate(policy, bindings, &mut verdict);
    verdict
}

/// What to say about a validation that is not true.
fn message(validation: &Validation, bindings: &Bindings<'_>, budget: &Budget) -> String {
    let made = validation.message_expression.as_ref().and_then(|expression| {
        let value = evaluate(expression, bindings, budget).ok()?;
        let text = value.as_str()?.trim().to_owned();
        Some(text).filter(|text| !text.is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains('\n'))
    });
    let plain = || Some(validation.message.trim().to_owned()).filter(|text| !text.is_empty());
    made.or_else(plain).unwrap_or_else(|| format!("failed expression: {}", validation.expression.source.trim()))
}

fn annotate(policy: &Policy, bindings: &Bindings<'_>, verdict: &mut Verdict) {
    let budget = Budget::new(Budget::OBJECT);
    for annotation in &policy.audit_annotations {
        match evaluate(&annotation.expression, bindings, &budget) {
            Ok(Cel::String(text)) => {
                let text = text.trim();
                if !text.is_empty() {
                    let end = text.floor_char_boundary(MAX_ANNOTATION_BYTES);
                    verdict.annotations.push((annotation.name.clone(), text[..end].to_owned()));
                }
            }
            Ok(Cel::Null) => {}
            Ok(other) => verdict.faults.push(format!(
                "valueExpression '{}' resulted in unsupported return type: {}. Return type must be either string or null.",
                annotation.expression.source,
                other.type_name()
            )),
            Err(_) if policy.ignores_failures => {}
            Err(failed) => verdict.faults.push(failed.text()),
        }
    }
}

/// Warns and notes as the binding says; answers message and reason of the first refusal.
fn carry_out(invocation: &Invocation<'_>, verdict: Verdict, notes: &Notes) -> Option<(String, String)> {
    let Invocation { policy, binding, .. } = invocation;
    let mut denied = None;
    for objection in verdict.objections {
        for action in &binding.actions {
            match action.as_str() {
                "Deny" if denied.is_none() => {
                    denied = Some((sentence(policy, Some(binding), &objection.message), objection.reason.clone()));
                }
                "Warn" => notes.warn(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                    policy.name, binding.name, objection.message
                )),
                "Audit" => notes.annotate(FAILURE_KEY, failure_note(invocation, &objection)),
                _ => {}
            }
        }
    }
    let fault = verdict.faults.first().map(|fault| (sentence(policy, Some(binding), fault), String::new()));
    denied.or(fault)
}

fn failure_note(invocation: &Invocation<'_>, objection: &Objection) -> String {
    let note = json!([{
        "message": objection.message,
        "policy": invocation.policy.name,
        "binding": invocation.binding.name,
        "expressionIndex": objection.index,
        "validationActions": invocation.binding.actions,
    }]);
    note.to_string()
}
