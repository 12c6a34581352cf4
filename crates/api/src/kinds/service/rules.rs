//! What can be wrong with a Service.

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::Value;

use crate::kinds::read;
use crate::validation::{Cursor, PROTOCOLS, addresses, labels, names, number_or_name};

/// The kubelet's own port, which must not be opened to the outside by accident.
const KUBELET_PORT: i64 = 10_250;
const MAX_AFFINITY_SECONDS: i64 = 86_400;
/// The annotation that says what `loadBalancerSourceRanges` says.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

/// The faults of a Service.
pub(super) fn service(service: &Cursor<'_>) {
    let spec = service.get("spec");
    let kind = spec.get("type");
    if spec.get("ports").is_empty() && !is_headless(spec.value()) && kind.text() != "ExternalName" {
        spec.get("ports").required("");
    }
    of_type(&spec, kind.text());
    ports(&spec.get("ports"), kind.text());
    labels(&spec.get("selector"));
    affinity(&spec);
    if kind.text() != "ExternalName" {
        families(&spec);
    }
    kind.must_be_one_of(TYPES);
    load_balancer(&spec, kind.text());
    traffic(&spec, kind.text());
}

/// The faults of the addresses of a Service that was `old` before.
pub(super) fn written_addresses(service: &Cursor<'_>, old: &Value) {
    let spec = service.get("spec");
    let [cluster, external] = ["/spec/clusterIPs", "/spec/externalIPs"].map(|list| read::texts(old, list));
    if spec.get("type").text() != "ExternalName" {
        let addresses = spec.get("clusterIPs");
        for (_, ip) in addresses.items().enumerate().filter(|(index, ip)| (*index, ip.text()) != (0, "None")) {
            ip.follows(addresses::unless_known(addresses::ip, &cluster));
        }
    }
    for ip in spec.get("externalIPs").items() {
        let before = ip.fault_count();
        ip.follows(addresses::unless_known(addresses::ip, &external));
        if ip.fault_count() == before {
            ip.follows(addresses::reachable_ip);
        }
    }
    source_ranges(service, old);
}

/// The faults of the networks that a load balancer lets in. They may stand in an annotation, and have blanks around them.
fn source_ranges(service: &Cursor<'_>, old: &Value) {
    let spec = service.get("spec");
    let ranges = spec.get("loadBalancerSourceRanges");
    let annotation = service.get("metadata").get("annotations").key(SOURCE_RANGES);
    let known: Vec<&str> = read::texts(old, "/spec/loadBalancerSourceRanges").into_iter().map(str::trim).collect();
    let place = if ranges.is_empty() { annotation } else { ranges.at(&spec.path().child("LoadBalancerSourceRanges")) };
    if place.is_set() && spec.get("type").text() != "LoadBalancer" {
        place.forbidden("may only be used when `type` is 'LoadBalancer'");
    }
    for range in place.items() {
        range.follows(|text| addresses::unless_known(addresses::cidr, &known)(text.trim()));
    }
    let text = place.text().trim();
    if !text.is_empty() && old["metadata"]["annotations"][SOURCE_RANGES] != place.text() {
        for range in text.split(',').map(str::trim) {
            addresses::cidr(range).into_iter().for_each(|fault| place.invalid_as(range, fault));
        }
    }
}

/// The faults of a change: addresses once given stay, unless the Service becomes another thing altogether.
pub(super) fn update(new: &Cursor<'_>, old: &Value) {
    let (spec, old_spec) = (new.get("spec"), &old["spec"]);
    let is = |spec: &Value, kind: &str| spec["type"] == kind;
    let class = spec.get("loadBalancerClass");
    if is(spec.value(), "LoadBalancer")
        && is(old_spec, "LoadBalancer")
        && class.value() != &old_spec["loadBalancerClass"]
    {
        class.invalid("may not change once set");
    }
    if [spec.value(), old_spec].iter().any(|spec| is(spec, "ExternalName")) {
        return;
    }
    let headless = (is_headless(old_spec), is_headless(spec.value()));
    if headless != (true, true) {
        stays(&spec, old_spec, "clusterIPs", "clusterIP");
    }
    if headless == (false, false) {
        stays(&spec, old_spec, "ipFamilies", "ipFamily");
    }
}

