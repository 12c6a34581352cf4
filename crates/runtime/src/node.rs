//! Everything the runtime knows: sandboxes, containers, images, and who listens to what happens to them.
//!
//! The tables here are the truth while the runtime runs; `records.rs` is what they are rebuilt from. Operations live
//! beside: `sandboxes.rs`, `containers.rs`, `sessions.rs`.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use sampan_cri::v1::{ContainerConfig, ContainerEventType, LinuxContainerResources, PodSandboxConfig};
use tokio::sync::{broadcast, watch};
use tokio_util::task::TaskTracker;

use crate::Options;
use crate::apparmor::AppArmor;
use crate::cgroups::Hierarchies;
use crate::error::{Error, Result};
use crate::images::Images;
use crate::layer_size::LayerSize;
use crate::records::{ContainerRecord, Places, Ready, SandboxRecord};
use crate::shim::wire::{Exit, Running};
use crate::shims::Shim;

/// A listener that falls further behind than this is cut off, and has to list again.
const MAX_PENDING_EVENTS: usize = 4096;

/// The runtime's state.
pub(crate) struct Node {
    pub(crate) options: Options,
    pub(crate) places: Places,
    pub(crate) hierarchies: Hierarchies,
    pub(crate) apparmor: AppArmor,
    pub(crate) images: Arc<Images>,
    pub(crate) tasks: TaskTracker,
    /// Whether Pods can have users of their own.
    pub(crate) maps_users: bool,
    pub(crate) events: broadcast::Sender<Event>,
    sandboxes: Mutex<HashMap<String, Arc<Sandbox>>>,
    containers: Mutex<HashMap<String, Arc<Container>>>,
}

/// Something has happened to a container or, under its own id, to a sandbox.
#[derive(Clone)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) kind: ContainerEventType,
    pub(crate) at: Timestamp,
    /// Whose it is; after its end too, so that whoever listens knows where to look.
    pub(crate) sandbox: Arc<Sandbox>,
}

/// A Pod's sandbox.
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) config: PodSandboxConfig,
    pub(crate) record: SandboxRecord,
    /// Held by whoever changes it: one change at a time.
    pub(crate) changing: tokio::sync::Mutex<()>,
    state: Mutex<SandboxState>,
}

struct SandboxState {
    shim: Option<Arc<Shim>>,
    ready: Option<Ready>,
    stopped: bool,
}

/// A container.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) config: ContainerConfig,
    pub(crate) record: ContainerRecord,
    /// Held by whoever changes it: one change at a time.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// What its limits are now; they begin as configured.
    pub(crate) resources: Mutex<LinuxContainerResources>,
    /// How large its writable layer was when that was counted last.
    pub(crate) layer: LayerSize,
    state: watch::Sender<ContainerState>,
}

/// How far a container has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContainerState {
    /// Made, never started.
    Created,
    /// Its first process runs.
    Running { started_at: Timestamp },
    /// Its first process has ended, or could not be started.
    Exited(Exit),
}

impl Node {
    pub(crate) fn new(options: Options, hierarchies: Hierarchies, images: Images) -> Self {
        let places = Places::new(&options.root, &options.state);
        let (events, _) = broadcast::channel(MAX_PENDING_EVENTS);
        Self {
            apparmor: AppArmor::new(&options.instance),
            options,
            places,
            hierarchies,
            images: Arc::new(images),
            tasks: TaskTracker::new(),
            maps_users: crate::lookup::maps_users(),
            events,
            sandboxes: Mutex::default(),
            containers: Mutex::default(),
        }
    }

    /// The sandbox that `id`, or an unambiguous beginning of one, names.
    pub(crate) fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>> {
        find(&self.sandboxes.lock(), id).ok_or_else(|| Error::not_found("sandbox", id))
    }

    /// The container that `id`, or an unambiguous beginning of one, names.
    pub(crate) fn container(&self, id: &str) -> Result<Arc<Container>> {
        find(&self.containers.lock(), id).ok_or_else(|| Error::not_found("container", id))
    }

    pub(crate) fn sandboxes(&self) -> Vec<Arc<Sandbox>> {
        self.sandboxes.lock().values().cloned().collect()
    }

    pub(crate) fn containers(&self) -> Vec<Arc<Container>> {
        self.containers.lock().values().cloned().collect()
    }

    /// The containers of one sandbox.
    pub(crate) fn containers_of(&self, sandbox: &str) -> Vec<Arc<Container>> {
        self.containers.lock().values().filter(|container| container.record.sandbox == sandbox).cloned().collect()
    }

    pub(crate) fn add_sandbox(&self, sandbox: Arc<Sandbox>) {
        self.sandboxes.lock().insert(sandbox.id.clone(), sandbox);
    }

    pub(crate) fn add_container(&self, container: Arc<Container>) {
        self.containers.lock().insert(container.id.clone(), container);
    }

    pub(crate) fn forget_sandbox(&self, id: &str) {
        self.sandboxes.lock().remove(id);
    }

    pub(crate) fn forget_container(&self, id: &str) {
        self.containers.lock().remove(id);
    }

