//! Priority: a Pod's class becomes a number and a policy; only one class is everybody's default.

use sampan_api::status::Status;
use serde_json::Value;

use super::{Operation, Plugin, Request};
use crate::registry::Registry;

const GROUP: &str = "scheduling.k8s.io";

pub(super) struct Priority;

impl Plugin for Priority {
    fn mutate(&self, registry: &Registry, request: &Request<'_>, new: &mut Value) -> Result<(), Status> {
        match request.old {
            None if request.creates_pod() => establish(registry, request, new),
            Some(old) if request.operation == Operation::Update && request.is_about("", "pods") => {
                keep(&mut new["spec"], &old["spec"]);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn validate(&self, registry: &Registry, request: &Request<'_>, new: &Value) -> Result<(), Status> {
        if !request.is_about(GROUP, "priorityclasses") || new["globalDefault"] != true {
            return Ok(());
        }
        match default_class(registry) {
            Some(other) if other["metadata"]["name"] != request.attempt.name.as_str() => {
                let name = other["metadata"]["name"].as_str().unwrap_or_default();
                let why = format!("PriorityClass {name} is already marked as default. Only one default can exist");
                Err(request.attempt.forbidden(&why))
            }
            _ => Ok(()),
        }
    }
}

/// The number that a Pod got when it was made stays, also with clients that do not send it back.
fn keep(new: &mut Value, old: &Value) {
    for field in ["priority", "preemptionPolicy"] {
        if new[field].is_null() && !old[field].is_null() {
            new[field] = old[field].clone();
        }
    }
}

fn establish(registry: &Registry, request: &Request<'_>, pod: &mut Value) -> Result<(), Status> {
    let attempt = request.attempt;
    let spec = &mut pod["spec"];
    let name = spec["priorityClassName"].as_str().unwrap_or_default();
    let class = match name {
        "" => default_class(registry),
        name => {
            let missing = || attempt.forbidden(&format!("no PriorityClass with name {name} was found"));
            Some(registry.peek(GROUP, "PriorityClass", "", name).ok_or_else(missing)?)
        }
    };
    let (number, policy) = match &class {
        Some(class) => (class["value"].as_i64().unwrap_or(0), class["preemptionPolicy"].as_str()),
        None => (0, None),
    };
    if spec["priority"].as_i64().is_some_and(|given| given != number) {
        return Err(attempt.forbidden(&format!(
            "the integer value of priority ({}) must not be provided in pod spec; priority admission controller \
             computed {number} from the given PriorityClass name",
            spec["priority"]
        )));
    }
    let policy = policy.unwrap_or("PreemptLowerPriority");
    if let Some(given) = spec["preemptionPolicy"].as_str().filter(|given| *given != policy) {
        return Err(attempt.forbidden(&format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        )));
    }
    if let Some(class) = &class {
        spec["priorityClassName"] = class["metadata"]["name"].clone();
    }
    spec["priority"] = number.into();
    spec["preemptionPolicy"] = policy.into();
    Ok(())
}

/// The class of Pods that name none; of several the lowest, as upstream has it.
fn default_class(registry: &Registry) -> Option<Value> {
    let classes = registry.peek_all(GROUP, "PriorityClass", "").into_iter();
    classes.filter(|class| class["globalDefault"] == true).min_by_key(|class| class["value"].as_i64())
}