/// The faults of a status: only load balancers have addresses to report.
pub(super) fn status(service: &Cursor<'_>, old: &Value) {
    let ingresses = service.get("status").get("loadBalancer").get("ingress");
    if !ingresses.is_empty() && service.get("spec").get("type").text() != "LoadBalancer" {
        ingresses.forbidden("may only be used when `spec.type` is 'LoadBalancer'");
        return;
    }
    let known = addresses::of_load_balancer(old);
    for ingress in ingresses.items() {
        let (ip, mode, hostname) = (ingress.get("ip"), ingress.get("ipMode"), ingress.get("hostname"));
        ip.may_follow(addresses::unless_known(addresses::ip, &known));
        if mode.is_set() && ip.is_empty() {
            mode.forbidden("may not be specified when `ip` is not set");
        }
        mode.may_be_one_of(&["Proxy", "VIP"]);
        hostname.may_follow(names::subdomain);
        if addresses::ip(hostname.text()).is_empty() {
            hostname.invalid("must be a DNS name, not an IP address");
        }
    }
}

/// The first item of a list stays; a second may come, or go if the Service becomes single-stack.
fn stays(spec: &Cursor<'_>, old_spec: &Value, list: &str, item: &str) {
    let (new, old) = (spec.get(list), read::texts(old_spec, &format!("/{list}")));
    let kept: Vec<&str> = new.texts().collect();
    if kept.is_empty() && !old.is_empty() {
        new.index(0).invalid_as(new.value().clone(), format!("primary {item} can not be unset"));
    }
    for (index, _) in old.iter().zip(&kept).enumerate().filter(|(_, (old, new))| old != new) {
        new.index(index).invalid_as(new.value().clone(), "may not change once set");
    }
    let policy = spec.get("ipFamilyPolicy");
    if old.len() == 2 && kept.len() == 1 && policy.text() != "SingleStack" {
        policy.invalid(format!("must be set to 'SingleStack' when releasing the secondary {item}"));
    }
}

/// Whether a Service has names but no address.
pub(super) fn is_headless(spec: &Value) -> bool {
    read::texts(spec, "/clusterIPs") == ["None"]
}

fn of_type(spec: &Cursor<'_>, kind: &str) {
    let addresses = spec.get("clusterIPs");
    match kind {
        "LoadBalancer" | "NodePort" => {
            if is_headless(spec.value()) {
                addresses.index(0).invalid(format!("may not be set to 'None' for {kind} services"));
            }
            for port in spec.get("ports").items().filter(|_| kind == "LoadBalancer") {
                if port.get("port").int() == Some(KUBELET_PORT) {
                    let why = format!("may not expose port {KUBELET_PORT} externally since it is used by kubelet");
                    port.invalid_as(KUBELET_PORT, why);
                }
            }
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"].map(|field| spec.get(field)) {
                if !field.is_empty() {
                    field.forbidden("may not be set for ExternalName services");
                }
            }
            spec.get("externalName").must_follow(|name| names::subdomain(name.strip_suffix('.').unwrap_or(name)));
        }
        _ => {}
    }
}

fn ports(ports: &Cursor<'_>, kind: &str) {
    let (mut taken_names, mut taken_node_ports, mut taken) = (HashSet::new(), HashSet::new(), HashSet::new());
    for port in ports.items() {
        let (name, node_port) = (port.get("name"), port.get("nodePort"));
        if ports.len() > 1 {
            name.must();
        }
        name.may_follow(names::label);
        if !name.is_empty() && !taken_names.insert(name.text()) {
            name.duplicate();
        }
        one_port(&port);
        let protocol = port.get("protocol").text();
        if !node_port.is_empty() {
            if kind == "ClusterIP" {
                node_port.forbidden("may not be used when `type` is 'ClusterIP'");
            }
            node_port.in_range(1..=65535);
            if !taken_node_ports.insert((protocol, node_port.int())) {
                node_port.duplicate();
            }
        }
        if !taken.insert((protocol, port.get("port").int())) {
            port.duplicate();
        }
    }
}

fn one_port(port: &Cursor<'_>) {
    let number = port.get("port").int().unwrap_or_default();
    if !(1..=65535).contains(&number) {
        port.get("port").invalid_as(number, names::inclusive_range(&(1..=65535)));
    }
    port.get("protocol").must_be_one_of(PROTOCOLS);
    number_or_name(&port.get("targetPort"));
    let application = port.get("appProtocol");
    if application.is_set() {
        application.follows(names::qualified);
    }
}

