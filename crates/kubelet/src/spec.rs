//! Reading a Pod's specification: the small questions that several modules ask of it.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, ObjectReference, Pod, PodSpec, PodStatus};
use kube::Resource;

use crate::static_pods;

/// How long a Pod may take to end when it does not say.
const DEFAULT_GRACE_S: i64 = 30;

/// Which list of the specification a container stands in, and what that means for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that is started in order and then stays (restartPolicy Always).
    Sidecar,
    /// One of `spec.containers`.
    App,
    /// Put into a running Pod to look at it; runs once.
    Ephemeral,
}

/// When an ended container is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

/// What a Pod of a broken object would have: never seen, since the API server requires a specification.
pub(crate) fn of(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

/// The Pod's status, or an empty one.
pub(crate) fn status(pod: &Pod) -> &PodStatus {
    static EMPTY: std::sync::LazyLock<PodStatus> = std::sync::LazyLock::new(PodStatus::default);
    pod.status.as_ref().unwrap_or(&EMPTY)
}

/// Whether nothing of the Pod will run any more.
pub(crate) fn is_over(pod: &Pod) -> bool {
    matches!(status(pod).phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// The Pod's name.
pub(crate) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// The Pod's namespace.
pub(crate) fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// The Pod's uid.
pub(crate) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// `name_namespace(uid)`: how messages name a Pod.
pub(crate) fn describe(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// Init containers, then app containers, each with its role.
pub(crate) fn containers(pod: &Pod) -> impl Iterator<Item = (Role, &Container)> {
    let spec = of(pod);
    let init = spec.init_containers.iter().flatten().map(|container| {
        let stays = container.restart_policy.as_deref() == Some("Always");
        (if stays { Role::Sidecar } else { Role::Init }, container)
    });
    init.chain(spec.containers.iter().map(|container| (Role::App, container)))
}

/// The ephemeral containers, each as the container that it is but for its target.
pub(crate) fn ephemeral(pod: &Pod) -> impl Iterator<Item = Container> {
    of(pod).ephemeral_containers.iter().flatten().map(as_container)
}

/// The container called `name`, with its role.
pub(crate) fn container<'a>(pod: &'a Pod, name: &str) -> Option<(Role, Cow<'a, Container>)> {
    let own = containers(pod).find(|(_, container)| container.name == name);
    own.map(|(role, container)| (role, Cow::Borrowed(container))).or_else(|| {
        let ephemeral = of(pod).ephemeral_containers.iter().flatten().find(|container| container.name == name)?;
        Some((Role::Ephemeral, Cow::Owned(as_container(ephemeral))))
    })
}

/// The container whose processes the ephemeral container `name` wants to see, if it says one.
pub(crate) fn target<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    let ephemeral = of(pod).ephemeral_containers.iter().flatten().find(|container| container.name == name)?;
    ephemeral.target_container_name.as_deref().filter(|target| !target.is_empty())
}

fn as_container(ephemeral: &EphemeralContainer) -> Container {
    let own = ephemeral.clone();
    Container {
        args: own.args,
        command: own.command,
        env: own.env,
        env_from: own.env_from,
        image: own.image,
        image_pull_policy: own.image_pull_policy,
        name: own.name,
        security_context: own.security_context,
        stdin: own.stdin,
        stdin_once: own.stdin_once,
        termination_message_path: own.termination_message_path,
        termination_message_policy: own.termination_message_policy,
        tty: own.tty,
        volume_devices: own.volume_devices,
        volume_mounts: own.volume_mounts,
        working_dir: own.working_dir,
        ..Container::default()
    }
}

/// The Pod's restart policy; Always unless it says otherwise.
pub(crate) fn restart_policy(pod: &Pod) -> RestartPolicy {
    policy(of(pod).restart_policy.as_deref().unwrap_or_default())
}

/// The policy of that name; Always for any other.
pub(crate) fn policy(name: &str) -> RestartPolicy {
    match name {
        "Never" => RestartPolicy::Never,
        "OnFailure" => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    }
}

/// How long the Pod may take to end, at least one second: a deletion's own grace, else the specification's.
pub(crate) fn grace_s(pod: &Pod) -> i64 {
    let grace = pod.metadata.deletion_grace_period_seconds.or(of(pod).termination_grace_period_seconds);
    grace.unwrap_or(DEFAULT_GRACE_S).max(1)
}

/// Whether the Pod shares the node's network.
pub(crate) fn host_network(pod: &Pod) -> bool {
    of(pod).host_network == Some(true)
}

/// Pods of this priority and above are critical to the cluster or the node.
const CRITICAL_PRIORITY: i32 = 2_000_000_000;
/// A Pod that stands for one that the node runs by itself.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Whether the node cannot do without the Pod: one of its own, what stands for such a one, or a critical priority.
pub(crate) fn is_critical(pod: &Pod) -> bool {
    let mirrors = pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR));
    mirrors || static_pods::is_static(pod) || of(pod).priority.is_some_and(|priority| priority >= CRITICAL_PRIORITY)
}

/// What an event about the Pod regards.
pub(crate) fn reference(pod: &Pod) -> ObjectReference {
    pod.object_ref(&())
}

/// What an event about one container of the Pod regards.
pub(crate) fn container_reference(pod: &Pod, role: Role, name: &str) -> ObjectReference {
    let list = match role {
        Role::Init | Role::Sidecar => "initContainers",
        Role::App => "containers",
        Role::Ephemeral => "ephemeralContainers",
    };
    ObjectReference { field_path: Some(format!("spec.{list}{{{name}}}")), ..reference(pod) }
}

/// Guaranteed, Burstable or BestEffort, as upstream classifies.
pub(crate) fn qos_class(pod: &Pod) -> &'static str {
    if let Some(class) = status(pod).qos_class.as_deref() {
        for known in ["Guaranteed", "Burstable", "BestEffort"] {
            if class == known {
                return known;
            }
        }
    }
    classify(pod)
}

fn classify(pod: &Pod) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    // What is said for the Pod as a whole stands in place of what its containers say.
    let whole = of(pod).resources.as_ref().filter(|whole| whole.requests.is_some() || whole.limits.is_some());
    let of_containers = || containers(pod).map(|(_, container)| container.resources.as_ref()).collect();
    let holders: Vec<_> = whole.map_or_else(of_containers, |whole| vec![Some(whole)]);
    for resources in holders {
        let limits = resources.and_then(|r| r.limits.as_ref());
        let requests = resources.and_then(|r| r.requests.as_ref());
        for resource in ["cpu", "memory"] {
            let limit = limits.and_then(|l| l.get(resource)).and_then(crate::quantity::milli).unwrap_or(0);
            let request = requests.and_then(|r| r.get(resource)).and_then(crate::quantity::milli).unwrap_or(limit);
            any |= limit > 0 || request > 0;
            guaranteed &= limit > 0 && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
