//! Ingress: names and paths of HTTP, and the Services behind them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, addresses, check, names};

const GVK: Gvk = ("networking.k8s.io", "v1", "Ingress");

/// `ingresses.networking.k8s.io`
pub static INGRESS: Kind = Kind {
    group: GVK.0,
    version: GVK.1,
    kind: GVK.2,
    plural: "ingresses",
    singular: "ingress",
    short_names: &["ing"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.networking.v1.Ingress",
    storage: "ingresses",
    columns: &[
        cells::NAME,
        cells::text("Class"),
        cells::text("Hosts"),
        cells::text("Address"),
        cells::text("Ports"),
        cells::AGE,
    ],
    rules: &IngressRules,
};

/// The old way to name the class.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// What servers and proxies read differently from each other.
const AMBIGUOUS: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const AMBIGUOUS_ENDS: [&str; 2] = ["/..", "/."];
/// How many rules' hosts a row shows.
const SHOWN: usize = 3;

struct IngressRules;

impl Rules for IngressRules {
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({ "loadBalancer": {} });
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |ingress| spec(&ingress.get("spec")))
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        check(object, |ingress| {
            let class = ingress.get("spec").get("ingressClassName");
            let annotation = ingress.get("metadata").get("annotations").get(CLASS_ANNOTATION);
            if annotation.is_set() && class.is_set() && annotation.text() != class.text() {
                let annotation = annotation.reported_at(&format!("annotations.{CLASS_ANNOTATION}"));
                annotation.invalid("must match `ingressClassName` when both are specified");
            }
        })
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        let known = addresses::of_load_balancer(old);
        check(new, |ingress| {
            for address in ingress.get("status").get("loadBalancer").get("ingress").items() {
                address.get("ip").may_follow(addresses::unless_known(addresses::ip, &known));
                let hostname = address.get("hostname");
                hostname.may_follow(names::subdomain);
                not_an_ip(&hostname);
            }
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let old = object["metadata"]["annotations"].get(CLASS_ANNOTATION).is_some();
        let text = format!("annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead");
        if old { vec![text] } else { Vec::new() }
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let addresses: BTreeSet<&str> = read::list(object, "/status/loadBalancer/ingress")
            .iter()
            .map(|address| read::or(read::text(address, "/ip"), read::text(address, "/hostname")))
            .filter(|address| !address.is_empty())
            .collect();
        let ports = if read::list(object, "/spec/tls").is_empty() { "80" } else { "80, 443" };
        vec![
            cells::name(object),
            cells::or_none(read::text(object, "/spec/ingressClassName")),
            hosts(read::list(object, "/spec/rules")).into(),
            addresses.into_iter().collect::<Vec<_>>().join(",").into(),
            ports.into(),
            cells::age(object, now),
        ]
    }
}

/// The first few hosts; rules without one are counted, but not shown.
fn hosts(rules: &[Value]) -> String {
    let named: Vec<&str> = rules.iter().map(|rule| read::text(rule, "/host")).collect();
    let mut shown = Vec::new();
    let mut more = false;
    for host in named {
        more |= shown.len() == SHOWN;
        if !more && !host.is_empty() {
            shown.push(host);
        }
    }
    match (shown.is_empty(), more) {
        (true, _) => "*".to_owned(),
        (false, false) => shown.join(","),
        (false, true) => format!("{} + {} more...", shown.join(","), rules.len() - SHOWN),
    }
}

fn not_an_ip(name: &Cursor<'_>) {
    if name.text().parse::<std::net::IpAddr>().is_ok() {
        name.invalid("must be a DNS name, not an IP address");
    }
}

fn host(host: &Cursor<'_>) {
    host.follows(if host.text().contains('*') { names::wildcard_subdomain } else { names::subdomain });
}

fn spec(spec: &Cursor<'_>) {
    let (rules, default) = (spec.get("rules"), spec.get("defaultBackend"));
    if rules.is_empty() && !default.is_set() {
        spec.invalid_as(rules.value().clone(), "either `defaultBackend` or `rules` must be specified");
    }
    if default.is_set() {
        backend(&default);
    }
    for rule in rules.items() {
        let name = rule.get("host");
        if !name.is_empty() {
            not_an_ip(&name);
            host(&name);
        }
        let http = rule.get("http");
        if http.is_set() {
            http.get("paths").must();
            http.get("paths").items().for_each(|entry| path(&entry));
        }
    }
    for tls in spec.get("tls").items() {
        tls.get("hosts").items().for_each(|name| host(&name));
        tls.get("secretName").may_follow(names::subdomain);
    }
    let class = spec.get("ingressClassName");
    if class.is_set() {
        class.follows(names::subdomain);
    }
}

fn path(entry: &Cursor<'_>) {
    let (kind, path) = (entry.get("pathType"), entry.get("path"));
    if !kind.is_set() {
        kind.required("pathType must be specified");
        return;
    }
    let text = path.text();
    let absolute = || {
        if !text.starts_with('/') {
            path.invalid_as(text, "must be an absolute path");
        }
    };
    match kind.text() {
        "Exact" | "Prefix" => {
            absolute();
            for part in AMBIGUOUS.iter().filter(|part| text.contains(**part)) {
                path.invalid(format!("must not contain '{part}'"));
            }
            for end in AMBIGUOUS_ENDS.iter().filter(|end| text.ends_with(**end)) {
                path.invalid(format!("cannot end with '{end}'"));
            }
        }
        "ImplementationSpecific" if text.is_empty() => {}
        "ImplementationSpecific" => absolute(),
        _ => kind.not_supported(&["Exact", "ImplementationSpecific", "Prefix"]),
    }
    backend(&entry.get("backend"));
}

fn backend(backend: &Cursor<'_>) {
    let (resource, service) = (backend.get("resource"), backend.get("service"));
    match (resource.is_set(), service.is_set()) {
        (true, true) => backend.invalid_as("", "cannot set both resource and service backends"),
        (false, false) => backend.invalid_as("", "resource or service backend is required"),
        (true, false) => {
            if resource.get("apiGroup").is_set() {
                resource.get("apiGroup").follows(names::subdomain);
            }
            resource.get("kind").must_follow(names::path_segment);
            resource.get("name").must_follow(names::path_segment);
        }
        (false, true) => {
            service.get("name").must_follow(names::label);
            let (name, number) = (service.get("port").get("name"), service.get("port").get("number"));
            match (name.is_empty(), number.is_empty()) {
                (false, false) => backend.invalid_as("", "cannot set both port name & port number"),
                (true, true) => backend.required("port name or number is required"),
                (false, true) => name.follows(names::port_name),
                (true, false) => number.in_range(1..=65535),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::INGRESS;
    use crate::kinds::testing::{check, check_row};

    const BACKEND: &str = "{service: {name: a, port: {number: 80}}}";

    fn path_faults(entry: &str, faults: &[&str]) {
        let yaml = format!("{{spec: {{rules: [{{host: a.b, http: {{paths: [{entry}]}}}}]}}}}");
        check(&INGRESS, &yaml, faults);
    }

    #[test]
    fn paths_are_absolute_and_plain() {
        path_faults(&format!("{{path: /a, pathType: Prefix, backend: {BACKEND}}}"), &[]);
        path_faults(&format!("{{pathType: ImplementationSpecific, backend: {BACKEND}}}"), &[]);
        path_faults(
            "{path: /a}",
            &["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"],
        );
        path_faults(
            &format!("{{path: a//b/.., pathType: Exact, backend: {BACKEND}}}"),
            &[
                "spec.rules[0].http.paths[0].path: Invalid value: \"a//b/..\": must be an absolute path",
                "spec.rules[0].http.paths[0].path: Invalid value: \"a//b/..\": must not contain '//'",
                "spec.rules[0].http.paths[0].path: Invalid value: \"a//b/..\": cannot end with '/..'",
            ],
        );
    }

    #[test]
    fn backends_are_services_or_resources() {
        check(
            &INGRESS,
            "{spec: {}}",
            &["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"],
        );
        check(
            &INGRESS,
            "{spec: {defaultBackend: {}}}",
            &["spec.defaultBackend: Invalid value: \"\": resource or service backend is required"],
        );
        check(
            &INGRESS,
            "{spec: {defaultBackend: {service: {name: a, port: {}}}}}",
            &["spec.defaultBackend: Required value: port name or number is required"],
        );
        check(&INGRESS, "{spec: {defaultBackend: {resource: {apiGroup: a.b, kind: Bucket, name: c}}}}", &[]);
    }

    #[test]
    fn hosts_are_names() {
        let rules = |host: &str| format!("{{spec: {{rules: [{{host: '{host}'}}]}}}}");
        check(&INGRESS, &rules("*.a.b"), &[]);
        check(
            &INGRESS,
            &rules("1.2.3.4"),
            &["spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address"],
        );
    }

    #[test]
    fn the_class_is_named_once() {
        check(
            &INGRESS,
            "{metadata: {annotations: {kubernetes.io/ingress.class: a}}, spec: {ingressClassName: b, defaultBackend: \
             {service: {name: a, port: {name: b}}}}}",
            &[
                "annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match `ingressClassName` when both are \
               specified",
            ],
        );
    }

    #[test]
    fn rows() {
        check_row(
            &INGRESS,
            "{metadata: {name: a}, spec: {ingressClassName: c, rules: [{host: x}, {host: y}, {host: z}, {host: w}], tls: \
             [{}]}, status: {loadBalancer: {ingress: [{ip: 10.0.0.2}, {hostname: a.b}]}}}",
            "a | c | x,y,z + 1 more... | 10.0.0.2,a.b | 80, 443 | <unknown>",
        );
        check_row(&INGRESS, "{metadata: {name: a}, spec: {rules: [{}]}}", "a | <none> | * |  | 80 | <unknown>");
    }
}
