//! Version 2, also known as Swagger.

use serde_json::{Map, Value, json};

use super::parameters::{PRETTY, Parameter};
use super::routes::{self, Answer, Body, Operation, PRODUCES, Route};
use super::schemas::{Schemas, list_name};
use super::{Dialect, gvk, object};
use crate::kind::KindRef;
use crate::schema;

/// The document of all kinds.
pub(super) fn document(kinds: &[KindRef], release: &str) -> Value {
    let schemas = Schemas::new(Dialect::V2);
    let routes = kinds.iter().flat_map(routes::of_kind);
    let paths: Map<String, Value> = routes.map(|route| (route.path.clone(), path_item(&route, &schemas))).collect();
    object([
        ("swagger", "2.0".into()),
        ("info", json!({"title": "Kubernetes", "version": release})),
        ("paths", Value::Object(paths)),
        ("definitions", Value::Object(schemas.all(schema::all().iter().map(|definition| definition.name), kinds))),
        (
            "securityDefinitions",
            json!({"BearerToken": {
                "description": "Bearer Token authentication", "type": "apiKey", "name": "authorization", "in": "header",
            }}),
        ),
        ("security", json!([{"BearerToken": []}])),
    ])
}

fn path_item(route: &Route, schemas: &Schemas) -> Value {
    let mut item: Map<String, Value> = route
        .operations
        .iter()
        .map(|operation| (operation.method.to_owned(), self::operation(operation, schemas)))
        .collect();
    let parameters: Vec<Value> = route.parameters.iter().chain([&PRETTY]).map(parameter).collect();
    item.insert("parameters".to_owned(), parameters.into());
    Value::Object(item)
}

fn operation(operation: &Operation, schemas: &Schemas) -> Value {
    let answer = match operation.answer {
        Answer::Object(definition) => schemas.reference(definition),
        Answer::List(item) => schemas.reference(&list_name(item)),
        Answer::Text => json!({"type": "string"}),
    };
    let status = |status: &u16| (status.to_string(), json!({"description": phrase(*status), "schema": answer}));
    let mut responses: Map<String, Value> = operation.statuses.iter().map(status).collect();
    responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
    let (body, consumes): (Option<Value>, &[&str]) = match operation.body {
        Body::Nothing => (None, &["*/*"]),
        Body::Object(definition) => (Some(body(schemas.reference(definition), true)), &["*/*"]),
        Body::Options(definition) => (Some(body(schemas.reference(definition), false)), &["*/*"]),
        Body::Patch(forms) => (Some(body(schemas.reference(PATCH), true)), forms),
    };
    let parameters: Vec<Value> = body.into_iter().chain(operation.parameters.iter().map(parameter)).collect();
    object([
        ("consumes", consumes.to_vec().into()),
        ("produces", PRODUCES.to_vec().into()),
        ("schemes", json!(["https"])),
        ("tags", json!([operation.tag])),
        ("description", operation.description.clone().into()),
        ("operationId", operation.id.clone().into()),
        ("parameters", parameters.into()),
        ("responses", Value::Object(responses)),
        ("x-kubernetes-action", operation.action.into()),
        ("x-kubernetes-group-version-kind", gvk(operation.gvk)),
    ])
}

/// The name of the definition of patches.
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

fn body(schema: Value, required: bool) -> Value {
    let mut body = json!({"name": "body", "in": "body", "schema": schema});
    if required {
        body["required"] = true.into();
    }
    body
}

fn parameter(parameter: &Parameter) -> Value {
    let mut value = json!({
        "name": parameter.name,
        "in": if parameter.in_path { "path" } else { "query" },
        "type": parameter.ty,
        "description": parameter.description,
        "uniqueItems": true,
    });
    if parameter.in_path {
        value["required"] = true.into();
    }
    value
}

/// What a status is called.
pub(super) fn phrase(status: u16) -> &'static str {
    match status {
        201 => "Created",
        202 => "Accepted",
        _ => "OK",
    }
}
