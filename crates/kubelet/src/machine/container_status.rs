//! The published status of one container.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    ContainerUser, LinuxContainerUser, VolumeMount, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Ending, Slot, View, probing, resource_status, restart, restart_all};
use crate::config::mounts::absolute;
use crate::seen::{Exit, Instance, State, User};
use crate::spec::{self, Role};

/// The status of `container`.
pub(super) fn status(view: &View<'_>, role: Role, container: &Container, ending: Option<Ending>) -> ContainerStatus {
    let newest = view.seen.newest(&container.name);
    let published = published(view, role, &container.name);
    if newest.is_none()
        && ending.is_some()
        && let Some(known) = published.filter(|published| published.container_id.is_some())
    {
        return lost(known);
    }
    let (state, shows_newest) = state(view, role, container, newest, ending);
    let last = last_state(view, newest, shows_newest, published);
    ContainerStatus {
        name: container.name.clone(),
        state: Some(state),
        last_state: Some(last.unwrap_or_default()),
        ready: match role {
            Role::Init => {
                let current = newest.filter(|newest| restart_all::is_current(view, newest));
                current.and_then(Instance::exit).is_some_and(|exit| exit.code == 0)
            }
            Role::Ephemeral => false,
            Role::App | Role::Sidecar => newest.is_some_and(|instance| probing::ready(view, container, instance)),
        },
        started: (role != Role::Ephemeral)
            .then(|| newest.is_some_and(|instance| probing::started(view, container, instance))),
        restart_count: newest.map_or_else(
            || published.map_or(0, |published| published.restart_count),
            |newest| i32::try_from(newest.attempt).unwrap_or(i32::MAX),
        ),
        image: newest.map(|newest| newest.image.clone()).filter(|i| !i.is_empty()).unwrap_or_else(|| image(container)),
        image_id: newest.map(|newest| newest.image_id.clone()).unwrap_or_default(),
        container_id: newest.map(|newest| container_id(view, &newest.id)),
        allocated_resources: newest.and(container.resources.as_ref()).and_then(|allocated| allocated.requests.clone()),
        resources: newest.map(|newest| resource_status::of_container(view, container, newest, published)),
        user: newest.and_then(|newest| newest.user.as_ref()).map(user),
        volume_mounts: volume_mounts(container, newest),
        stop_signal: container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone()),
        ..ContainerStatus::default()
    }
}

fn user(user: &User) -> ContainerUser {
    let groups = Some(user.groups.clone()).filter(|groups| !groups.is_empty());
    ContainerUser { linux: Some(LinuxContainerUser { uid: user.uid, gid: user.gid, supplemental_groups: groups }) }
}

/// The mounts, with what their recursive read-only came to. That the runtime knows, once it has made them.
fn volume_mounts(container: &Container, newest: Option<&Instance>) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_deref().filter(|mounts| !mounts.is_empty())?;
    let status = |mount: &VolumeMount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only,
        recursive_read_only: mount.read_only.filter(|read_only| *read_only).map(|_| {
            let recursive = newest.is_some_and(|it| it.recursive_read_only.contains(&absolute(&mount.mount_path)));
            if recursive { "Enabled" } else { "Disabled" }.to_owned()
        }),
        volume_status: None,
    };
    Some(mounts.iter().map(status).collect())
}

/// A container of which the runtime knows nothing any more, in a Pod that ends: what was published of it stands; if it
/// was running then, how it ended will never be known.
fn lost(known: &ContainerStatus) -> ContainerStatus {
    if known.state.as_ref().is_some_and(|state| state.terminated.is_some()) {
        return known.clone();
    }
    let unknown = ContainerStateTerminated {
        container_id: known.container_id.clone(),
        exit_code: 137,
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: Some("The container could not be located when the pod was terminated".to_owned()),
        ..ContainerStateTerminated::default()
    };
    ContainerStatus {
        state: Some(ContainerState { terminated: Some(unknown), ..ContainerState::default() }),
        ready: false,
        started: Some(false),
        ..known.clone()
    }
}

fn image(container: &Container) -> String {
    container.image.clone().unwrap_or_default()
}

fn container_id(view: &View<'_>, id: &str) -> String {
    format!("{}://{id}", view.node.runtime)
}

fn published<'a>(view: &View<'a>, role: Role, name: &str) -> Option<&'a ContainerStatus> {
    let status = spec::status(view.pod);
    let list = match role {
        Role::App => &status.container_statuses,
        Role::Init | Role::Sidecar => &status.init_container_statuses,
        Role::Ephemeral => &status.ephemeral_container_statuses,
    };
    list.iter().flatten().find(|status| status.name == name)
}

