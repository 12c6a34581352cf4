//! The old paths of watches, from before `?watch=true`.

use super::super::parameters::{self, NAME, PRETTY, Parameter};
use super::kind::{LISTS, Maker};
use super::{Answer, Operation, Route, prefix};
use crate::kind::Scope;

const EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";
const OF_ONE: &str = "deprecated: use the 'watch' parameter with a list operation instead, filtered to a single item \
                      with the 'fieldSelector' parameter.";
const OF_ALL: &str = "deprecated: use the 'watch' parameter with a list operation instead.";

/// The watches of one object, of a collection, and of those of all namespaces.
pub(super) fn of(make: &Maker) -> Vec<Route> {
    let (kind, noun) = (make.kind, make.noun(""));
    let collection = make.collection_path("/watch");
    let one = Operation {
        id: format!("watch{noun}"),
        description: format!("watch changes to an object of kind {}. {OF_ONE}", kind.kind),
        ..watch(make, "watch")
    };
    let all = |id: String| Operation {
        id,
        description: format!("watch individual changes to a list of {}. {OF_ALL}", kind.kind),
        ..watch(make, "watchlist")
    };
    let options = |path: Vec<Parameter>| path.into_iter().chain(parameters::LIST.iter().copied()).collect();
    let named = [NAME].into_iter().chain(make.parameters()).collect();
    let mut routes = vec![
        Route { path: format!("{collection}/{{name}}"), parameters: options(named), operations: vec![one] },
        Route {
            path: collection,
            parameters: options(make.parameters()),
            operations: vec![all(format!("watch{noun}List"))],
        },
    ];
    if kind.scope == Scope::Namespaced {
        routes.push(Route {
            path: format!("{}/watch/{}", prefix(kind.group, kind.version), kind.plural),
            parameters: options(vec![PRETTY]),
            operations: vec![all(format!("watch{}ListForAllNamespaces", noun.replace("Namespaced", "")))],
        });
    }
    routes
}

fn watch(make: &Maker, verb: &'static str) -> Operation {
    Operation { answer: Answer::Object(EVENT), produces: LISTS, action: make.action(verb), ..make.read() }
}
