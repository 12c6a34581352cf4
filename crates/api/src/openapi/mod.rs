//! OpenAPI documents of the served kinds: version 2 (JSON and protobuf) and version 3 (one document per group version).
//!
//! They are made from the schema tables and the kinds' descriptions each time someone asks, and not kept: callers may
//! cache the bytes. [`routes`] lists what can be done on which path, [`schemas`] the types; both are then written in
//! the words of either version. Start at [`v2()`], [`v2_protobuf`] and [`V3`].

mod custom;
mod parameters;
mod protobuf;
mod routes;
mod schemas;
mod v2;
mod v3;

use serde_json::{Map, Value};

use crate::kind::KindRef;

pub use v3::V3;

/// The whole API as an OpenAPI version 2 document; `release` is the version of Kubernetes it states.
pub fn v2(kinds: &[KindRef], release: &str) -> Value {
    v2::document(kinds, release)
}

/// The same in the protobuf form of gnostic (`application/com.github.proto-openapi.spec.v2@v1.0+protobuf`), the only
/// form that kubectl before 1.27 asks for.
pub fn v2_protobuf(document: &Value) -> Vec<u8> {
    protobuf::encode(document)
}

/// Which of the two versions is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    V2,
    V3,
}

/// A JSON object of these fields.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

/// What a document says at a path, in the words of either version.
fn path_item(
    route: &routes::Route,
    operation: impl Fn(&routes::Operation) -> Value,
    parameter: impl Fn(&parameters::Parameter) -> Value,
) -> Value {
    let operations = route.operations.iter().map(|one| (one.method.to_owned(), operation(one)));
    let mut item: Map<String, Value> = operations.collect();
    if !route.parameters.is_empty() {
        item.insert("parameters".to_owned(), route.parameters.iter().map(parameter).collect());
    }
    Value::Object(item)
}

/// `x-kubernetes-action` and `x-kubernetes-group-version-kind` of an operation on a kind.
fn put_action(operation: &mut Value, action: routes::Action) {
    operation["x-kubernetes-action"] = action.verb.into();
    operation["x-kubernetes-group-version-kind"] = gvk(action.gvk);
}

/// `x-kubernetes-group-version-kind` of one kind.
fn gvk((group, version, kind): (&str, &str, &str)) -> Value {
    object([("group", group.into()), ("version", version.into()), ("kind", kind.into())])
}

#[cfg(test)]
mod tests;
