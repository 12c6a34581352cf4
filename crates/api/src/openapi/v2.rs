//! Version 2, also known as Swagger.

use serde_json::{Map, Value, json};

use super::parameters::Parameter;
use super::routes::{self, Answer, Body, Operation, Route};
use super::schemas::{Schemas, list_name};
use super::{Dialect, object, path_item, put_action};
use crate::kind::KindRef;
use crate::schema;

/// The document of all kinds.
pub(super) fn document(kinds: &[KindRef], release: &str) -> Value {
    let schemas = Schemas::new(Dialect::V2);
    let paths: Map<String, Value> = routes(kinds)
        .map(|route| (route.path.clone(), path_item(&route, |one| operation(one, &schemas), parameter)))
        .collect();
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

fn routes(kinds: &[KindRef]) -> impl Iterator<Item = Route> {
    let (groups, versions) = routes::groups(kinds);
    let of_groups = groups.into_iter().map(routes::of_group);
    let of_versions = versions.into_iter().flat_map(|(group, version)| routes::of_group_version(group, version, kinds));
    routes::served_beside_kinds().into_iter().map(|(_, route)| route).chain(of_groups).chain(of_versions)
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
    let body = match operation.body {
        Body::Nothing => None,
        Body::Object(definition) => Some(body(schemas.reference(definition), true)),
        Body::Options(definition) => Some(body(schemas.reference(definition), false)),
        Body::Patch => Some(body(schemas.reference(PATCH), true)),
    };
    let parameters: Vec<Value> = body.into_iter().chain(operation.parameters.iter().map(parameter)).collect();
    let mut value = object([
        ("consumes", operation.consumes.to_vec().into()),
        ("produces", operation.produces.to_vec().into()),
        ("schemes", json!(["https"])),
        ("tags", json!([operation.tag])),
        ("description", operation.description.clone().into()),
        ("operationId", operation.id.clone().into()),
        ("parameters", parameters.into()),
        ("responses", Value::Object(responses)),
    ]);
    if let Some(action) = operation.action {
        put_action(&mut value, action);
    }
    value
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
