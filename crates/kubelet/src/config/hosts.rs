//! `/etc/hosts` of a Pod.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::Pod;

use super::dns::{self, ClusterDns};
use crate::spec;

/// The entries that every Pod network namespace starts with.
const LOCAL: &str = "# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
";

/// The file for a Pod with a network of its own.
pub(crate) fn of_pod(pod: &Pod, ips: &[String], cluster: &ClusterDns) -> String {
    let mut text = LOCAL.to_owned();
    let names = match dns::fqdn(pod, cluster) {
        Some(fqdn) => format!("{fqdn}\t{}", dns::short_hostname(pod)),
        None => dns::short_hostname(pod),
    };
    for ip in ips {
        let _ = writeln!(text, "{ip}\t{names}");
    }
    text + &aliases(pod)
}

/// The file for a Pod on the node's network; `host` is the node's own.
pub(crate) fn of_host(pod: &Pod, host: &str) -> String {
    let first = "# Kubernetes-managed hosts file (host network).\n";
    format!("{first}{}{}", host, aliases(pod))
}

fn aliases(pod: &Pod) -> String {
    let aliases = spec::of(pod).host_aliases.as_deref().unwrap_or_default();
    if aliases.is_empty() {
        return String::new();
    }
    let mut text = "\n# Entries added by HostAliases.\n".to_owned();
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        let _ = writeln!(text, "{}\t{names}", alias.ip);
    }
    text
}
