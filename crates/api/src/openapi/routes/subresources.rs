//! What can be done below an object: views of it, other types, connections.

use super::super::parameters::{self, PATH, PRETTY, Parameter};
use super::kind::Maker;
use super::{ANY, Answer, Body, Operation, Route, pascal};
use crate::kind::{KindRef, Subresource};
use crate::schema;

/// What a log is given as, beside the forms of errors.
const LOG: &[&str] =
    &["text/plain", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor"];

/// The methods by which streams begin.
const STREAM: &[&str] = &["get", "post"];

/// The methods that a proxy passes on.
const PROXY: &[&str] = &["delete", "get", "head", "options", "patch", "post", "put"];

/// The routes of a subresource of the objects at the path `object`, with the parameters of that path.
pub(super) fn of(kind: &KindRef, subresource: &Subresource, object: &str, below: &[Parameter]) -> Vec<Route> {
    let path = format!("{object}/{}", subresource.name);
    let Some(definition) = definition(kind, subresource) else { return connections(kind, subresource, path, below) };
    let make = Maker::below(kind, subresource, definition);
    let mut parameters = below.to_vec();
    let operations = if subresource.name == "log" {
        parameters.extend(parameters::LOG);
        vec![Operation { answer: Answer::Text, produces: LOG, ..make.read() }]
    } else {
        subresource.verbs.iter().filter_map(|verb| of_verb(&make, verb)).collect()
    };
    vec![Route { path, parameters, operations }]
}

/// The type that is read and written there; nothing for connections.
fn definition(kind: &KindRef, subresource: &Subresource) -> Option<&'static str> {
    let (group, version, name) = subresource.gvk;
    let is_own = subresource.gvk == (kind.group, kind.version, kind.kind);
    if is_own { Some(kind.schema) } else { schema::of_kind(group, version, name).map(|definition| definition.name) }
}

fn of_verb(make: &Maker, verb: &str) -> Option<Operation> {
    Some(match verb {
        "get" => make.read(),
        "create" => make.create(),
        "update" => make.update(),
        "patch" => make.patch(),
        "delete" => make.delete(),
        _ => return None,
    })
}

/// A proxy, also of the paths below, or a stream.
fn connections(kind: &KindRef, subresource: &Subresource, path: String, below: &[Parameter]) -> Vec<Route> {
    let methods = if subresource.name == "proxy" { PROXY } else { STREAM };
    let route = |path: String, suffix: &str, more: &[Parameter]| {
        // Streams and proxies are not printed.
        let own = below.iter().filter(|parameter| parameter.name != PRETTY.name);
        let options = parameters::connection(subresource.gvk.2);
        let parameters = own.chain(options).chain(more).copied().collect();
        let operations = methods.iter().map(|method| connect(kind, subresource, method, suffix)).collect();
        Route { path, parameters, operations }
    };
    let mut routes = vec![route(path.clone(), "", &[])];
    if subresource.name == "proxy" {
        routes.push(route(format!("{path}/{{path}}"), "WithPath", &[PATH]));
    }
    routes
}

fn connect(kind: &KindRef, subresource: &Subresource, method: &'static str, suffix: &str) -> Operation {
    let make = Maker::below(kind, subresource, kind.schema);
    let (name, in_capitals) = (subresource.name, method.to_ascii_uppercase());
    Operation {
        method,
        id: format!("connect{}{suffix}", make.noun(&pascal(method))),
        description: format!("connect {in_capitals} requests to {name} of {}", kind.kind),
        body: Body::Nothing,
        answer: Answer::Text,
        produces: ANY,
        action: make.action("connect"),
        ..make.read()
    }
}
