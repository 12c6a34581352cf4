//! Security contexts: who a container runs as, and what it may do.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Capabilities, Container, Pod, PodSecurityContext, SeccompProfile, SecurityContext,
};
use sampan_cri::v1::security_profile::ProfileType;
use sampan_cri::v1::{
    Capability, Int64Value, LinuxContainerSecurityContext, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption,
    SeLinuxOption, SecurityProfile, SupplementalGroupsPolicy,
};

use super::apparmor;
use crate::{Error, spec};

/// Hidden from containers unless they ask for an unmasked /proc.
const MASKED: [&str; 13] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/proc/kpagecount",
];
/// Readable but not writable for containers unless they ask for an unmasked /proc.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Who an image runs as.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageUser {
    pub(crate) uid: Option<i64>,
    /// A user name that only the image can resolve.
    pub(crate) name: String,
}

/// The security context of a container. It sees the processes of the container `target` instead of its own, unless it
/// sees more anyway.
pub(crate) fn of_container(
    pod: &Pod,
    container: &Container,
    user: &ImageUser,
    target: Option<&str>,
) -> Result<LinuxContainerSecurityContext, Error> {
    let own = container.security_context.clone().unwrap_or_default();
    let of_pod = spec::of(pod).security_context.clone().unwrap_or_default();
    verify_non_root(pod, container, &Wish::of(&own, &of_pod), user)?;
    let wish = Wish::of(&own, &of_pod);
    let privileged = own.privileged == Some(true);
    let masks = !privileged && own.proc_mount.as_deref() != Some("Unmasked");
    let paths = |list: &[&str]| if masks { list.iter().map(|path| (*path).to_owned()).collect() } else { Vec::new() };
    Ok(LinuxContainerSecurityContext {
        capabilities: own.capabilities.as_ref().map(capabilities),
        privileged,
        namespace_options: Some(namespaces_of_container(pod, target)),
        selinux_options: own.se_linux_options.as_ref().or(of_pod.se_linux_options.as_ref()).map(|options| {
            SeLinuxOption {
                user: options.user.clone().unwrap_or_default(),
                role: options.role.clone().unwrap_or_default(),
                r#type: options.type_.clone().unwrap_or_default(),
                level: options.level.clone().unwrap_or_default(),
            }
        }),
        run_as_user: wish.user.or(user.uid).map(int),
        run_as_username: if wish.user.is_none() && user.uid.is_none() { user.name.clone() } else { String::new() },
        run_as_group: wish.group.map(int),
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        supplemental_groups: groups(&of_pod),
        supplemental_groups_policy: groups_policy(&of_pod),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
        seccomp: Some(seccomp(own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref()), privileged)),
        apparmor: apparmor::profile(pod, container).map(apparmor),
        ..LinuxContainerSecurityContext::default()
    })
}

/// The security context of a sandbox.
pub(crate) fn of_sandbox(pod: &Pod) -> LinuxSandboxSecurityContext {
    let of_pod = spec::of(pod).security_context.clone().unwrap_or_default();
    let privileged = spec::containers(pod)
        .any(|(_, container)| container.security_context.as_ref().is_some_and(|own| own.privileged == Some(true)));
    LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)),
        run_as_user: of_pod.run_as_user.map(int),
        run_as_group: of_pod.run_as_group.map(int),
        supplemental_groups: groups(&of_pod),
        supplemental_groups_policy: groups_policy(&of_pod),
        privileged,
        seccomp: Some(seccomp(None, privileged)),
        ..LinuxSandboxSecurityContext::default()
    }
}

fn int(value: i64) -> Int64Value {
    Int64Value { value }
}

/// Who the container wants to be: its own words over the Pod's.
struct Wish {
    user: Option<i64>,
    group: Option<i64>,
    non_root: Option<bool>,
}

impl Wish {
    fn of(own: &SecurityContext, of_pod: &PodSecurityContext) -> Self {
        Self {
            user: own.run_as_user.or(of_pod.run_as_user),
            group: own.run_as_group.or(of_pod.run_as_group),
            non_root: own.run_as_non_root.or(of_pod.run_as_non_root),
        }
    }
}

fn verify_non_root(pod: &Pod, container: &Container, wish: &Wish, image: &ImageUser) -> Result<(), Error> {
    if wish.non_root != Some(true) {
        return Ok(());
    }
    let place = format!("(pod: \"{}\", container: {})", spec::describe(pod), container.name);
    let text = match (wish.user, image.uid) {
        (Some(0), _) => format!("container's runAsUser breaks non-root policy {place}"),
        (Some(_), _) => return Ok(()),
        (None, Some(0)) => format!("container has runAsNonRoot and image will run as root {place}"),
        (None, None) if !image.name.is_empty() => {
            let user = &image.name;
            format!(
                "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root {place}"
            )
        }
        (None, None) => format!("container has runAsNonRoot and image will run as root {place}"),
        (None, Some(_)) => return Ok(()),
    };
    Err(Error::Config(text))
}

fn capabilities(wish: &Capabilities) -> Capability {
    Capability {
        add_capabilities: wish.add.clone().unwrap_or_default(),
        drop_capabilities: wish.drop.clone().unwrap_or_default(),
        add_ambient_capabilities: Vec::new(),
    }
}

