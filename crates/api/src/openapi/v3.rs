//! Version 3: one document for each group and version, and some for what belongs to none.

use serde_json::{Map, Value, json};

use super::parameters::Parameter;
use super::routes::{self, Answer, Body, Operation, Route};
use super::schemas::{Schemas, list_name};
use super::v2::{PATCH, phrase};
use super::{Dialect, object, path_item, put_action};
use crate::custom::OBJECT_META;
use crate::kind::KindRef;

/// The documents of these kinds. A document's path is that of what it describes: `apis/apps/v1`, `apis/apps`, `version`.
pub struct V3<'a> {
    schemas: Schemas,
    kinds: &'a [KindRef],
    release: &'a str,
}

impl<'a> V3<'a> {
    /// Documents that state `release` as the version of Kubernetes.
    pub fn new(kinds: &'a [KindRef], release: &'a str) -> Self {
        Self { schemas: Schemas::new(Dialect::V3), kinds, release }
    }

    /// The paths of all documents.
    pub fn paths(&self) -> Vec<String> {
        let (groups, versions) = routes::groups(self.kinds);
        let beside = routes::served_beside_kinds().into_iter().map(|(path, _)| path.to_owned());
        let groups = groups.into_iter().map(|group| format!("apis/{group}"));
        let versions = versions.into_iter().map(|version| match version {
            ("", version) => format!("api/{version}"),
            (group, version) => format!("apis/{group}/{version}"),
        });
        beside.chain(groups).chain(versions).collect()
    }

    /// One document, if there is one of that path.
    pub fn document(&self, path: &str) -> Option<Value> {
        let (groups, versions) = routes::groups(self.kinds);
        let mut beside = routes::served_beside_kinds().into_iter();
        if let Some((_, route)) = beside.find(|(own, _)| *own == path) {
            return Some(self.of_routes(&[route], &[]));
        }
        if let Some(group) = groups.into_iter().find(|group| path.strip_prefix("apis/") == Some(group)) {
            return Some(self.of_routes(&[routes::of_group(group)], &[]));
        }
        let (group, version) = match *path.split('/').collect::<Vec<_>>() {
            ["api", version] => ("", version),
            ["apis", group, version] => (group, version),
            _ => return None,
        };
        let (group, version) = versions.into_iter().find(|known| *known == (group, version))?;
        let is_own = |kind: &&KindRef| kind.group == group && kind.version == version;
        let own: Vec<KindRef> = self.kinds.iter().filter(is_own).cloned().collect();
        Some(self.of_routes(&routes::of_group_version(group, version, &own), &own))
    }

    fn of_routes(&self, routes: &[Route], kinds: &[KindRef]) -> Value {
        let mentioned = routes.iter().flat_map(|route| &route.operations).flat_map(mentioned);
        let base: &[&str] = if kinds.is_empty() { &[] } else { &[PATCH, OBJECT_META] };
        let types = mentioned.chain(base.iter().copied());
        let paths: Map<String, Value> = routes
            .iter()
            .map(|route| (route.path.clone(), path_item(route, |one| operation(one, &self.schemas), parameter)))
            .collect();
        let scheme = json!({
            "description": "Bearer Token authentication", "type": "apiKey", "name": "authorization", "in": "header",
        });
        object([
            ("openapi", "3.0.0".into()),
            ("info", json!({"title": "Kubernetes", "version": self.release})),
            ("paths", Value::Object(paths)),
            (
                "components",
                object([
                    ("schemas", Value::Object(self.schemas.all(types, kinds))),
                    ("securitySchemes", json!({"BearerToken": scheme})),
                ]),
            ),
        ])
    }
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

fn operation(operation: &Operation, schemas: &Schemas) -> Value {
    let answer = match operation.answer {
        Answer::Object(definition) => content(operation.produces, schemas.reference(definition)),
        Answer::List(item) => content(operation.produces, schemas.reference(&list_name(item))),
        Answer::Text => content(operation.produces, json!({"type": "string"})),
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
    ]);
    if let Some(action) = operation.action {
        put_action(&mut value, action);
    }
    let body = match operation.body {
        Body::Nothing => None,
        Body::Object(definition) => {
            Some(json!({"content": content(operation.consumes, schemas.reference(definition)), "required": true}))
        }
        Body::Options(definition) => {
            Some(json!({"content": content(operation.consumes, schemas.reference(definition))}))
        }
        Body::Patch => {
            Some(json!({"content": content(operation.consumes, schemas.reference(PATCH)), "required": true}))
        }
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
