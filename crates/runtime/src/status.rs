//! What CRI is told about sandboxes, containers and images. Reads the tables, changes nothing.

use std::collections::HashMap;

use jiff::Timestamp;
use sampan_cri::v1::{
    self, ContainerEventResponse, ContainerFilter, ContainerResources, ContainerStatus, ContainerUser, ImageSpec,
    LinuxContainerUser, LinuxPodSandboxStatus, Namespace, PodIp, PodSandboxFilter, PodSandboxNetworkStatus,
    PodSandboxState, PodSandboxStatus,
};

use crate::images::Image;
use crate::node::{Container, ContainerState, Event, Node, Sandbox};
use crate::sandboxes;
use crate::shim::wire::Exit;

/// Nanoseconds since 1970, as CRI counts; 0 for "never".
pub(crate) fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

/// The state of a sandbox.
pub(crate) fn sandbox_state(sandbox: &Sandbox) -> PodSandboxState {
    if sandbox.is_ready() { PodSandboxState::SandboxReady } else { PodSandboxState::SandboxNotready }
}

/// A sandbox in a list.
pub(crate) fn sandbox_item(sandbox: &Sandbox) -> v1::PodSandbox {
    v1::PodSandbox {
        id: sandbox.id.clone(),
        metadata: sandbox.config.metadata.clone(),
        state: sandbox_state(sandbox).into(),
        created_at: nanoseconds(sandbox.record.created_at),
        labels: sandbox.config.labels.clone(),
        annotations: sandbox.config.annotations.clone(),
        runtime_handler: sandbox.record.runtime_handler.clone(),
    }
}

/// A sandbox in full.
pub(crate) fn sandbox_status(sandbox: &Sandbox) -> PodSandboxStatus {
    let item = sandbox_item(sandbox);
    let addresses = sandbox.ready().addresses;
    let mut ips = addresses.iter().map(ToString::to_string);
    let network = PodSandboxNetworkStatus {
        ip: ips.next().unwrap_or_default(),
        additional_ips: ips.map(|ip| PodIp { ip }).collect(),
    };
    let options = Some(sandboxes::namespace_options(&sandbox.config));
    PodSandboxStatus {
        id: item.id,
        metadata: item.metadata,
        state: item.state,
        created_at: item.created_at,
        network: Some(network),
        linux: Some(LinuxPodSandboxStatus { namespaces: Some(Namespace { options }) }),
        labels: item.labels,
        annotations: item.annotations,
        runtime_handler: item.runtime_handler,
    }
}

/// Whether a sandbox is one of those asked for, in whatever state.
pub(crate) fn sandbox_matches(sandbox: &Sandbox, filter: &PodSandboxFilter) -> bool {
    sandbox.id.starts_with(&filter.id) && has_labels(&sandbox.config.labels, &filter.label_selector)
}

/// The state of a container in CRI's words.
fn container_state(state: &ContainerState) -> v1::ContainerState {
    match state {
        ContainerState::Created => v1::ContainerState::ContainerCreated,
        ContainerState::Running { .. } => v1::ContainerState::ContainerRunning,
        ContainerState::Exited(_) => v1::ContainerState::ContainerExited,
    }
}

/// A container in a list.
pub(crate) fn container_item(container: &Container) -> v1::Container {
    v1::Container {
        id: container.id.clone(),
        pod_sandbox_id: container.record.sandbox.clone(),
        metadata: container.config.metadata.clone(),
        image: container.config.image.clone(),
        image_ref: container.record.image.clone(),
        state: container_state(&container.state()).into(),
        created_at: nanoseconds(container.record.created_at),
        labels: container.config.labels.clone(),
        annotations: container.config.annotations.clone(),
        image_id: container.record.image.clone(),
    }
}

