//! Version 3.

use serde_json::{Map, Value, json};

use super::parameters::{PRETTY, Parameter};
use super::routes::{self, Answer, Body, Operation, PRODUCES, Route};
use super::schemas::{Schemas, list_name};
use super::v2::{PATCH, phrase};
use super::{Dialect, gvk, object};
use crate::custom::OBJECT_META;
use crate::kind::KindRef;

/// The document of the kinds of one group and version.
pub(super) fn document(kinds: &[KindRef], release: &str) -> Value {
    let schemas = Schemas::new(Dialect::V3);
    let routes: Vec<Route> = kinds.iter().flat_map(routes::of_kind).collect();
    let mentioned = routes.iter().flat_map(|route| &route.operations).flat_map(mentioned);
    let types = mentioned.chain([PATCH, OBJECT_META]);
    let paths: Map<String, Value> =
        routes.iter().map(|route| (route.path.clone(), path_item(route, &schemas))).collect();
    object([
        ("openapi", "3.0.0".into()),
        ("info", json!({"title": "Kubernetes", "version": release})),
        ("paths", Value::Object(paths)),
        (
            "components",
            object([
                ("schemas", Value::Object(schemas.all(types, kinds))),
                (
                    "securitySchemes",
                    json!({"BearerToken": {
                        "description": "Bearer Token authentication", "type": "apiKey", "name": "authorization",
                        "in": "header",
                    }}),
                ),
            ]),
        ),
    ])
}

/// The types that an operation takes and gives.
fn mentioned(operation: &Operation) -> Vec<&'static str> {
    let mut types = Vec::new();
    if let Body::Object(definition) | Body::Options(definition) = operation.body {
        types.push(definition);
    }
    if let Answer::Object(definition) = operation.answer {
        types.push(definition);
    }
    types
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
        Answer::Object(definition) => content(&PRODUCES, schemas.reference(definition)),
        Answer::List(item) => content(&PRODUCES, schemas.reference(&list_name(item))),
        Answer::Text => content(&["*/*"], json!({"type": "string"})),
    };
    let status = |status: &u16| (status.to_string(), json!({"description": phrase(*status), "content": answer}));
    let mut responses: Map<String, Value> = operation.statuses.iter().map(status).collect();
    responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
    let mut value = object([
        ("tags", json!([operation.tag])),
        ("description", operation.description.clone().into()),
        ("operationId", operation.id.clone().into()),
        ("parameters", operation.parameters.iter().map(parameter).collect::<Vec<_>>().into()),
        ("responses", Value::Object(responses)),
        ("x-kubernetes-action", operation.action.into()),
        ("x-kubernetes-group-version-kind", gvk(operation.gvk)),
    ]);
    let body = match operation.body {
        Body::Nothing => None,
        Body::Object(definition) => {
            Some(json!({"content": content(&["*/*"], schemas.reference(definition)), "required": true}))
        }
        Body::Options(definition) => Some(json!({"content": content(&["*/*"], schemas.reference(definition))})),
        Body::Patch(forms) => Some(json!({"content": content(forms, schemas.reference(PATCH)), "required": true})),
    };
    if let Some(body) = body {
        value["requestBody"] = body;
    }
    value
}

/// The same schema in each of these media types.
fn content(media_types: &[&str], schema: Value) -> Value {
    let entries = media_types.iter().map(|media_type| ((*media_type).to_owned(), json!({"schema": schema})));
    Value::Object(entries.collect())
}

fn parameter(parameter: &Parameter) -> Value {
    let mut value = json!({
        "name": parameter.name,
        "in": if parameter.in_path { "path" } else { "query" },
        "description": parameter.description,
        "schema": {"type": parameter.ty, "uniqueItems": true},
    });
    if parameter.in_path {
        value["required"] = true.into();
    }
    value
}
