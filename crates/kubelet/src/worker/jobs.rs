//! Actions as jobs, and what their ends mean for the worker's memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use tokio::task::{self, AbortHandle, JoinError};

use super::{Env, Worker, allocation, kill, places, resize, sandbox, start};
use crate::log_links::Link;
use crate::machine::{Action, Slot, Work};
use crate::seen::{Instance, Limits, State};
use crate::{Error, spec, volumes};

/// Kills under way, by container id: one with a shorter grace replaces them.
pub(super) type Kills = BTreeMap<String, AbortHandle>;

/// How a job ended.
pub(crate) enum Done {
    Volumes(Result<Option<Timestamp>, Vec<Error>>),
    Released {
        everything: bool,
        result: Result<(), Error>,
    },
    /// A sandbox was made, and has this id; or one was stopped or removed.
    Sandbox(Result<Option<String>, Error>),
    Started(Result<start::Started, start::Failed>),
    /// A container was killed or removed.
    Instance(Result<(), Error>),
    Resized(Result<(), Error>),
    /// The Pod's own group was given this, or not.
    PodResized(Limits, Result<(), Error>),
    DeletedFromApi(Result<(), Error>),
}

impl Worker {
    /// Starts the job of `action`.
    pub(super) fn begin(&mut self, pod: &Arc<Pod>, action: Action) {
        tracing::debug!(pod = %spec::describe(pod), ?action, "begin");
        let (env, pod) = (Arc::clone(&self.env), Arc::clone(pod));
        let facts = self.pod_facts();
        match action {
            Action::SetUpVolumes => {
                self.memory.volumes_stale = false;
                self.memory.volumes_released = false;
                self.job(Slot::Volumes, async move { Done::Volumes(places::set_up(&env, &pod, &facts).await) });
            }
            Action::Release { everything } => {
                self.job(Slot::Volumes, async move {
                    Done::Released { everything, result: release(&env, &pod, everything).await }
                });
            }
            Action::CreateSandbox { attempt } => {
                self.job(
                    Slot::Sandbox,
                    async move { Done::Sandbox(sandbox::create(&env, &pod, attempt).await.map(Some)) },
                );
            }
            Action::StopSandbox { id } => {
                self.job(Slot::Sandbox, async move {
                    Done::Sandbox(env.node.runtime.stop_sandbox(&id).await.map(|()| None))
                });
            }
            Action::RemoveSandbox { id } => {
                self.job(Slot::Sandbox, async move {
                    Done::Sandbox(env.node.runtime.remove_sandbox(&id).await.map(|()| None))
                });
            }
            Action::StartContainer(start) => {
                let slot = Slot::Container(start.name.clone());
                self.job(slot, async move { Done::Started(start::start(&env, &pod, &start, &facts).await) });
            }
            Action::ResizeContainer { id, name } => {
                let slot = Slot::Resize(id.clone());
                self.job(slot, async move { Done::Resized(resize::resize(&env, &pod, &id, &name).await) });
            }
            Action::ResizePod(limits) => {
                self.job(Slot::Group, async move {
                    Done::PodResized(limits, resize::resize_group(&env, &pod, &limits).await)
                });
            }
            Action::KillContainer(kill) => self.begin_kill(env, pod, kill, facts),
            Action::RemoveContainer { id } => {
                let instance = self.seen.containers.iter().find(|c| c.id == id).cloned();
                self.job(
                    Slot::Instance(id.clone()),
                    async move { Done::Instance(remove(&env, &pod, &id, instance).await) },
                );
            }
            Action::DeleteFromApi => {
                self.job(Slot::Api, async move { Done::DeletedFromApi(delete_from_api(&env, &pod).await) });
            }
        }
    }

    fn job(&mut self, slot: Slot, work: impl Future<Output = Done> + Send + 'static) {
        self.memory.busy.insert(slot.clone(), Work::Other);
        self.spawn(slot, work);
    }

    fn spawn(&mut self, slot: Slot, work: impl Future<Output = Done> + Send + 'static) -> AbortHandle {
        let job = self.jobs.spawn(work);
        self.slots.insert(job.id(), slot);
        job
    }

    /// A job has ended, with what it tells or without.
    pub(super) fn ended(&mut self, ended: Result<(task::Id, Done), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(slot) = self.slots.remove(&id) else { return };
        match ended {
            Ok((_, done)) => self.take(slot, done),
            Err(error) if error.is_panic() => {
                tracing::error!(pod = %spec::describe(&self.inbox.pod()), ?slot, %error, "a step panicked");
                self.free(&slot);
                self.look = true;
                self.memory.fail(slot, "InternalError", "the kubelet failed at it".to_owned(), sampan_clock::now());
            }
            // Another kill has its slot.
            Err(_) => {}
        }
    }

    fn free(&mut self, slot: &Slot) {
        self.memory.busy.remove(slot);
        if let Slot::Instance(id) = slot {
            self.kills.remove(id);
        }
    }

    fn begin_kill(
        &mut self,
        env: Arc<Env>,
        pod: Arc<Pod>,
        wish: crate::machine::Kill,
        facts: crate::config::fields::Facts,
    ) {
        let (id, slot) = (wish.id.clone(), Slot::Instance(wish.id.clone()));
        self.memory.busy.insert(slot.clone(), Work::Kill { grace_s: wish.grace_s });
        let first = self.memory.killed.insert(id.clone());
        let job = self.spawn(slot, async move { Done::Instance(kill::kill(&env, &pod, &wish, &facts, first).await) });
        if let Some(replaced) = self.kills.insert(id, job) {
            replaced.abort();
        }
    }