/// A container in full.
pub(crate) fn container_status(node: &Node, container: &Container) -> ContainerStatus {
    // Looked at once: a container that ends meanwhile would have ended without an exit, which is success.
    let current = container.state();
    let state = container_state(&current);
    let (started_at, exit) = match current {
        ContainerState::Created => (None, None),
        ContainerState::Running { started_at } => (Some(started_at), None),
        ContainerState::Exited(exit) => (exit.started_at, Some(exit)),
    };
    let identity = &container.record.identity;
    let user = LinuxContainerUser {
        uid: identity.uid.into(),
        gid: identity.gid.into(),
        supplemental_groups: std::iter::once(identity.gid).chain(identity.groups.clone()).map(i64::from).collect(),
    };
    let image = node.images.find(&container.record.image);
    ContainerStatus {
        id: container.id.clone(),
        metadata: container.config.metadata.clone(),
        state: state.into(),
        created_at: nanoseconds(container.record.created_at),
        started_at: started_at.map_or(0, nanoseconds),
        finished_at: exit.as_ref().map_or(0, |exit| nanoseconds(exit.finished_at)),
        exit_code: exit.as_ref().map_or(0, |exit| exit.code),
        image: Some(image_name(container, image.as_ref())),
        image_ref: image
            .and_then(|image| image.digests.first().cloned())
            .unwrap_or_else(|| container.record.image.clone()),
        reason: exit.as_ref().map_or("", reason).to_owned(),
        message: exit.and_then(|exit| exit.error).unwrap_or_default(),
        labels: container.config.labels.clone(),
        annotations: container.config.annotations.clone(),
        mounts: container.config.mounts.clone(),
        log_path: container.record.log.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        resources: Some(ContainerResources { linux: Some(container.resources.lock().clone()), windows: None }),
        image_id: container.record.image.clone(),
        user: Some(ContainerUser { linux: Some(user) }),
        stop_signal: container.config.stop_signal,
    }
}

fn image_name(container: &Container, image: Option<&Image>) -> ImageSpec {
    let mut spec = container.config.image.clone().unwrap_or_default();
    if let Some(name) = image.and_then(|image| image.names.first()) {
        spec.image.clone_from(name);
    }
    spec
}

/// Why a container ended, in the words that upstream's runtimes use.
fn reason(exit: &Exit) -> &'static str {
    match exit {
        Exit { error: Some(_), .. } => "StartError",
        Exit { oom_killed: true, .. } => "OOMKilled",
        Exit { code: 0, .. } => "Completed",
        Exit { .. } => "Error",
    }
}

/// Whether a container is one of those asked for, in whatever state.
pub(crate) fn container_matches(container: &Container, filter: &ContainerFilter) -> bool {
    container.id.starts_with(&filter.id)
        && container.record.sandbox.starts_with(&filter.pod_sandbox_id)
        && has_labels(&container.config.labels, &filter.label_selector)
}

/// Whether `labels` has everything that `selector` names.
pub(crate) fn has_labels(labels: &HashMap<String, String>, selector: &HashMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// An image.
pub(crate) fn image(image: &Image) -> v1::Image {
    let user = image.config.user.split(':').next().unwrap_or_default();
    let uid = if user.is_empty() { Some(0) } else { user.parse().ok() };
    v1::Image {
        id: image.id.clone(),
        repo_tags: image.names.clone(),
        repo_digests: image.digests.clone(),
        size: image.size_bytes,
        username: if uid.is_some() { String::new() } else { user.to_owned() },
        uid: uid.map(|value| v1::Int64Value { value }),
        spec: None,
        pinned: image.pinned,
    }
}

/// What a listener is told: the event, and how the whole Pod stands.
pub(crate) fn event(node: &Node, event: &Event) -> ContainerEventResponse {
    let containers = node.containers_of(&event.sandbox.id);
    ContainerEventResponse {
        container_id: event.id.clone(),
        container_event_type: event.kind.into(),
        created_at: nanoseconds(event.at),
        pod_sandbox_status: Some(sandbox_status(&event.sandbox)),
        containers_statuses: containers.iter().map(|container| container_status(node, container)).collect(),
    }
}