fn groups(of_pod: &PodSecurityContext) -> Vec<i64> {
    let more = of_pod.supplemental_groups.iter().flatten().copied();
    let mut groups: Vec<i64> = of_pod.fs_group.into_iter().chain(more).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

fn groups_policy(of_pod: &PodSecurityContext) -> i32 {
    match of_pod.supplemental_groups_policy.as_deref() {
        Some("Strict") => SupplementalGroupsPolicy::Strict.into(),
        _ => SupplementalGroupsPolicy::Merge.into(),
    }
}

/// Which namespaces are the node's, the Pod's or the container's own.
fn namespaces(pod: &Pod) -> NamespaceOption {
    let spec = spec::of(pod);
    let pid = match (spec.host_pid, spec.share_process_namespace) {
        (Some(true), _) => NamespaceMode::Node,
        (_, Some(true)) => NamespaceMode::Pod,
        _ => NamespaceMode::Container,
    };
    let shared = |host: Option<bool>| if host == Some(true) { NamespaceMode::Node } else { NamespaceMode::Pod };
    NamespaceOption {
        network: shared(spec.host_network).into(),
        ipc: shared(spec.host_ipc).into(),
        pid: pid.into(),
        ..NamespaceOption::default()
    }
}

fn namespaces_of_container(pod: &Pod, target: Option<&str>) -> NamespaceOption {
    let mut namespaces = namespaces(pod);
    if let Some(target) = target.filter(|_| namespaces.pid == i32::from(NamespaceMode::Container)) {
        namespaces.pid = NamespaceMode::Target.into();
        namespaces.target_id = target.to_owned();
    }
    namespaces
}

/// An AppArmor profile in CRI's words.
fn apparmor(wish: AppArmorProfile) -> SecurityProfile {
    let kind = match wish.type_.as_str() {
        "Unconfined" => ProfileType::Unconfined,
        "Localhost" => ProfileType::Localhost,
        _ => ProfileType::RuntimeDefault,
    };
    SecurityProfile { profile_type: kind.into(), localhost_ref: wish.localhost_profile.unwrap_or_default() }
}

/// The runtime's default profile unless something else is asked for; a privileged container is not confined.
fn seccomp(wish: Option<&SeccompProfile>, privileged: bool) -> SecurityProfile {
    let (kind, reference) = match wish.map(|profile| (profile.type_.as_str(), profile)) {
        _ if privileged => (ProfileType::Unconfined, String::new()),
        Some(("Unconfined", _)) => (ProfileType::Unconfined, String::new()),
        Some(("Localhost", profile)) => (ProfileType::Localhost, profile.localhost_profile.clone().unwrap_or_default()),
        _ => (ProfileType::RuntimeDefault, String::new()),
    };
    SecurityProfile { profile_type: kind.into(), localhost_ref: reference }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(of_pod: Value, own: Value, image: (Option<i64>, &str), want: &str) {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"securityContext": of_pod, "containers": [{"name": "c", "securityContext": own}]},
        }))
        .unwrap();
        let user = ImageUser { uid: image.0, name: image.1.to_owned() };
        let got = match of_container(&pod, &pod.spec.as_ref().unwrap().containers[0], &user, None) {
            Err(error) => error.to_string(),
            Ok(context) => format!(
                "user={:?}{} group={:?} groups={:?}",
                context.run_as_user.map(|v| v.value),
                context.run_as_username,
                context.run_as_group.map(|v| v.value),
                context.supplemental_groups
            ),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn users_come_from_container_then_pod_then_image() {
        check(json!({}), json!({}), (None, ""), "user=None group=None groups=[]");
        check(json!({}), json!({}), (Some(5), ""), "user=Some(5) group=None groups=[]");
        check(json!({}), json!({}), (None, "www"), "user=Nonewww group=None groups=[]");
        check(
            json!({"runAsUser": 7, "runAsGroup": 8}),
            json!({}),
            (Some(5), ""),
            "user=Some(7) group=Some(8) groups=[]",
        );
        check(json!({"runAsUser": 7}), json!({"runAsUser": 9}), (None, ""), "user=Some(9) group=None groups=[]");
        check(
            json!({"fsGroup": 3, "supplementalGroups": [4, 3]}),
            json!({}),
            (None, ""),
            "user=None group=None groups=[3, 4]",
        );
    }

    #[test]
    fn non_root_is_verified() {
        let non_root = json!({"runAsNonRoot": true});
        let place = "(pod: \"p_ns(u)\", container: c)";
        check(non_root.clone(), json!({"runAsUser": 1}), (Some(0), ""), "user=Some(1) group=None groups=[]");
        check(non_root.clone(), json!({"runAsNonRoot": false}), (Some(0), ""), "user=Some(0) group=None groups=[]");
        check(
            non_root.clone(),
            json!({}),
            (Some(0), ""),
            &format!("container has runAsNonRoot and image will run as root {place}"),
        );
        check(
            non_root.clone(),
            json!({"runAsUser": 0}),
            (Some(1), ""),
            &format!("container's runAsUser breaks non-root policy {place}"),
        );
        check(
            non_root,
            json!({}),
            (None, "www"),
            &format!(
                "container has runAsNonRoot and image has non-numeric user (www), cannot verify user is non-root {place}"
            ),
        );
    }
}