    /// Notes the end of a job. What it has started, an event of the runtime may have shown already; then nobody looks
    /// again.
    pub(super) fn take(&mut self, slot: Slot, done: Done) {
        self.free(&slot);
        let now = sampan_clock::now();
        let pod = self.inbox.pod();
        let recorder = &self.env.node.recorder;
        let regarding = spec::reference(&pod);
        match done {
            Done::Volumes(Ok(renew_at)) => {
                self.memory.failures.remove(&slot);
                self.memory.volumes_ready = true;
                self.memory.volumes_renew_at = renew_at;
            }
            Done::Volumes(Err(wrong)) => {
                let texts: Vec<String> = wrong.iter().map(Error::to_string).collect();
                texts.iter().for_each(|text| recorder.warning(&regarding, "FailedMount", text.clone()));
                // What is there already is used on; nobody else would ask for the rest again.
                self.memory.volumes_stale = true;
                self.memory.fail(slot, "FailedMount", texts.join("; "), now);
            }
            Done::Released { everything, result: Ok(()) } => {
                self.memory.failures.remove(&slot);
                self.memory.volumes_released = true;
                self.memory.volumes_ready = false;
                self.memory.all_released |= everything;
            }
            Done::Sandbox(Err(error)) if !self.env.cancel_starts.is_cancelled() => {
                self.look = true;
                let message = format!("Failed to create pod sandbox: {error}");
                recorder.warning(&regarding, "FailedCreatePodSandBox", message.clone());
                self.memory.fail(slot, "FailedCreatePodSandBox", message, now);
            }
            Done::Released { result: Err(error), .. }
            | Done::Sandbox(Err(error))
            | Done::DeletedFromApi(Err(error)) => {
                self.look = true;
                tracing::warn!(pod = %spec::describe(&pod), %error, "cleaning up; will be tried again");
                self.memory.fail(slot, "FailedKillPod", error.to_string(), now);
            }
            Done::Instance(Err(error)) => {
                self.look = true;
                recorder.warning(&regarding, "FailedKillPod", format!("error killing pod: {error}"));
                self.memory.fail(slot, "FailedKillPod", error.to_string(), now);
            }
            Done::PodResized(limits, Ok(())) => {
                self.memory.failures.remove(&slot);
                self.memory.group = Some(limits);
            }
            Done::Resized(Err(error)) | Done::PodResized(_, Err(error)) => {
                let text = allocation::describe("Pod resize error", &pod, Some(&error.to_string()));
                recorder.warning(&regarding, "ResizeError", text);
                self.memory.fail(slot, "ResizeError", error.to_string(), now);
            }
            Done::Sandbox(Ok(made)) => {
                let ready = self.seen.ready_sandbox().map(|sandbox| &sandbox.id);
                self.look |= made.is_none() || made.as_ref() != ready;
                self.memory.failures.remove(&slot);
            }
            Done::Instance(Ok(())) | Done::Resized(Ok(())) => {
                self.look = true;
                self.memory.failures.remove(&slot);
            }
            Done::Started(result) => self.take_start(slot, result, now),
            Done::DeletedFromApi(Ok(())) => self.inbox.remove(),
        }
    }

    fn take_start(&mut self, slot: Slot, result: Result<start::Started, start::Failed>, now: Timestamp) {
        match result {
            Ok(started) => {
                let seen = self.seen.containers.iter().find(|container| container.id == started.id);
                self.look |= seen.is_none_or(|container| container.state == State::Created);
                self.memory.failures.remove(&slot);
                if let Some(message) = started.hook_failed {
                    self.memory.condemned.insert(started.id, message);
                }
            }
            Err(failed) => {
                self.look = true;
                self.memory.fail(slot, failed.reason, failed.message, now);
            }
        }
    }
}

async fn release(env: &Arc<Env>, pod: &Pod, everything: bool) -> Result<(), Error> {
    let (env, uid) = (Arc::clone(env), spec::uid(pod).to_owned());
    let work = move || {
        if !everything {
            return volumes::remove_volumes(&env.paths);
        }
        env.node.cgroups.remove_pod(&env.node.options.cgroup_root, &uid)?;
        volumes::remove_all(&env.paths)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => Err(Error::Config(format!("removing the Pod's files: {panic}"))),
    }
}

async fn remove(env: &Env, pod: &Pod, id: &str, instance: Option<Instance>) -> Result<(), Error> {
    env.node.runtime.remove_container(id).await?;
    let Some(Instance { name, log_path, .. }) = instance.filter(|instance| !instance.log_path.is_empty()) else {
        return Ok(());
    };
    let link = Link::of(&env.node.options.log_links, pod, (&name, id), env.paths.logs.join(&log_path));
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || link.remove()).await {
        tracing::warn!(pod = %spec::describe(pod), %error, "the link to a container's log is left");
    }
    env.node.logs.remove(&env.paths.logs, std::path::Path::new(&log_path)).await;
    Ok(())
}

async fn delete_from_api(env: &Env, pod: &Pod) -> Result<(), Error> {
    let api = Api::<Pod>::namespaced(env.node.client.clone(), spec::namespace(pod));
    let preconditions = Preconditions { uid: Some(spec::uid(pod).to_owned()), resource_version: None };
    let how =
        DeleteParams { grace_period_seconds: Some(0), preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(spec::name(pod), &how).await {
        // Gone already, or a namesake has its place.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        answer => answer.map(drop).map_err(Error::api("deleting the Pod's object")),
    }
}
