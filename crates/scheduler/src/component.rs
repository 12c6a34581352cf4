//! The running scheduler: informers tell the state what happens, one loop takes decisions, many tasks carry them out.
//!
//! The state lies behind a mutex that is never held across an await; a decision takes microseconds. What is decided is
//! assumed at once, so the next Pod is decided while the API server still learns about the last.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::{Client, Resource};
use parking_lot::Mutex;
use sampan_client::{EventRecorder, Informer, Informers, Tasks};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::pod::PodInfo;
use crate::preemption::Preemption;
use crate::state::{Nomination, State, Step};
use crate::writes::{self, Condition, NominatedNode};

/// Decisions that are being carried out at once.
const WRITES: usize = 128;

/// What the scheduler needs.
pub struct Options {
    /// Reads and writes: the identity `system:kube-scheduler`.
    pub client: Client,
    /// Pods that ask for this scheduler are its own: `default-scheduler`.
    pub scheduler_name: String,
}

/// The running scheduler.
pub struct Handle {
    tasks: Tasks,
}

impl Handle {
    /// What is wrong with it, if anything is.
    pub fn health(&self) -> Result<(), String> {
        self.tasks.health()
    }

    /// Stops it and waits until it has.
    pub async fn shutdown(&self) {
        self.tasks.shutdown().await;
    }
}

struct Scheduler {
    client: Client,
    events: EventRecorder,
    state: Mutex<State>,
    changed: Notify,
    tasks: Tasks,
}

struct Watched {
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    namespaces: Informer<Namespace>,
}

/// Starts the scheduler.
pub fn start(options: &Options) -> Handle {
    let tasks = Tasks::new();
    let scheduler = Arc::new(Scheduler {
        client: options.client.clone(),
        events: EventRecorder::new(options.client.clone(), &options.scheduler_name, "", &tasks),
        state: Mutex::new(State::new(&options.scheduler_name)),
        changed: Notify::new(),
        tasks: tasks.clone(),
    });
    let informers = Informers::new(options.client.clone(), &tasks);
    let watched = Watched { nodes: informers.all(), pods: informers.all(), namespaces: informers.all() };
    tasks.spawn(scheduler.run(watched));
    Handle { tasks }
}

impl Scheduler {
    async fn run(self: Arc<Self>, watched: Watched) {
        self.listen(&watched);
        // Before all is known, no place is known to be free.
        watched.nodes.synced().await;
        watched.pods.synced().await;
        watched.namespaces.synced().await;
        let writes = Arc::new(Semaphore::new(WRITES));
        loop {
            let (step, wake) = {
                let mut state = self.state.lock();
                (state.step(Instant::now()), state.next_wake())
            };
            match step {
                Some(step) => {
                    let Ok(permit) = Arc::clone(&writes).acquire_owned().await else { return };
                    self.tasks.spawn(Arc::clone(&self).carry_out(step, permit));
                    tokio::task::consume_budget().await;
                }
                None => self.wait(wake).await,
            }
        }
    }

    fn listen(self: &Arc<Self>, watched: &Watched) {
        let scheduler = Arc::clone(self);
        watched.namespaces.on_change(move |change| scheduler.hear(|state, now| state.hear_namespace(change, now)));
        let scheduler = Arc::clone(self);
        watched.nodes.on_change(move |change| scheduler.hear(|state, now| state.hear_node(change, now)));
        let scheduler = Arc::clone(self);
        watched.pods.on_change(move |change| scheduler.hear(|state, now| state.hear_pod(change, now)));
    }

    fn hear(&self, tell: impl FnOnce(&mut State, Instant)) {
        tell(&mut self.state.lock(), Instant::now());
        self.changed.notify_one();
    }

    async fn wait(&self, wake: Option<Instant>) {
        match wake {
            None => self.changed.notified().await,
            Some(wake) => {
                tokio::select! {
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(wake) => {}
                }
            }
        }
    }

    async fn carry_out(self: Arc<Self>, step: Step, _permit: OwnedSemaphorePermit) {
        match step {
            Step::Bind { pod, node } => self.bind(&pod, &node).await,
            Step::Refuse { pod, message, nomination } => self.refuse(&pod, &message, nomination).await,
            Step::Gate { pod } => {
                let message = "Scheduling is blocked due to non-empty scheduling gates";
                let condition = Condition::unscheduled("SchedulingGated", message);
                self.write_status(&pod, &condition, NominatedNode::Keep).await;
            }
        }
    }

    async fn bind(&self, pod: &PodInfo, node: &str) {
        let Err(error) = writes::bind(&self.client, pod, node).await else {
            let message = format!("Successfully assigned {} to {node}", pod.key);
            return self.events.normal(&pod.pod.object_ref(&()), "Scheduled", message);
        };
        tracing::debug!(pod = %pod.key, node, %error, "not bound");
        self.hear(|state, now| state.bind_failed(pod, now));
        if is_gone(&error) {
            return;
        }
        let message = format!("binding rejected: running Bind plugin \"DefaultBinder\": {error}");
        self.events.warning(&pod.pod.object_ref(&()), "FailedScheduling", message.as_str());
        let condition = Condition::unscheduled("SchedulerError", &message);
        self.write_status(pod, &condition, NominatedNode::Keep).await;
    }

    async fn refuse(&self, pod: &PodInfo, message: &str, nomination: Nomination) {
        self.events.warning(&pod.pod.object_ref(&()), "FailedScheduling", message);
        let condition = Condition::unscheduled("Unschedulable", message);
        let nominated = match &nomination {
            Nomination::Keep => NominatedNode::Keep,
            Nomination::Clear => NominatedNode::Clear,
            Nomination::Make(preemption) => NominatedNode::Set(&preemption.node),
        };
        self.write_status(pod, &condition, nominated).await;
        if let Nomination::Make(preemption) = nomination {
            self.push_away(pod, &preemption).await;
        }
    }

    async fn push_away(&self, pod: &PodInfo, preemption: &Preemption) {
        let by = pod.spec().scheduler_name.as_deref().unwrap_or_default();
        let message = format!("{by}: preempting to accommodate a higher priority pod");
        for victim in &preemption.victims {
            let (kind, reason) = ("DisruptionTarget", "PreemptionByScheduler");
            let condition = Condition { kind, status: "True", reason, message: &message };
            self.write_status(victim, &condition, NominatedNode::Keep).await;
            match writes::delete(&self.client, victim).await {
                Ok(()) => {
                    let message = format!("Preempted by pod {} on node {}", pod.uid, preemption.node);
                    self.events.normal(&victim.pod.object_ref(&()), "Preempted", message);
                }
                Err(error) if is_gone(&error) => {}
                Err(error) => tracing::warn!(pod = %pod.key, victim = %victim.key, %error, "victim not deleted"),
            }
        }
    }

    async fn write_status(&self, pod: &PodInfo, condition: &Condition<'_>, nominated: NominatedNode<'_>) {
        match writes::write_status(&self.client, pod, condition, nominated).await {
            Ok(()) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => tracing::warn!(pod = %pod.key, %error, "status not written"),
        }
    }
}

/// Whether the Pod is not there any more: its informer brings the news.
fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
