//! The rules of the level `baseline`: nothing that is a known way out of a container.

use std::collections::BTreeSet;

use serde_json::Value;

use super::subject::{Subject, containers, distinct, if_any, items, name, plural, quoted, violation};
use super::{Rule, Violation};
use crate::validation::APP_ARMOR_ANNOTATION;

/// In upstream's order, that of their names.
pub(super) const RULES: &[Rule] = &[
    rule("appArmorProfile", 0, app_armor),
    rule("capabilities_baseline", 0, capabilities),
    rule("hostNamespaces", 0, host_namespaces),
    rule("hostPathVolumes", 0, host_paths),
    rule("hostPorts", 0, host_ports),
    rule("hostProbesAndHostLifecycle", 34, probed_hosts),
    rule("privileged", 0, privileged),
    rule("procMount", 0, proc_mount_unless_own_users),
    rule("seLinuxOptions", 0, selinux),
    rule("seccompProfile_baseline", 0, seccomp),
    rule("sysctls", 0, sysctls),
    rule("windowsHostProcess", 0, host_process),
];

const fn rule(name: &'static str, since: u32, check: fn(&Subject, u32) -> Option<Violation>) -> Rule {
    Rule { name, since, replaces: "", check }
}

fn app_armor(pod: &Subject, _: u32) -> Option<Violation> {
    let bad = |context: &Value| {
        let profile = &context["appArmorProfile"];
        !profile.is_null() && profile["type"] != "RuntimeDefault" && profile["type"] != "Localhost"
    };
    let annotations = pod.metadata["annotations"].as_object().into_iter().flatten();
    let allowed = |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let mut annotated: Vec<String> = annotations
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .filter(|(key, value)| key.starts_with(APP_ARMOR_ANNOTATION) && !allowed(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    annotated.sort();
    let mut setters = pod.setters(bad);
    if !annotated.is_empty() {
        setters += if setters.is_empty() { "" } else { " and " };
        setters += plural(&annotated, "annotation", "annotations");
    }
    let types = pod.contexts().filter(|context| bad(context)).map(|context| &context["appArmorProfile"]["type"]);
    let values: Vec<String> = distinct(types).into_iter().map(str::to_owned).chain(annotated).collect();
    let reason = plural(&values, "forbidden AppArmor profile", "forbidden AppArmor profiles");
    let detail = if_any(values, |values| format!("{setters} must not set AppArmor profile type to {}", quoted(values)));
    violation(reason, detail)
}

/// What a container may add: the set it has anyway.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn capabilities(pod: &Subject, _: u32) -> Option<Violation> {
    let added = |container: &'_ Value| {
        let list = items(&container["securityContext"]["capabilities"]["add"]);
        list.filter_map(Value::as_str).filter(|one| !CAPABILITIES.contains(one)).map(str::to_owned).collect::<Vec<_>>()
    };
    let bad: Vec<String> = pod.containers().flat_map(added).collect::<BTreeSet<_>>().into_iter().collect();
    let detail = if_any(pod.containers_where(|container| !added(container).is_empty()), |names| {
        format!("{} must not include {} in securityContext.capabilities.add", containers(names), quoted(&bad))
    });
    violation("non-default capabilities", detail)
}

fn host_namespaces(pod: &Subject, _: u32) -> Option<Violation> {
    let shared = ["hostNetwork", "hostPID", "hostIPC"].iter().filter(|field| pod.spec[**field] == true);
    let shared: Vec<String> = shared.map(|field| format!("{field}=true")).collect();
    violation("host namespaces", if_any(shared, |shared| shared.join(", ")))
}

fn host_paths(pod: &Subject, _: u32) -> Option<Violation> {
    let volumes = items(&pod.spec["volumes"]).filter(|volume| !volume["hostPath"].is_null()).map(name).collect();
    let words = |names: &[&str]| format!("{} {}", plural(names, "volume", "volumes"), quoted(names));
    violation("hostPath volumes", if_any(volumes, words))
}

fn host_ports(pod: &Subject, _: u32) -> Option<Violation> {
    let used = |container: &Value| {
        let ports = items(&container["ports"]).filter_map(|port| port["hostPort"].as_i64());
        ports.filter(|port| *port != 0).map(|port| port.to_string()).collect::<Vec<_>>()
    };
    let ports: Vec<String> = pod.containers().flat_map(used).collect::<BTreeSet<_>>().into_iter().collect();
    let detail = if_any(pod.containers_where(|container| !used(container).is_empty()), |names| {
        let (uses, port) = (plural(names, "uses", "use"), plural(&ports, "hostPort", "hostPorts"));
        format!("{} {uses} {port} {}", containers(names), ports.join(", "))
    });
    violation("hostPort", detail)
}

