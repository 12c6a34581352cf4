//! Endpoints: the older form of [EndpointSlice](super::ENDPOINT_SLICE), one object for each Service.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, fill, read};
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};

/// `endpoints`
pub static ENDPOINTS: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[],
    schema: "io.k8s.api.core.v1.Endpoints",
    storage: "endpoints",
    columns: &[cells::NAME, cells::text("Endpoints"), cells::AGE],
    rules: &EndpointsRules,
};

/// How many addresses a row shows.
const SHOWN: usize = 3;

struct EndpointsRules;

impl Rules for EndpointsRules {
    fn default(&self, object: &mut Value) {
        fill::each(object, "/subsets", |subset| {
            fill::each(subset, "/ports", |port| fill::zero(port, "protocol", "TCP"));
        });
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let addresses: Vec<String> = read::list(object, "/subsets").iter().flat_map(subset_addresses).collect();
        vec![cells::name(object), cells::or_none(&cells::with_more(&addresses, SHOWN)), cells::age(object, now)]
    }
}

fn subset_addresses(subset: &Value) -> Vec<String> {
    let ips = read::list(subset, "/addresses").iter().map(|address| read::text(address, "/ip"));
    let ports = read::list(subset, "/ports");
    if ports.is_empty() {
        return ips.map(str::to_owned).collect();
    }
    let join = |ip: &str, port: i64| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    ports.iter().flat_map(|port| ips.clone().map(move |ip| join(ip, read::int(port, "/port")))).collect()
}
