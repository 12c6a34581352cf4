//! The parameters that a binding hands to its policy: objects of any kind, by name or by selector.

use sampan_api::kind::{KindRef, Scope};
use sampan_api::policy::Policy;
use sampan_api::selector::Selector;
use serde_json::Value;

use crate::admission::Request;
use crate::cache::Filter;
use crate::registry::{Registry, serve};

/// The parameter objects; one null if the policy wants none. An error is a sentence for whoever reads the refusal.
pub(super) fn collect(
    policy: &Policy,
    reference: &Value,
    registry: &Registry,
    request: &Request<'_>,
) -> Result<Vec<Value>, String> {
    let Some(wanted) = &policy.param_kind else { return Ok(vec![Value::Null]) };
    if !reference.is_object() {
        return Ok(vec![Value::Null]);
    }
    let kind = kind_of(registry, wanted)
        .ok_or_else(|| format!("paramKind kind `{}, Kind={}` not known", wanted.0, wanted.1))?;
    let namespace = namespace(&kind, reference, request)?;
    let found = find(registry, &kind, &namespace, reference)?;
    if found.is_empty() && reference["parameterNotFoundAction"] == "Deny" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(found)
}

fn kind_of(registry: &Registry, (api_version, name): &(String, String)) -> Option<KindRef> {
    let served = registry.catalog.served();
    served.kinds.iter().find(|kind| kind.api_version() == *api_version && kind.kind == name.as_str()).cloned()
}

fn namespace(kind: &KindRef, reference: &Value, request: &Request<'_>) -> Result<String, String> {
    let named = reference["namespace"].as_str().unwrap_or_default();
    let why = match (kind.scope, named, request.attempt.namespace.as_str()) {
        (Scope::Cluster, "", _) => return Ok(String::new()),
        (Scope::Cluster, ..) => "paramRef.namespace must not be provided for a cluster-scoped `paramKind`",
        (Scope::Namespaced, "", "") => {
            "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
        }
        (Scope::Namespaced, "", own) => return Ok(own.to_owned()),
        (Scope::Namespaced, named, _) => return Ok(named.to_owned()),
    };
    Err(why.to_owned())
}

fn find(registry: &Registry, kind: &KindRef, namespace: &str, reference: &Value) -> Result<Vec<Value>, String> {
    let room = registry.cache.room(kind).map_err(|status| status.message)?;
    if let Some(name) = reference["name"].as_str().filter(|name| !name.is_empty()) {
        let key = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
        return Ok(room.get(&key).map(|object| serve(kind, object.value())).into_iter().collect());
    }
    let selector = Selector::from_object(&reference["selector"]).map_err(|error| error.to_string())?;
    let (objects, _) = room.snapshot(&Filter::of_namespace(namespace));
    let chosen = objects.iter().filter(|object| selector.matches(&object.labels));
    Ok(chosen.map(|object| serve(kind, object.value())).collect())
}
