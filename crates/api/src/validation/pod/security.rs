//! Security contexts of Pods and containers.

use std::collections::HashSet;

use super::app_armor;
use crate::validation::cursor::Cursor;

const IDS: std::ops::RangeInclusive<i64> = 0..=0xffff_ffff;
const SYSCTL_BYTES: usize = 253;
const SYSCTL_FORMAT: &str = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

/// What a spec says about its Pod's place among the host's namespaces, and its users.
pub(super) fn pod(spec: &Cursor<'_>) {
    let context = spec.get("securityContext");
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        context.get(field).in_range(IDS);
    }
    for group in context.get("supplementalGroups").items() {
        group.in_range(IDS);
    }
    if spec.get("shareProcessNamespace").is_true() && spec.get("hostPID").is_true() {
        spec.get("shareProcessNamespace").invalid("ShareProcessNamespace and HostPID cannot both be enabled");
    }
    sysctls(spec, &context.get("sysctls"));
    context.get("fsGroupChangePolicy").may_be_one_of(&["Always", "OnRootMismatch"]);
    context.get("supplementalGroupsPolicy").may_be_one_of(&["Merge", "Strict"]);
    seccomp(&context.get("seccompProfile"));
    app_armor::profile(&context.get("appArmorProfile"));
    if spec.get("hostUsers").value() == &serde_json::Value::Bool(false) {
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            if spec.get(field).is_true() {
                spec.get(field).forbidden("when `hostUsers` is false");
            }
        }
    }
}

/// A container's security context.
pub(super) fn container(context: &Cursor<'_>, host_users: bool) {
    for field in ["runAsUser", "runAsGroup"] {
        context.get(field).in_range(IDS);
    }
    let proc_mount = context.get("procMount");
    proc_mount.may_be_one_of(&["Default", "Unmasked"]);
    if host_users && proc_mount.text() == "Unmasked" {
        proc_mount.invalid("`hostUsers` must be false to use `Unmasked`");
    }
    seccomp(&context.get("seccompProfile"));
    app_armor::profile(&context.get("appArmorProfile"));
    if context.get("allowPrivilegeEscalation").value() == &serde_json::Value::Bool(false) {
        no_way_to_escalate(context);
    }
}

fn no_way_to_escalate(context: &Cursor<'_>) {
    if context.get("privileged").is_true() {
        context.invalid("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    }
    if context.get("capabilities").get("add").texts().any(|capability| capability == "CAP_SYS_ADMIN") {
        context.invalid("cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
    }
}

fn seccomp(profile: &Cursor<'_>) {
    if !profile.is_set() {
        return;
    }
    let (kind, file) = (profile.get("type"), profile.get("localhostProfile"));
    match kind.text() {
        "Localhost" => {
            if file.is_set() {
                super::volumes::relative(&file);
                crate::validation::volume_sources::no_backsteps(&file);
            } else {
                file.required("must be set when seccomp type is Localhost");
            }
            return;
        }
        "RuntimeDefault" | "Unconfined" => {}
        "" => kind.required("type is required when seccompProfile is set"),
        _ => kind.not_supported(&["Localhost", "RuntimeDefault", "Unconfined"]),
    }
    if file.is_set() {
        file.invalid_as(profile.value().clone(), "can only be set when seccomp type is Localhost");
    }
}

fn sysctls(spec: &Cursor<'_>, sysctls: &Cursor<'_>) {
    let mut taken = HashSet::new();
    for name in sysctls.items().map(|sysctl| sysctl.get("name")) {
        if !name.must() {
            continue;
        }
        if !is_sysctl(name.text()) {
            name.invalid(format!("must have at most {SYSCTL_BYTES} characters and match regex {SYSCTL_FORMAT}"));
        } else if !taken.insert(name.text()) {
            name.duplicate();
        }
        for (field, in_namespace) in [("hostNetwork", is_net as fn(&str) -> bool), ("hostIPC", is_ipc)] {
            if spec.get(field).is_true() && in_namespace(&name.text().replace('/', ".")) {
                name.invalid(format!("may not be specified when '{field}' is true"));
            }
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = |c: char| end(c) || matches!(c, '-' | '_');
    let segment = |text: &str| text.chars().all(good) && text.starts_with(end) && text.ends_with(end);
    name.len() <= SYSCTL_BYTES && name.split(['.', '/']).all(segment)
}

fn is_net(name: &str) -> bool {
    name.starts_with("net.")
}

fn is_ipc(name: &str) -> bool {
    name == "kernel.sem" || ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| name.starts_with(prefix))
}
