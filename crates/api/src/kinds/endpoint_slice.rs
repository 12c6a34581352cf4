//! EndpointSlice: up to a thousand addresses behind a Service.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, fill, read};
use crate::field::{self, Path};
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, PROTOCOLS, addresses, check, labels, names};

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

/// The bounds of a slice's lists.
const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_TOPOLOGY_LABELS: usize = 16;
const MAX_ZONE_HINTS: usize = 8;
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

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |slice| {
            let kind = slice.get("addressType");
            kind.must_be_one_of(&["FQDN", "IPv4", "IPv6"]);
            endpoints(&slice.get("endpoints"), kind.text());
            ports(&slice.get("ports"));
        })
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |slice| slice.get("addressType").immutable(&old["addressType"]))
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = Vec::new();
        if object["addressType"] == "FQDN" {
            warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
        }
        for (index, endpoint) in read::list(object, "/endpoints").iter().enumerate() {
            let path = Path::new("endpoints").index(index).child("addresses");
            let addresses = read::texts(endpoint, "/addresses").into_iter().enumerate();
            warnings
                .extend(addresses.filter_map(|(index, address)| addresses::ip_warning(&path.index(index), address)));
        }
        warnings
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

fn endpoints(endpoints: &Cursor<'_>, address_type: &str) {
    if endpoints.len() > MAX_ENDPOINTS {
        endpoints.too_many(MAX_ENDPOINTS);
        return;
    }
    for endpoint in endpoints.items() {
        addresses(&endpoint.get("addresses"), address_type);
        endpoint.get("nodeName").may_follow(names::subdomain);
        let topology = endpoint.get("deprecatedTopology");
        if topology.len() > MAX_TOPOLOGY_LABELS {
            topology.too_many(MAX_TOPOLOGY_LABELS);
        }
        labels(&topology);
        let hostname = endpoint.get("hostname");
        if hostname.is_set() {
            hostname.follows(names::label);
        }
        zone_hints(&endpoint.get("hints").get("forZones"));
    }
}

fn addresses(list: &Cursor<'_>, address_type: &str) {
    match list.len() {
        0 => list.required("must contain at least 1 address"),
        1..=MAX_ADDRESSES => {}
        _ => list.too_many(MAX_ADDRESSES),
    }
    for address in list.items() {
        let written = match address_type {
            "IPv4" => addresses::ip,
            "IPv6" => addresses::canonical_ip,
            "FQDN" => {
                address.must_follow(names::full_domain);
                continue;
            }
            _ => continue,
        };
        let before = address.fault_count();
        address.follows(written);
        if address.fault_count() == before {
            if address.text().contains(':') != (address_type == "IPv6") {
                list.invalid_as(address.text(), format!("must be an {address_type} address"));
            }
            address.follows(addresses::reachable_ip);
        }
    }
}

fn zone_hints(zones: &Cursor<'_>) {
    if zones.len() > MAX_ZONE_HINTS {
        zones.too_many(MAX_ZONE_HINTS);
        return;
    }
    let mut taken = HashSet::new();
    for zone in zones.items().map(|zone| zone.get("name")) {
        if !taken.insert(zone.text()) {
            zone.duplicate();
        }
        zone.follows(names::label_value);
    }
}

fn ports(ports: &Cursor<'_>) {
    if ports.len() > MAX_PORTS {
        ports.too_many(MAX_PORTS);
        return;
    }
    let mut taken = HashSet::new();
    for port in ports.items() {
        let name = port.get("name");
        name.may_follow(names::label);
        if !taken.insert(name.text()) {
            name.duplicate();
        }
        port.get("protocol").must_be_one_of(PROTOCOLS);
        port.get("port").in_range(1..=65535);
        port.get("appProtocol").may_follow(names::qualified);
    }
}

#[cfg(test)]
mod tests {
    use super::ENDPOINT_SLICE;
    use crate::kinds::testing::{check, check_defaults, check_row, check_update};

    #[test]
    fn addresses_are_of_the_type_and_reachable() {
        check(&ENDPOINT_SLICE, "{addressType: IPv4, endpoints: [{addresses: [10.42.0.2]}], ports: [{port: 80}]}", &[]);
        check(&ENDPOINT_SLICE, "{endpoints: []}", &["addressType: Required value"]);
        check(
            &ENDPOINT_SLICE,
            "{addressType: IPv4, endpoints: [{addresses: []}, {addresses: [127.0.0.1]}]}",
            &[
                "endpoints[0].addresses: Required value: must contain at least 1 address",
                "endpoints[1].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range \
                 (127.0.0.0/8, ::1/128)",
            ],
        );
        check(
            &ENDPOINT_SLICE,
            "{addressType: IPv6, endpoints: [{addresses: [10.0.0.1, 'FD00::1']}]}",
            &[
                "endpoints[0].addresses: Invalid value: \"10.0.0.1\": must be an IPv6 address",
                "endpoints[0].addresses[1]: Invalid value: \"FD00::1\": must be in canonical form (\"fd00::1\")",
            ],
        );
        check(
            &ENDPOINT_SLICE,
            "{addressType: IPv4, ports: [{port: 80}, {port: 81}]}",
            &["ports[1].name: Duplicate value: \"\""],
        );
    }

    #[test]
    fn the_type_stays() {
        check_update(
            &ENDPOINT_SLICE,
            "{addressType: IPv4}",
            "{addressType: IPv6}",
            &["addressType: Invalid value: \"IPv6\": field is immutable"],
        );
    }

    #[test]
    fn rows_and_defaults() {
        check_defaults(&ENDPOINT_SLICE, "{ports: [{port: 80}]}", "{ports: [{port: 80, name: '', protocol: TCP}]}");
        check_row(
            &ENDPOINT_SLICE,
            "{metadata: {name: a}, addressType: IPv4, endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}]}",
            "a | IPv4 | <unset> | 10.0.0.1,10.0.0.2 | <unknown>",
        );
    }
}
