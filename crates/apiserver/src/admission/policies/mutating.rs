//! MutatingAdmissionPolicies, asked: each sees what the ones before it changed.

use sampan_api::model::Model;
use sampan_api::patch;
use sampan_api::policy::{Expression, Mutation, check_type_names};
use sampan_api::schema;
use sampan_api::status::{Cause, Status};
use sampan_cel::{Bindings, Budget};
use serde_json::Value;

use super::subject::evaluate;
use super::{Invocation, Requester, Subject, conditions_hold, is_exempt, namespace_of, turns};
use crate::admission::Request;
use crate::admission::webhooks::{Rounds, reread};
use crate::registry::{Registry, converted};

/// The mutating policies' part of a round.
pub(in crate::admission) fn mutate(
    registry: &Registry,
    request: &Request<'_>,
    new: &mut Value,
    rounds: &mut Rounds,
) -> Result<(), Status> {
    let hooks = registry.policies.mutating.now(&registry.cache);
    if hooks.is_empty() || is_exempt(request) || new.is_null() {
        return Ok(());
    }
    rounds.begin(new);
    let mut faults = Vec::new();
    for turn in turns(&hooks, registry, request, new) {
        match turn {
            Err(fault) if fault.policy.ignores_failures => {}
            Err(fault) => {
                let binding = fault.binding.map(|binding| binding.name.as_str());
                faults.push((sentence(&fault.policy.name, binding, &fault.why), false));
            }
            Ok(invocation) => {
                let id = id(&invocation);
                if !rounds.calls((&id.0, &id.1)) {
                    continue;
                }
                let before = new.clone();
                for why in ask(&invocation, registry, request, new)? {
                    let names = (&invocation.policy.name, Some(invocation.binding.name.as_str()));
                    faults.push((sentence(names.0, names.1, &why), true));
                }
                rounds.asked((&id.0, &id.1), before != *new, invocation.policy.reinvocable);
            }
        }
    }
    rounds.end(new);
    if faults.is_empty() { Ok(()) } else { Err(refusal(request, faults)) }
}

/// What tells an invocation from all others of a request.
fn id(invocation: &Invocation<'_>) -> (String, String) {
    let text = |field: &str| invocation.params["metadata"][field].as_str().unwrap_or_default();
    (invocation.policy.name.clone(), format!("{}/{}/{}", invocation.binding.name, text("namespace"), text("name")))
}

fn sentence(policy: &str, binding: Option<&str>, why: &str) -> String {
    match binding {
        Some(binding) => format!("policy '{policy}' with binding '{binding}' denied request: {why}"),
        None => format!("policy '{policy}' denied request: {why}"),
    }
}

/// A refusal with a cause for each fault; those of expressions make it `Invalid`.
fn refusal(request: &Request<'_>, faults: Vec<(String, bool)>) -> Status {
    let mut status = request.attempt.forbidden("");
    if let Some((message, of_expression)) = faults.first() {
        status.message.clone_from(message);
        if *of_expression {
            status.reason = "Invalid".to_owned();
        }
    }
    let cause = |(message, _)| Cause { message, ..Cause::default() };
    status.with_causes(faults.into_iter().map(cause).collect())
}

/// Lets one policy change the object; answers what went wrong, if that is not to be passed over.
fn ask(
    invocation: &Invocation<'_>,
    registry: &Registry,
    request: &Request<'_>,
    new: &mut Value,
) -> Result<Vec<String>, Status> {
    let (policy, kind) = (invocation.policy, &request.attempt.kind);
    let old = converted(Subject::old_of(request), kind, &invocation.seen);
    let namespace = namespace_of(registry, request)?;
    let mut faults = Vec::new();
    let mut object = converted(new, kind, &invocation.seen);
    for (index, mutation) in policy.mutations.iter().enumerate() {
        let subject = Subject {
            object: &object,
            old: &old,
            request: request.described(&invocation.seen),
            namespace: &namespace,
            params: &invocation.params,
            rights: Requester { rights: &registry.rights, identity: &request.attempt.identity },
        };
        if index == 0 {
            match conditions_hold(&policy.conditions, &subject.bindings(&[])) {
                Ok(true) => {}
                Ok(false) => return Ok(Vec::new()),
                Err(why) => {
                    faults.push(why);
                    break;
                }
            }
        }
        match changed(mutation, &subject.bindings(&policy.variables), request, invocation, &object) {
            Ok(next) => object = next,
            Err(why) => faults.push(why),
        }
    }
    *new = converted(&object, &invocation.seen, kind);
    kind.rules().default(new);
    Ok(if policy.ignores_failures { Vec::new() } else { faults })
}

/// The object after a mutation.
fn changed(
    mutation: &Mutation,
    bindings: &Bindings<'_>,
    request: &Request<'_>,
    invocation: &Invocation<'_>,
    object: &Value,
) -> Result<Value, String> {
    let (group, version, kind) = request.gvk_seen(&invocation.seen);
    let definition = schema::of_kind(group, version, kind).filter(|_| invocation.seen.custom().is_none());
    let model = match definition {
        Some(definition) => Model::BuiltIn(definition),
        None => invocation.seen.model().map_err(|status| status.message)?,
    };
    let changed = match mutation {
        Mutation::JsonPatch(expression) => {
            let operations = made(expression, bindings)?;
            patch::json::patch(object, operations).map_err(|status| status.message)?
        }
        Mutation::Apply(expression) => {
            let configuration = made(expression, bindings)?;
            patch::apply::merged(object, &configuration, model).map_err(|why| format!("error applying patch: {why}"))?
        }
    };
    match definition {
        Some(definition) => reread(&changed, definition).map_err(|status| status.message),
        None => Ok(changed),
    }
}

/// What the expression makes, as JSON.
fn made(expression: &Expression, bindings: &Bindings<'_>) -> Result<Value, String> {
    let value = evaluate(expression, bindings, &Budget::new(Budget::OBJECT)).map_err(super::subject::Failed::text)?;
    if !matches!(value, sampan_cel::Value::List(_)) {
        check_type_names(&value).map_err(|why| format!("type mismatch: {why}"))?;
    }
    value.to_json()
}
