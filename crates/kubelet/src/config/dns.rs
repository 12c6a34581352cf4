//! Name resolution of a Pod: its resolv.conf, by DNS policy; and its host name.

use k8s_openapi::api::core::v1::Pod;
use sampan_cri::v1::DnsConfig;

use crate::{Error, spec};

/// Upstream's bound on name servers.
const MAX_SERVERS: usize = 3;
/// Upstream's bound on search domains.
const MAX_SEARCHES: usize = 32;
/// DNS's bound on a label.
const MAX_HOSTNAME: usize = 63;
/// Linux's bound on host names.
const MAX_FQDN: usize = 64;

/// The cluster's own name service.
#[derive(Clone, Debug)]
pub(crate) struct ClusterDns {
    pub(crate) servers: Vec<String>,
    pub(crate) domain: String,
}

/// The resolv.conf of `pod`; `host` is the node's.
pub(crate) fn config(pod: &Pod, cluster: &ClusterDns, host: &DnsConfig) -> DnsConfig {
    let mut dns = match policy(pod) {
        Policy::None => DnsConfig::default(),
        Policy::Default => host.clone(),
        Policy::ClusterFirst => cluster_first(spec::namespace(pod), cluster, host),
    };
    if let Some(own) = &spec::of(pod).dns_config {
        append(&mut dns.servers, own.nameservers.iter().flatten());
        append(&mut dns.searches, own.searches.iter().flatten());
        for option in own.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            dns.options.retain(|known| known.split(':').next() != Some(name.as_str()));
            dns.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
        }
    }
    dns.servers.truncate(MAX_SERVERS);
    dns.searches.truncate(MAX_SEARCHES);
    dns
}

enum Policy {
    ClusterFirst,
    Default,
    None,
}

fn policy(pod: &Pod) -> Policy {
    match spec::of(pod).dns_policy.as_deref() {
        Some("None") => Policy::None,
        Some("Default") => Policy::Default,
        Some("ClusterFirstWithHostNet") => Policy::ClusterFirst,
        _ if spec::host_network(pod) => Policy::Default,
        _ => Policy::ClusterFirst,
    }
}

fn cluster_first(namespace: &str, cluster: &ClusterDns, host: &DnsConfig) -> DnsConfig {
    let domain = &cluster.domain;
    let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    append(&mut searches, host.searches.iter());
    DnsConfig { servers: cluster.servers.clone(), searches, options: vec!["ndots:5".to_owned()] }
}

fn append<'a>(list: &mut Vec<String>, more: impl Iterator<Item = &'a String>) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

/// Reads a resolv.conf.
pub(crate) fn parse(resolv_conf: &str) -> DnsConfig {
    let mut dns = DnsConfig::default();
    for line in resolv_conf.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.next().map(str::to_owned)),
            Some("search" | "domain") => dns.searches = words.filter(|word| *word != ".").map(str::to_owned).collect(),
            Some("options") => dns.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    dns
}

/// The host name inside the Pod; empty on the node's network, where it is the node's.
pub(crate) fn hostname(pod: &Pod, cluster: &ClusterDns) -> String {
    let spec = spec::of(pod);
    if let Some(own) = spec.hostname_override.as_deref().filter(|own| !own.is_empty()) {
        return own.to_owned();
    }
    if spec::host_network(pod) {
        return String::new();
    }
    let short = short_hostname(pod);
    match fqdn(pod, cluster) {
        Some(fqdn) if spec.set_hostname_as_fqdn == Some(true) => fqdn,
        _ => short,
    }
}

/// Why the Pod cannot have the host name that it asks for.
pub(crate) fn check_hostname(pod: &Pod, cluster: &ClusterDns) -> Result<(), Error> {
    let name = hostname(pod, cluster);
    if name.len() <= MAX_FQDN {
        return Ok(());
    }
    Err(Error::Config(format!(
        "failed to construct FQDN from pod hostname and cluster domain, FQDN {name} is too long ({MAX_FQDN} characters is \
         the max, {} characters requested)",
        name.len()
    )))
}

/// The Pod's own name in the network.
pub(crate) fn short_hostname(pod: &Pod) -> String {
    let name = spec::of(pod).hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(spec::name(pod));
    let end = name.len().min(MAX_HOSTNAME);
    name.get(..end).unwrap_or(name).trim_end_matches(['-', '.']).to_owned()
}

/// The full name of a Pod with a subdomain.
pub(crate) fn fqdn(pod: &Pod, cluster: &ClusterDns) -> Option<String> {
    let subdomain = spec::of(pod).subdomain.as_deref().filter(|subdomain| !subdomain.is_empty())?;
    Some(format!("{}.{subdomain}.{}.svc.{}", short_hostname(pod), spec::namespace(pod), cluster.domain))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(spec: Value, want: &str) {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec})).unwrap();
        let cluster = ClusterDns { servers: vec!["10.43.0.10".to_owned()], domain: "cluster.local".to_owned() };
        let host = parse("# x\nnameserver 192.0.2.53\nsearch lan .\noptions timeout:1\n");
        let dns = config(&pod, &cluster, &host);
        let text = format!("{} | {} | {}", dns.servers.join(" "), dns.searches.join(" "), dns.options.join(" "));
        assert_eq!(text, want);
    }

    fn check_name(spec: Value, want: &str) {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec})).unwrap();
        let cluster = ClusterDns { servers: Vec::new(), domain: "cluster.local".to_owned() };
        let checked = check_hostname(&pod, &cluster).map(|()| hostname(&pod, &cluster));
        assert_eq!(checked.unwrap_or_else(|error| error.to_string()), want);
    }

    #[test]
    fn a_pod_has_the_host_name_that_it_asks_for() {
        check_name(json!({"containers": []}), "web");
        check_name(json!({"containers": [], "hostname": "me", "subdomain": "sub"}), "me");
        let fqdn = |sub: &str| json!({"containers": [], "subdomain": sub, "setHostnameAsFQDN": true});
        check_name(fqdn("sub"), "web.sub.ns.svc.cluster.local");
        check_name(json!({"containers": [], "hostNetwork": true}), "");
        check_name(json!({"containers": [], "hostnameOverride": "db.example.org", "hostname": "me"}), "db.example.org");
        let long = "a".repeat(40);
        let name = format!("web.{long}.ns.svc.cluster.local");
        check_name(
            fqdn(&long),
            &format!(
                "failed to construct FQDN from pod hostname and cluster domain, FQDN {name} is too long (64 characters is \
                 the max, {} characters requested)",
                name.len()
            ),
        );
    }

    #[test]
    fn the_policy_chooses() {
        let cluster = "10.43.0.10 | ns.svc.cluster.local svc.cluster.local cluster.local lan | ndots:5";
        let host = "192.0.2.53 | lan | timeout:1";
        check(json!({"containers": []}), cluster);
        check(json!({"containers": [], "dnsPolicy": "Default"}), host);
        check(json!({"containers": [], "dnsPolicy": "ClusterFirst", "hostNetwork": true}), host);
        check(json!({"containers": [], "dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true}), cluster);
        check(
            json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
            "1.1.1.1 | a | ndots:2 edns0",
        );
        check(
            json!({"containers": [], "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}}),
            "10.43.0.10 | ns.svc.cluster.local svc.cluster.local cluster.local lan | ndots:2",
        );
    }
}