    /// Removes the layers that neither an image nor a container stands on. Blocks.
    pub(crate) fn sweep_layers(&self) -> Result<()> {
        let in_use = || self.containers.lock().values().flat_map(|own| own.record.layers.clone()).collect();
        Ok(self.images.sweep(in_use)?)
    }

    /// Tells whoever listens.
    pub(crate) fn announce(&self, id: &str, sandbox: &Arc<Sandbox>, kind: ContainerEventType) {
        let event = Event { id: id.to_owned(), kind, at: sampan_clock::now(), sandbox: Arc::clone(sandbox) };
        // Nobody listening is fine: who comes later lists first.
        let _ = self.events.send(event);
    }

    /// A container's first process has ended; its record is on disk. Passed over while its start is not noted yet:
    /// whoever notes that looks at the record next.
    pub(crate) fn container_exited(&self, id: &str, exit: Exit) {
        if let Ok(container) = self.container(id)
            && container.set_exited(exit)
            && let Ok(sandbox) = self.sandbox(&container.record.sandbox)
        {
            self.announce(id, &sandbox, ContainerEventType::ContainerStoppedEvent);
        }
    }
}

fn find<T>(table: &HashMap<String, Arc<T>>, id: &str) -> Option<Arc<T>> {
    if let Some(found) = table.get(id) {
        return Some(Arc::clone(found));
    }
    let mut matching = table.iter().filter(|(known, _)| !id.is_empty() && known.starts_with(id));
    match (matching.next(), matching.next()) {
        (Some((_, found)), None) => Some(Arc::clone(found)),
        _ => None,
    }
}

impl Sandbox {
    pub(crate) fn new(id: String, config: PodSandboxConfig, record: SandboxRecord) -> Self {
        let state = SandboxState { shim: None, ready: record.ready.clone(), stopped: record.stopped };
        Self { id, config, record, changing: tokio::sync::Mutex::default(), state: Mutex::new(state) }
    }

    /// What it is on disk now.
    pub(crate) fn current_record(&self) -> SandboxRecord {
        let state = self.state.lock();
        SandboxRecord { ready: state.ready.clone(), stopped: state.stopped, ..self.record.clone() }
    }

    /// Whether containers can be started in it.
    pub(crate) fn is_ready(&self) -> bool {
        let state = self.state.lock();
        state.ready.is_some() && state.shim.is_some() && !state.stopped
    }

    pub(crate) fn ready(&self) -> Ready {
        self.state.lock().ready.clone().unwrap_or_default()
    }

    pub(crate) fn set_ready(&self, ready: Ready) {
        self.state.lock().ready = Some(ready);
    }

    pub(crate) fn set_shim(&self, shim: Arc<Shim>) {
        self.state.lock().shim = Some(shim);
    }

    /// Parts with the shim, which is gone or about to go.
    pub(crate) fn take_shim(&self) -> Option<Arc<Shim>> {
        self.state.lock().shim.take()
    }

    pub(crate) fn shim(&self) -> Result<Arc<Shim>> {
        let shim = self.state.lock().shim.clone();
        shim.ok_or_else(|| Error::State(format!("sandbox {:?} is not running", self.id)))
    }

    pub(crate) fn set_stopped(&self) {
        self.state.lock().stopped = true;
    }
}

impl Container {
    pub(crate) fn new(id: String, config: ContainerConfig, record: ContainerRecord, state: ContainerState) -> Self {
        let resources = config.linux.as_ref().and_then(|linux| linux.resources.clone()).unwrap_or_default();
        Self {
            id,
            config,
            record,
            changing: tokio::sync::Mutex::default(),
            resources: Mutex::new(resources),
            layer: LayerSize::default(),
            state: watch::Sender::new(state),
        }
    }

    pub(crate) fn state(&self) -> ContainerState {
        self.state.borrow().clone()
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(*self.state.borrow(), ContainerState::Running { .. })
    }

    /// Notes that one that was made runs; false when that is known.
    pub(crate) fn set_running(&self, running: &Running) -> bool {
        self.change(|state| match state {
            ContainerState::Created => Some(ContainerState::Running { started_at: running.started_at }),
            _ => None,
        })
    }

    /// Notes the end of one that ran; false when there is none to note.
    pub(crate) fn set_exited(&self, exit: Exit) -> bool {
        self.change(|state| matches!(state, ContainerState::Running { .. }).then_some(ContainerState::Exited(exit)))
    }

    /// Notes that one could not be started.
    pub(crate) fn set_failed(&self, exit: Exit) {
        self.change(|state| matches!(state, ContainerState::Created).then_some(ContainerState::Exited(exit)));
    }

    fn change(&self, next: impl FnOnce(&ContainerState) -> Option<ContainerState>) -> bool {
        self.state.send_if_modified(|state| match next(state) {
            Some(next) => {
                *state = next;
                true
            }
            None => false,
        })
    }

    /// Waits until it no longer runs.
    pub(crate) async fn exited(&self) {
        let mut states = self.state.subscribe();
        // The sender lives as long as `self`.
        let _ = states.wait_for(|state| !matches!(state, ContainerState::Running { .. })).await;
    }
}
