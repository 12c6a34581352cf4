//! CRI answers as [`crate::seen`] values.

use std::collections::HashMap;

use jiff::Timestamp;
use sampan_cri::v1::{
    self, ContainerState, ContainerStatus, ContainerStatusRequest, PodSandboxState, PodSandboxStatusRequest,
};
use tonic::Code;

use super::{CALL_TIMEOUT, Runtime, bounded, termination};
use crate::Error;
use crate::config::labels;
use crate::seen::{Exit, Instance, Limits, Sandbox, State, User};

/// Sandboxes and containers that are remembered at most; beyond it, they are read again.
const REMEMBERED: usize = 10_000;

impl Runtime {
    /// The sandbox with its addresses; nothing if it has gone meanwhile.
    pub(super) async fn sandbox(&self, listed: v1::PodSandbox) -> Result<Option<Sandbox>, Error> {
        let mut sandbox = Sandbox {
            attempt: listed.metadata.map_or(0, |metadata| metadata.attempt),
            ready: listed.state == PodSandboxState::SandboxReady as i32,
            created_at: time(listed.created_at).unwrap_or(Timestamp::UNIX_EPOCH),
            ips: Vec::new(),
            id: listed.id,
        };
        if !sandbox.ready {
            return Ok(Some(sandbox));
        }
        if let Some(ips) = self.known.lock().addresses.get(&sandbox.id) {
            sandbox.ips.clone_from(ips);
            return Ok(Some(sandbox));
        }
        let request = PodSandboxStatusRequest { pod_sandbox_id: sandbox.id.clone(), verbose: false };
        let answer = bounded("PodSandboxStatus", CALL_TIMEOUT, self.runtime.clone().pod_sandbox_status(request)).await;
        let Some(status) = gone_is_none(answer)?.and_then(|answer| answer.status) else { return Ok(None) };
        sandbox.ready = status.state == PodSandboxState::SandboxReady as i32;
        if let Some(network) = status.network {
            let more = network.additional_ips.into_iter().map(|ip| ip.ip);
            sandbox.ips = std::iter::once(network.ip).chain(more).filter(|ip| !ip.is_empty()).collect();
        }
        if sandbox.ready {
            remember(&mut self.known.lock().addresses, &sandbox.id, &sandbox.ips);
        }
        Ok(Some(sandbox))
    }

    /// The container with its state; nothing if it has gone meanwhile.
    pub(crate) async fn instance(&self, listed: &v1::Container) -> Result<Option<Instance>, Error> {
        if let Some(known) = self.known.lock().instances.get(&listed.id)
            && is_still(&known.state, listed.state)
        {
            return Ok(Some(known.clone()));
        }
        let request = ContainerStatusRequest { container_id: listed.id.clone(), verbose: false };
        let answer = bounded("ContainerStatus", CALL_TIMEOUT, self.runtime.clone().container_status(request)).await;
        let Some(status) = gone_is_none(answer)?.and_then(|answer| answer.status) else { return Ok(None) };
        let instance = instance(&listed.pod_sandbox_id, status).await;
        remember(&mut self.known.lock().instances, &instance.id, &instance);
        Ok(Some(instance))
    }
}

fn remember<T: Clone>(known: &mut HashMap<String, T>, id: &str, value: &T) {
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(id.to_owned(), value.clone());
}

/// Whether a list says that a container is in the state in which it was read. It is in each of them once, so all that
/// was read then still holds.
fn is_still(read: &State, listed: i32) -> bool {
    match ContainerState::try_from(listed) {
        Ok(ContainerState::ContainerCreated) => matches!(read, State::Created),
        Ok(ContainerState::ContainerRunning) => matches!(read, State::Running { .. }),
        Ok(ContainerState::ContainerExited) => matches!(read, State::Exited(_)),
        Ok(ContainerState::ContainerUnknown) | Err(_) => false,
    }
}

fn gone_is_none<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::Runtime { source, .. }) if source.code() == Code::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn instance(sandbox: &str, status: ContainerStatus) -> Instance {
    let state = state(&status).await;
    let annotation = |key: &str| status.annotations.get(key).cloned().unwrap_or_default();
    let image = status.image.as_ref();
    let named = image.map(|image| image.user_specified_image.clone()).filter(|name| !name.is_empty());
    let metadata = status.metadata.as_ref();
    Instance {
        sandbox: sandbox.to_owned(),
        name: metadata.map(|metadata| metadata.name.clone()).unwrap_or_default(),
        attempt: metadata.map_or(0, |metadata| metadata.attempt),
        created_at: time(status.created_at).unwrap_or(Timestamp::UNIX_EPOCH),
        image: named.or_else(|| image.map(|image| image.image.clone())).unwrap_or_default(),
        image_id: Some(status.image_ref.clone()).filter(|id| !id.is_empty()).unwrap_or_else(|| status.image_id.clone()),
        image_volumes: status.mounts.iter().filter_map(|mount| Some(mount.image.as_ref()?.image.clone())).collect(),
        hash: annotation(labels::HASH),
        restart_delay_s: annotation(labels::RESTART_DELAY).parse().unwrap_or(0),
        round: annotation(labels::ROUND).parse().unwrap_or(0),
        log_path: status.log_path.clone(),
        limits: status.resources.as_ref().and_then(|resources| resources.linux.as_ref()).map(Limits::of),
        user: status.user.as_ref().and_then(|user| user.linux.as_ref()).map(|user| User {
            uid: user.uid,
            gid: user.gid,
            groups: user.supplemental_groups.clone(),
        }),
        recursive_read_only: status
            .mounts
            .into_iter()
            .filter(|mount| mount.recursive_read_only)
            .map(|mount| mount.container_path)
            .collect(),
        id: status.id,
        state,
    }
}

async fn state(status: &ContainerStatus) -> State {
    match ContainerState::try_from(status.state) {
        Ok(ContainerState::ContainerCreated) => State::Created,
        Ok(ContainerState::ContainerRunning) => {
            State::Running { started_at: time(status.started_at).unwrap_or(Timestamp::UNIX_EPOCH) }
        }
        Ok(ContainerState::ContainerExited) => State::Exited(Exit {
            code: status.exit_code,
            reason: status.reason.clone(),
            message: termination::message(status).await,
            started_at: time(status.started_at),
            finished_at: time(status.finished_at).or_else(|| time(status.created_at)).unwrap_or(Timestamp::UNIX_EPOCH),
        }),
        Ok(ContainerState::ContainerUnknown) | Err(_) => State::Unknown,
    }
}

/// CRI times are nanoseconds; zero stands for none.
fn time(nanos: i64) -> Option<Timestamp> {
    (nanos > 0).then(|| Timestamp::from_nanosecond(i128::from(nanos)).ok()).flatten()
}
