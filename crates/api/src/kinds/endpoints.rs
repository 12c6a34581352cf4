//! Endpoints: the older form of [EndpointSlice](super::ENDPOINT_SLICE), one object for each Service.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, fill, read};
use crate::field::{self, Path};
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, PROTOCOLS, addresses, check, names};

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

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |endpoints| {
            for subset in endpoints.get("subsets").items() {
                self::subset(&subset);
            }
        })
    }

    fn deprecation(&self) -> Option<&str> {
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = Vec::new();
        for (index, subset) in read::list(object, "/subsets").iter().enumerate() {
            for list in ["addresses", "notReadyAddresses"] {
                let path = Path::new("subsets").index(index).child(list);
                let addresses = read::list(subset, &format!("/{list}")).iter().enumerate();
                warnings.extend(addresses.filter_map(|(index, address)| {
                    addresses::ip_warning(&path.index(index).child("ip"), read::text(address, "/ip"))
                }));
            }
        }
        warnings
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let addresses: Vec<String> = read::list(object, "/subsets").iter().flat_map(subset_addresses).collect();
        vec![cells::name(object), cells::or_none(&cells::with_more(&addresses, SHOWN)), cells::age(object, now)]
    }

    fn updates_create(&self) -> bool {
        true
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

fn subset(subset: &Cursor<'_>) {
    let (ready, not_ready, ports) = (subset.get("addresses"), subset.get("notReadyAddresses"), subset.get("ports"));
    if ready.len() + not_ready.len() == 0 {
        subset.required("must specify `addresses` or `notReadyAddresses`");
    }
    for address in ready.items().chain(not_ready.items()) {
        let ip = address.get("ip");
        ip.follows(addresses::ip);
        ip.follows(addresses::reachable_ip);
        address.get("hostname").may_follow(names::label);
        address.get("nodeName").may_follow(names::subdomain);
    }
    for port in ports.items() {
        let name = port.get("name");
        if ports.len() > 1 {
            name.must();
        }
        name.may_follow(names::label);
        let number = port.get("port").int().unwrap_or_default();
        if !(1..=65535).contains(&number) {
            port.get("port").invalid_as(number, names::inclusive_range(&(1..=65535)));
        }
        port.get("protocol").must_be_one_of(PROTOCOLS);
        port.get("appProtocol").may_follow(names::qualified);
    }
}

#[cfg(test)]
mod tests {
    use super::ENDPOINTS;
    use crate::kinds::testing::{check, check_row};

    #[test]
    fn addresses_are_reachable() {
        check(&ENDPOINTS, "{subsets: [{addresses: [{ip: 10.42.0.2}], ports: [{port: 80}]}]}", &[]);
        check(
            &ENDPOINTS,
            "{subsets: [{addresses: [{ip: 169.254.169.254}]}, {}]}",
            &[
                "subsets[0].addresses[0].ip: Invalid value: \"169.254.169.254\": may not be in the link-local range \
                 (169.254.0.0/16, fe80::/10)",
                "subsets[1]: Required value: must specify `addresses` or `notReadyAddresses`",
            ],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &ENDPOINTS,
            "{metadata: {name: a}, subsets: [{addresses: [{ip: 10.0.0.1}, {ip: 10.0.0.2}], \
             ports: [{port: 80}, {port: 81}]}]}",
            "a | 10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more... | <unknown>",
        );
        check_row(&ENDPOINTS, "{metadata: {name: a}}", "a | <none> | <unknown>");
    }
}