/// The current state, and whether it is that of the newest instance (or of the next one, which is being waited for).
fn state(
    view: &View<'_>,
    role: Role,
    container: &Container,
    newest: Option<&Instance>,
    ending: Option<Ending>,
) -> (ContainerState, bool) {
    let slot = Slot::Container(container.name.clone());
    let failure = view.memory.failures.get(&slot).filter(|_| ending.is_none());
    if let Some(failure) = failure.filter(|_| newest.is_none_or(|newest| !newest.running())) {
        let (reason, message) = failure.shown(&image(container), view.now);
        return (waiting(&reason, Some(message)), false);
    }
    let Some(newest) = newest else { return (not_begun(view), false) };
    match &newest.state {
        State::Running { .. } | State::Created | State::Unknown if view.starting(&container.name) => {
            (waiting("ContainerCreating", None), false)
        }
        State::Running { started_at } => (running(*started_at), true),
        State::Created | State::Unknown => (waiting("ContainerCreating", None), false),
        State::Exited(exit) => match backing_off(view, role, container, newest, ending) {
            Some(message) => (waiting("CrashLoopBackOff", Some(message)), false),
            None => (terminated(view, newest, exit), true),
        },
    }
}

fn backing_off(
    view: &View<'_>,
    role: Role,
    container: &Container,
    last: &Instance,
    ending: Option<Ending>,
) -> Option<String> {
    let exit = last.exit()?;
    let delay_s = restart::delay_s(last, exit);
    let here = view.seen.ready_sandbox().is_some_and(|sandbox| sandbox.id == last.sandbox);
    let waits = ending.is_none() && here && delay_s > 0 && restart::wanted(view.pod, role, container, exit);
    waits.then(|| back_off_message(&last.name, delay_s, &spec::describe(view.pod)))
}

fn back_off_message(name: &str, delay_s: u32, pod: &str) -> String {
    let delay = match (delay_s / 60, delay_s % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    };
    format!("back-off {delay} restarting failed container={name} pod={pod}")
}

fn not_begun(view: &View<'_>) -> ContainerState {
    let has_init = spec::of(view.pod).init_containers.as_ref().is_some_and(|init| !init.is_empty());
    waiting(if has_init { "PodInitializing" } else { "ContainerCreating" }, None)
}

fn last_state(
    view: &View<'_>,
    newest: Option<&Instance>,
    shows_newest: bool,
    published: Option<&ContainerStatus>,
) -> Option<ContainerState> {
    let Some(newest) = newest else { return published.and_then(|published| published.last_state.clone()) };
    let hidden = shows_newest.then_some(newest.id.as_str());
    if let Some((last, exit)) = view.seen.last_exit(&newest.name, hidden) {
        return Some(terminated(view, last, exit));
    }
    let known = published?.last_state.clone()?;
    let of_before = known.terminated.as_ref()?.container_id.as_deref() != Some(&container_id(view, &newest.id));
    (of_before && newest.attempt > 0).then_some(known)
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn running(started_at: Timestamp) -> ContainerState {
    let running = ContainerStateRunning { started_at: Some(seconds(started_at)) };
    ContainerState { running: Some(running), ..ContainerState::default() }
}

fn terminated(view: &View<'_>, instance: &Instance, exit: &Exit) -> ContainerState {
    let reason = match (exit.reason.as_str(), exit.code) {
        ("", 0) => "Completed",
        ("", _) => "Error",
        (reason, _) => reason,
    };
    let terminated = ContainerStateTerminated {
        container_id: Some(container_id(view, &instance.id)),
        exit_code: exit.code,
        reason: Some(reason.to_owned()),
        message: Some(share(view, &exit.message).to_owned()).filter(|message| !message.is_empty()),
        started_at: exit.started_at.map(seconds),
        finished_at: Some(seconds(exit.finished_at)),
        signal: None,
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

/// What a Pod's containers may say in its status together, in bytes: upstream's bound.
const MESSAGES_BYTES: usize = 12 * 1024;

/// A container's share of what its Pod may say; longer messages lose their end.
fn share<'a>(view: &View<'_>, message: &'a str) -> &'a str {
    let containers = spec::containers(view.pod).count() + spec::ephemeral(view.pod).count();
    let bytes = (MESSAGES_BYTES / containers.max(1)).min(message.len());
    &message[..message.floor_char_boundary(bytes)]
}

/// The API's times have whole seconds.
pub(super) fn seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}
