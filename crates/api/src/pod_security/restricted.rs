//! The rules that the level `restricted` adds: what a hardened Pod does without.

use std::collections::BTreeSet;

use serde_json::Value;

use super::baseline::{bad_seccomp, proc_mount, seccomp_set};
use super::subject::{Subject, containers, if_any, items, name, plural, quoted, violation};
use super::{Rule, Violation};

/// In upstream's order, that of their names.
pub(super) const RULES: &[Rule] = &[
    Rule { name: "allowPrivilegeEscalation", since: 8, replaces: "", check: escalation },
    Rule { name: "capabilities_restricted", since: 22, replaces: "capabilities_baseline", check: capabilities },
    Rule { name: "procMount_restricted", since: 35, replaces: "procMount", check: proc_mount },
    Rule { name: "restrictedVolumes", since: 0, replaces: "hostPathVolumes", check: volumes },
    Rule { name: "runAsNonRoot", since: 0, replaces: "", check: non_root },
    Rule { name: "runAsUser", since: 23, replaces: "", check: root_user },
    Rule { name: "seccompProfile_restricted", since: 19, replaces: "seccompProfile_baseline", check: seccomp },
];

/// The release since which a Pod that says it runs on Windows is left alone.
const WINDOWS_SINCE: u32 = 25;
/// The release since which root in a user namespace of its own counts as nobody.
const OWN_USERS_SINCE: u32 = 35;

fn is_exempt_windows(pod: &Subject, minor: u32) -> bool {
    minor >= WINDOWS_SINCE && pod.is_windows()
}

fn escalation(pod: &Subject, minor: u32) -> Option<Violation> {
    if is_exempt_windows(pod, minor) {
        return None;
    }
    let names = pod.containers_where(|container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    let words =
        |names: &[&str]| format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(names));
    violation("allowPrivilegeEscalation != false", if_any(names, words))
}

fn capabilities(pod: &Subject, minor: u32) -> Option<Violation> {
    if is_exempt_windows(pod, minor) {
        return None;
    }
    let keeps = |container: &Value| {
        !items(&container["securityContext"]["capabilities"]["drop"]).any(|capability| capability == "ALL")
    };
    let kept = if_any(pod.containers_where(keeps), |names| {
        format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(names))
    });
    let added = |container: &Value| {
        let list = items(&container["securityContext"]["capabilities"]["add"]).filter_map(Value::as_str);
        list.filter(|capability| *capability != "NET_BIND_SERVICE").map(str::to_owned).collect::<Vec<_>>()
    };
    let forbidden: Vec<String> = pod.containers().flat_map(added).collect::<BTreeSet<_>>().into_iter().collect();
    let added = if_any(pod.containers_where(|container| !added(container).is_empty()), |names| {
        format!("{} must not include {} in securityContext.capabilities.add", containers(names), quoted(&forbidden))
    });
    let details: Vec<String> = kept.into_iter().chain(added).collect();
    violation("unrestricted capabilities", if_any(details, |details| details.join("; ")))
}

const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn volumes(pod: &Subject, _: u32) -> Option<Violation> {
    let restricted = |volume: &&Value| VOLUMES.iter().all(|source| volume[*source].is_null());
    let bad: Vec<&Value> = items(&pod.spec["volumes"]).filter(restricted).collect();
    let kind = |volume: &&Value| {
        let fields = volume.as_object().into_iter().flatten();
        let source =
            fields.filter(|(key, value)| *key != "name" && !value.is_null()).map(|(key, _)| key.clone()).next();
        source.unwrap_or_else(|| "unknown".to_owned())
    };
    let kinds: Vec<String> = bad.iter().map(kind).collect::<BTreeSet<_>>().into_iter().collect();
    let detail = if_any(bad.into_iter().map(name).collect::<Vec<_>>(), |names| {
        let (volume, uses) = (plural(names, "volume", "volumes"), plural(names, "uses", "use"));
        let kind = plural(&kinds, "restricted volume type", "restricted volume types");
        format!("{volume} {} {uses} {kind} {}", quoted(names), quoted(&kinds))
    });
    violation("restricted volume types", detail)
}

fn non_root(pod: &Subject, minor: u32) -> Option<Violation> {
    if minor >= OWN_USERS_SINCE && pod.has_own_users() {
        return None;
    }
    let setters = pod.setters(|context| context["runAsNonRoot"] == false);
    let reason = "runAsNonRoot != true";
    if !setters.is_empty() {
        return violation(reason, Some(format!("{setters} must not set securityContext.runAsNonRoot=false")));
    }
    if pod.spec["securityContext"]["runAsNonRoot"] == true {
        return None;
    }
    let silent = pod.containers_where(|container| container["securityContext"]["runAsNonRoot"].is_null());
    let words = |names: &[&str]| format!("pod or {} must set securityContext.runAsNonRoot=true", containers(names));
    violation(reason, if_any(silent, words))
}

fn root_user(pod: &Subject, minor: u32) -> Option<Violation> {
    if minor >= OWN_USERS_SINCE && pod.has_own_users() {
        return None;
    }
    let setters = pod.setters(|context| context["runAsUser"] == 0);
    violation("runAsUser=0", (!setters.is_empty()).then(|| format!("{setters} must not set runAsUser=0")))
}

fn seccomp(pod: &Subject, minor: u32) -> Option<Violation> {
    if is_exempt_windows(pod, minor) {
        return None;
    }
    if let Some(set) = seccomp_set(pod) {
        return Some(set);
    }
    let own = &pod.spec["securityContext"];
    if !own["seccompProfile"].is_null() && !bad_seccomp(own) {
        return None;
    }
    let silent = pod.containers_where(|container| container["securityContext"]["seccompProfile"].is_null());
    let detail = if_any(silent, |names| {
        let who = containers(names);
        format!("pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"")
    });
    violation("seccompProfile", detail)
}
