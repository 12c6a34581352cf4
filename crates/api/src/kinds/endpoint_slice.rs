//! EndpointSlice: up to a thousand addresses behind a Service.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, fill, read};
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};

/// `endpointslices.discovery.k8s.io`
pub static ENDPOINT_SLICE: Kind = Kind {
    group: "discovery.k8s.io",
    version: "v1",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.discovery.v1.EndpointSlice",
    storage: "endpointslices",
    columns: &[cells::NAME, cells::text("AddressType"), cells::text("Ports"), cells::text("Endpoints"), cells::AGE],
    rules: &EndpointSliceRules,
};

/// How many ports or addresses a row shows.
const SHOWN: usize = 3;

struct EndpointSliceRules;

impl Rules for EndpointSliceRules {
    fn default(&self, object: &mut Value) {
        fill::each(object, "/ports", |port| {
            fill::absent(port, "name", "");
            fill::absent(port, "protocol", "TCP");
        });
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let ports: Vec<String> = read::list(object, "/ports").iter().map(port_cell).collect();
        let endpoints = read::list(object, "/endpoints").iter();
        let addresses: Vec<String> =
            endpoints.flat_map(|endpoint| read::texts(endpoint, "/addresses")).map(str::to_owned).collect();
        let shown = |items: &[String]| Value::from(read::or(&cells::with_more(items, SHOWN), "<unset>"));
        vec![
            cells::name(object),
            read::text(object, "/addressType").into(),
            shown(&ports),
            shown(&addresses),
            cells::age(object, now),
        ]
    }
}

fn port_cell(port: &Value) -> String {
    match (port["port"].as_i64(), port["name"].as_str()) {
        (Some(number), _) => number.to_string(),
        (None, Some(name)) => name.to_owned(),
        (None, None) => "*".to_owned(),
    }
}