fn probed_hosts(pod: &Subject, _: u32) -> Option<Violation> {
    let hosts = |container: &Value| {
        let places =
            ["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];
        let handlers = places.iter().filter_map(|place| container.pointer(place));
        let hosts = handlers.flat_map(|handler| [&handler["httpGet"]["host"], &handler["tcpSocket"]["host"]]);
        let named = hosts.filter_map(Value::as_str).filter(|host| !host.is_empty());
        named.map(str::to_owned).collect::<Vec<_>>()
    };
    let bad: Vec<String> = pod.containers().flat_map(hosts).collect::<BTreeSet<_>>().into_iter().collect();
    let mut names = pod.containers_where(|container| !hosts(container).is_empty());
    names.sort_unstable();
    let detail = if_any(names, |names| {
        let host = plural(&bad, "probe or lifecycle host", "probe or lifecycle hosts");
        format!("{} {} {host} {}", containers(names), plural(names, "uses", "use"), quoted(&bad))
    });
    violation("probe or lifecycle host", detail)
}

fn privileged(pod: &Subject, _: u32) -> Option<Violation> {
    let names = pod.containers_where(|container| container["securityContext"]["privileged"] == true);
    let words = |names: &[&str]| format!("{} must not set securityContext.privileged=true", containers(names));
    violation("privileged", if_any(names, words))
}

fn proc_mount_unless_own_users(pod: &Subject, minor: u32) -> Option<Violation> {
    if minor >= 35 && pod.has_own_users() { None } else { proc_mount(pod, minor) }
}

/// `/proc` is masked.
pub(super) fn proc_mount(pod: &Subject, _: u32) -> Option<Violation> {
    let of = |container: &'_ Value| container["securityContext"]["procMount"].as_str().map(str::to_owned);
    let bad = |container: &Value| of(container).filter(|mount| mount != "Default");
    let mounts: Vec<String> = pod.containers().filter_map(bad).collect::<BTreeSet<_>>().into_iter().collect();
    let detail = if_any(pod.containers_where(|container| bad(container).is_some()), |names| {
        format!("{} must not set securityContext.procMount to {}", containers(names), quoted(&mounts))
    });
    violation("procMount", detail)
}

const SELINUX_TYPES: [&str; 4] = ["", "container_t", "container_init_t", "container_kvm_t"];

fn selinux(pod: &Subject, minor: u32) -> Option<Violation> {
    let text =
        |context: &'_ Value, field: &str| context["seLinuxOptions"][field].as_str().unwrap_or_default().to_owned();
    let bad_type = |context: &Value| {
        let set = text(context, "type");
        !(SELINUX_TYPES.contains(&set.as_str()) || minor >= 31 && set == "container_engine_t")
    };
    let sets = |context: &Value, field: &str| !text(context, field).is_empty();
    let setters = pod.setters(|context| bad_type(context) || sets(context, "user") || sets(context, "role"));
    if setters.is_empty() {
        return None;
    }
    let types: BTreeSet<String> =
        pod.contexts().filter(|context| bad_type(context)).map(|context| text(context, "type")).collect();
    let types = if_any(types.into_iter().collect::<Vec<_>>(), |types| {
        format!("{} {}", plural(types, "type", "types"), quoted(types))
    });
    let may_not =
        |field: &str| pod.contexts().any(|context| sets(context, field)).then(|| format!("{field} may not be set"));
    let faults: Vec<String> = [types, may_not("user"), may_not("role")].into_iter().flatten().collect();
    let detail = format!("{setters} set forbidden securityContext.seLinuxOptions: {}", faults.join("; "));
    violation("seLinuxOptions", Some(detail))
}

/// Whether a context asks for a seccomp profile that filters nothing.
pub(super) fn bad_seccomp(context: &Value) -> bool {
    let profile = &context["seccompProfile"];
    !profile.is_null() && profile["type"] != "RuntimeDefault" && profile["type"] != "Localhost"
}

fn seccomp(pod: &Subject, minor: u32) -> Option<Violation> {
    if minor < 19 { seccomp_annotations(pod) } else { seccomp_set(pod) }
}

/// Somebody switches the filter off in so many words.
pub(super) fn seccomp_set(pod: &Subject) -> Option<Violation> {
    let types = pod.contexts().filter(|context| bad_seccomp(context)).map(|context| &context["seccompProfile"]["type"]);
    let detail = if_any(distinct(types), |types| {
        let setters = pod.setters(bad_seccomp);
        format!("{setters} must not set securityContext.seccompProfile.type to {}", quoted(types))
    });
    violation("seccompProfile", detail)
}

/// Before release 1.19 annotations said it.
fn seccomp_annotations(pod: &Subject) -> Option<Violation> {
    let own = "seccomp.security.alpha.kubernetes.io/pod".to_owned();
    let others =
        pod.containers().map(|container| format!("container.seccomp.security.alpha.kubernetes.io/{}", name(container)));
    let allowed =
        |value: &str| matches!(value, "" | "runtime/default" | "docker/default") || value.starts_with("localhost/");
    let bad = |key: String| {
        let value = pod.metadata["annotations"][&key].as_str().filter(|value| !allowed(value))?;
        Some(format!("{key}={value:?}"))
    };
    let forbidden: BTreeSet<String> = std::iter::once(own).chain(others).filter_map(bad).collect();
    let detail = if_any(forbidden.into_iter().collect::<Vec<_>>(), |forbidden| {
        format!("forbidden {} {}", plural(forbidden, "annotation", "annotations"), forbidden.join(", "))
    });
    violation("seccompProfile", detail)
}

/// The settings that reach no further than the Pod, and since which release they are known not to.
const SYSCTLS: [(&str, u32); 14] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
    ("net.ipv4.tcp_slow_start_after_idle", 37),
    ("net.ipv4.tcp_notsent_lowat", 37),
];

fn sysctls(pod: &Subject, minor: u32) -> Option<Violation> {
    let known = |wanted: &str| SYSCTLS.iter().any(|(name, since)| *name == wanted && *since <= minor);
    let wanted = items(&pod.spec["securityContext"]["sysctls"]).map(name);
    let forbidden: Vec<&str> = wanted.filter(|sysctl| !known(sysctl)).collect();
    violation("forbidden sysctls", if_any(forbidden, |forbidden| forbidden.join(", ")))
}

fn host_process(pod: &Subject, _: u32) -> Option<Violation> {
    let setters = pod.setters(|context| context["windowsOptions"]["hostProcess"] == true);
    let detail = format!("{setters} must not set securityContext.windowsOptions.hostProcess=true");
    violation("hostProcess", (!setters.is_empty()).then_some(detail))
}
