//! Service: one stable address and name for a changing set of Pods.
//!
//! Addresses and node ports are allocated by the API server; here is only what follows from the object itself:
//! [`rules`] what can be wrong with it, [`carry_over`] what an update leaves as it was.

mod carry_over;
mod rules;
#[cfg(test)]
mod tests;
mod warnings;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, PROXY, status};
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Subresource, Verbs};
use crate::validation::check;

const GVK: Gvk = ("", "v1", "Service");

/// `services`
pub static SERVICE: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Label1035,
    subresources: &[Subresource { name: "proxy", gvk: ("", "v1", "ServiceProxyOptions"), verbs: PROXY }, status(GVK)],
    schema: "io.k8s.api.core.v1.Service",
    storage: "services",
    columns: &[
        cells::NAME,
        cells::text("Type"),
        cells::text("Cluster-IP"),
        cells::text("External-IP"),
        cells::text("Port(s)"),
        cells::AGE,
        cells::wide("Selector"),
    ],
    rules: &ServiceRules,
};

/// How long a client sticks to its endpoint, unless said otherwise.
const CLIENT_IP_TIMEOUT_SECONDS: i64 = 10_800;

struct ServiceRules;

impl Rules for ServiceRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", default_spec);
        fill::each(object, "/status/loadBalancer/ingress", |ingress| {
            if !read::text(ingress, "/ip").is_empty() {
                fill::absent(ingress, "ipMode", "VIP");
            }
        });
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({ "loadBalancer": {} });
        fill::at(object, "/spec", carry_over::fill_in_addresses);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
        fill::at(new, "/spec", |spec| carry_over::carry_over(spec, &old["spec"]));
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, rules::service)
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        check(object, |service| rules::written_addresses(service, &Value::Null))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |new| {
            rules::update(new, old);
            rules::written_addresses(new, old);
        })
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |new| rules::status(new, old))
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![
            ("spec.clusterIP", read::text(object, "/spec/clusterIP").to_owned()),
            ("spec.type", read::text(object, "/spec/type").to_owned()),
        ]
    }

    fn selectable_names(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        warnings::warnings(object)
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            cells::name(object),
            read::text(object, "/spec/type").into(),
            cells::or_none(cluster_ip(object)),
            external_address(object).into(),
            cells::or_none(&ports(object)),
            cells::age(object, now),
            cells::labels(object, "/spec/selector"),
        ]
    }

    fn deletion_returns_object(&self) -> bool {
        true
    }

    fn updates_create(&self) -> bool {
        true
    }
}

fn default_spec(spec: &mut Value) {
    fill::zero(spec, "type", "ClusterIP");
    fill::zero(spec, "sessionAffinity", "None");
    match read::text(spec, "/sessionAffinity") {
        "ClientIP" => default_client_ip_timeout(spec),
        "None" => fill::keep(spec, &Value::Null, "sessionAffinityConfig"),
        _ => {}
    }
    fill::each(spec, "/ports", |port| {
        fill::zero(port, "protocol", "TCP");
        let number = port["port"].clone();
        fill::zero(port, "targetPort", number);
    });
    if is_externally_accessible(spec) {
        fill::zero(spec, "externalTrafficPolicy", "Cluster");
    }
    let kind = read::text(spec, "/type").to_owned();
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        fill::absent(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        fill::absent(spec, "allocateLoadBalancerNodePorts", true);
    }
}

/// Whether traffic from outside the cluster can come in.
fn is_externally_accessible(spec: &Value) -> bool {
    match read::text(spec, "/type") {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !read::list(spec, "/externalIPs").is_empty(),
        _ => false,
    }
}

fn default_client_ip_timeout(spec: &mut Value) {
    fill::absent(spec, "sessionAffinityConfig", json!({}));
    fill::at(spec, "/sessionAffinityConfig", |config| {
        fill::absent(config, "clientIP", json!({}));
        fill::at(config, "/clientIP", |client| fill::absent(client, "timeoutSeconds", CLIENT_IP_TIMEOUT_SECONDS));
    });
}

fn cluster_ip(service: &Value) -> &str {
    read::or(read::text(service, "/spec/clusterIPs/0"), read::text(service, "/spec/clusterIP"))
}

fn external_address(service: &Value) -> String {
    let external = read::texts(service, "/spec/externalIPs");
    match read::text(service, "/spec/type") {
        "ClusterIP" | "NodePort" => read::or(&external.join(","), "<none>").to_owned(),
        "LoadBalancer" => {
            let mut addresses: Vec<_> =
                read::list(service, "/status/loadBalancer/ingress").iter().map(ingress).collect();
            addresses.sort_unstable();
            addresses.extend(external);
            read::or(&addresses.join(","), "<pending>").to_owned()
        }
        "ExternalName" => read::text(service, "/spec/externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

fn ingress(ingress: &Value) -> &str {
    read::or(read::text(ingress, "/ip"), read::text(ingress, "/hostname"))
}

fn ports(service: &Value) -> String {
    let ports = read::list(service, "/spec/ports").iter().map(|port| {
        let (number, protocol) = (read::int(port, "/port"), read::text(port, "/protocol"));
        match read::int(port, "/nodePort") {
            0 => format!("{number}/{protocol}"),
            node_port => format!("{number}:{node_port}/{protocol}"),
        }
    });
    ports.collect::<Vec<_>>().join(",")
}
