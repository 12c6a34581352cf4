//! Kernel parameters that a Pod may set: those that the kernel keeps apart for each namespace and that cannot hurt
//! others, and further ones that the node's administrator allows by name.

use k8s_openapi::api::core::v1::Pod;

use crate::spec;

/// Upstream's list of what any Pod may set.
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// Why a Pod's kernel parameters are not set: reason and message. `allowed` are names, or beginnings that end in `*`.
pub(crate) fn refusal(pod: &Pod, allowed: &[String]) -> Option<(String, String)> {
    let security = spec::of(pod).security_context.as_ref()?;
    let mut names = security.sysctls.iter().flatten().map(|sysctl| sysctl.name.replace('/', "."));
    let why = names.find_map(|name| forbidden(pod, &name, allowed))?;
    Some(("SysctlForbidden".to_owned(), format!("Pod was rejected: forbidden sysctl: {why}")))
}

fn forbidden(pod: &Pod, name: &str, allowed: &[String]) -> Option<String> {
    let is = |pattern: &String| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    };
    if !SAFE.contains(&name) && !allowed.iter().any(is) {
        return Some(format!("\"{name}\" not allowlisted"));
    }
    if name.starts_with("net.") && spec::host_network(pod) {
        return Some(format!("\"{name}\" not allowed with host net enabled"));
    }
    let of_ipc = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."].iter().any(|of| name.starts_with(of));
    if of_ipc && spec::of(pod).host_ipc == Some(true) {
        return Some(format!("\"{name}\" not allowed with host ipc enabled"));
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(name: &str, also: serde_json::Value, want: Option<&str>) {
        let mut spec = json!({"containers": [], "securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
        spec.as_object_mut().unwrap().extend(also.as_object().unwrap().clone());
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
        let refusal = refusal(&pod, &["kernel.msg*".to_owned()]);
        let want = want.map(|why| format!("Pod was rejected: forbidden sysctl: {why}"));
        assert_eq!(refusal.map(|(_, message)| message), want);
    }

    #[test]
    fn what_is_unsafe_must_be_allowed() {
        check("net.ipv4.tcp_syncookies", json!({}), None);
        check("net/ipv4/tcp_syncookies", json!({}), None);
        check("kernel.msgmax", json!({}), None);
        check("kernel.sem", json!({}), Some("\"kernel.sem\" not allowlisted"));
        check(
            "net.ipv4.tcp_syncookies",
            json!({"hostNetwork": true}),
            Some("\"net.ipv4.tcp_syncookies\" not allowed with host net enabled"),
        );
        check(
            "kernel.shm_rmid_forced",
            json!({"hostIPC": true}),
            Some("\"kernel.shm_rmid_forced\" not allowed with host ipc enabled"),
        );
    }
}