fn affinity(spec: &Cursor<'_>) {
    let (affinity, config) = (spec.get("sessionAffinity"), spec.get("sessionAffinityConfig"));
    affinity.must_be_one_of(&["ClientIP", "None"]);
    match affinity.text() {
        "None" if config.is_set() => config.forbidden("must not be set when session affinity is None"),
        "ClientIP" => {
            let timeout = config.get("clientIP").get("timeoutSeconds");
            match timeout.int() {
                None => timeout.required("when session affinity type is ClientIP"),
                Some(1..=MAX_AFFINITY_SECONDS) => {}
                Some(_) => timeout.invalid(format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}")),
            }
        }
        _ => {}
    }
}

/// `clusterIP` and `clusterIPs` say the same, and fit `ipFamilies`.
fn families(spec: &Cursor<'_>) {
    let (first, all, families) = (spec.get("clusterIP"), spec.get("clusterIPs"), spec.get("ipFamilies"));
    let list: Vec<&str> = all.texts().collect();
    match (first.text(), list.first()) {
        ("", Some(_)) => all.invalid("must be empty when `clusterIP` is not specified"),
        ("", None) => {}
        (_, None) => all.required(""),
        (first, Some(listed)) if first != *listed => all.invalid("first value must match `clusterIP`"),
        _ => {}
    }
    let mut taken = HashSet::new();
    for family in families.items() {
        family.may_be_one_of(&["IPv4", "IPv6"]);
        if !taken.insert(family.text()) {
            family.duplicate();
        }
    }
    spec.get("ipFamilyPolicy").may_be_one_of(&["PreferDualStack", "RequireDualStack", "SingleStack"]);
    let before = spec.fault_count();
    if list.first() == Some(&"None") && list.len() > 1 {
        all.invalid("'None' must be the first and only value");
    }
    if list.len() > 2 {
        all.invalid("may only hold up to 2 values");
    }
    let readable = |address: &&str| *address == "None" || address.parse::<IpAddr>().is_ok();
    if spec.fault_count() == before && list.iter().all(readable) {
        families_fit(&all, &families, &list);
    }
}

fn families_fit(all: &Cursor<'_>, families: &Cursor<'_>, list: &[&str]) {
    let family = |address: &str| if address.contains(':') { "IPv6" } else { "IPv4" };
    if let [first, second] = list
        && family(first) == family(second)
    {
        all.invalid("may specify no more than one IP for each IP family");
    }
    for (index, (address, wanted)) in all.items().zip(families.texts()).enumerate() {
        if address.text() != "None" && family(address.text()) != wanted {
            address.invalid(format!("expected an {wanted} value as indicated by `ipFamilies[{index}]`"));
        }
    }
}

fn load_balancer(spec: &Cursor<'_>, kind: &str) {
    let class = spec.get("loadBalancerClass");
    if kind == "LoadBalancer" {
        if class.is_set() {
            class.follows(names::qualified);
        }
        return;
    }
    for field in [class, spec.get("allocateLoadBalancerNodePorts")] {
        if field.is_set() {
            field.forbidden("may only be used when `type` is 'LoadBalancer'");
        }
    }
}

fn traffic(spec: &Cursor<'_>, kind: &str) {
    let (external, internal) = (spec.get("externalTrafficPolicy"), spec.get("internalTrafficPolicy"));
    if super::is_externally_accessible(spec.value()) {
        external.must_be_one_of(&["Cluster", "Local"]);
    } else if !external.is_empty() {
        external.invalid("may only be set for externally-accessible services");
    }
    let health = spec.get("healthCheckNodePort");
    if kind == "LoadBalancer" && external.text() == "Local" {
        if !health.is_empty() {
            health.in_range(1..=65535);
        }
    } else if !health.is_empty() {
        health.invalid("may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
    }
    if kind != "ExternalName" {
        internal.must_be_one_of(&["Cluster", "Local"]);
    }
    spec.get("trafficDistribution").may_be_one_of(&["PreferClose", "PreferSameNode", "PreferSameZone"]);
}
