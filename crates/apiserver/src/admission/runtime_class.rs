//! RuntimeClass: a Pod gets the overhead, the node selector and the tolerations of the class it names.

use sampan_api::amounts;
use sampan_api::status::Status;
use serde_json::{Value, json};

use super::{Plugin, Request};
use crate::registry::Registry;

pub(super) struct RuntimeClass;

impl Plugin for RuntimeClass {
    fn mutate(&self, registry: &Registry, request: &Request<'_>, new: &mut Value) -> Result<(), Status> {
        if !request.creates_pod() {
            return Ok(());
        }
        let Some(class) = class(registry, request, new)? else { return Ok(()) };
        let overhead = &class["overhead"]["podFixed"];
        if !overhead.is_null() {
            if has_overhead(new) && !same_amounts(&new["spec"]["overhead"], overhead) {
                return Err(request.attempt.forbidden(UNEQUAL));
            }
            new["spec"]["overhead"] = overhead.clone();
        }
        select_nodes(request, &class["scheduling"]["nodeSelector"], &mut new["spec"])?;
        tolerate(&class["scheduling"]["tolerations"], &mut new["spec"]);
        Ok(())
    }

    fn validate(&self, registry: &Registry, request: &Request<'_>, new: &Value) -> Result<(), Status> {
        if !request.creates_pod() {
            return Ok(());
        }
        let class = class(registry, request, new)?;
        let overhead = class.map(|mut class| class["overhead"]["podFixed"].take()).unwrap_or_default();
        if overhead.is_null() && has_overhead(new) {
            let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            return Err(request.attempt.forbidden(why));
        }
        if !same_amounts(&new["spec"]["overhead"], &overhead) {
            return Err(request.attempt.forbidden(UNEQUAL));
        }
        Ok(())
    }
}

const UNEQUAL: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

fn class(registry: &Registry, request: &Request<'_>, pod: &Value) -> Result<Option<Value>, Status> {
    let Some(name) = pod["spec"]["runtimeClassName"].as_str() else { return Ok(None) };
    let missing = || request.attempt.forbidden(&format!("pod rejected: RuntimeClass \"{name}\" not found"));
    registry.peek("node.k8s.io", "RuntimeClass", "", name).ok_or_else(missing).map(Some)
}

fn has_overhead(pod: &Value) -> bool {
    pod["spec"]["overhead"].as_object().is_some_and(|overhead| !overhead.is_empty())
}

fn same_amounts(one: &Value, other: &Value) -> bool {
    amounts::read(one) == amounts::read(other)
}

fn select_nodes(request: &Request<'_>, wanted: &Value, spec: &mut Value) -> Result<(), Status> {
    for (key, value) in wanted.as_object().into_iter().flatten() {
        let own = &spec["nodeSelector"][key];
        if !own.is_null() && own != value {
            let (value, own) = (value.as_str().unwrap_or_default(), own.as_str().unwrap_or_default());
            return Err(request.attempt.forbidden(&format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {own}"
            )));
        }
        spec["nodeSelector"][key] = value.clone();
    }
    Ok(())
}

fn tolerate(more: &Value, spec: &mut Value) {
    for toleration in more.as_array().into_iter().flatten() {
        if !spec["tolerations"].is_array() {
            spec["tolerations"] = json!([]);
        }
        if let Some(own) = spec["tolerations"].as_array_mut().filter(|own| !own.contains(toleration)) {
            own.push(toleration.clone());
        }
    }
}
