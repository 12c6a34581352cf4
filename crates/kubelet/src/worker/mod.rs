//! One worker for each Pod: it looks, asks the Pod machine for a plan, and carries the plan out.
//!
//! ```text
//!   Pod changed, container event, probe verdict, object changed, job ended, timer
//!                                   |
//!                 observe (CRI) -> plan (pure) -> jobs (one per action) -> status
//! ```
//! Every action runs as a job beside the loop, so that a slow pull never delays a kill. The worker's memory is lost with
//! it; whatever matters is in the API server or with the runtime. Start at [`Worker::run`].

mod allocation;
mod announce;
mod env_files;
mod inbox;
mod jobs;
mod kill;
mod places;
mod publish;
mod resize;
mod room;
mod sandbox;
mod start;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;

pub(crate) use inbox::{Inbox, Shown, Standing};
pub(crate) use jobs::Done;
pub(crate) use room::Room;

use crate::burstable;
use crate::config::fields::Facts;
use crate::config::mounts::Place;
use crate::config::paths::PodPaths;
use crate::config::resources;
use crate::machine::{self, Memory, Plan, Slot, View};
use crate::node::{Node, Refusal};
use crate::probes::Probing;
use crate::seen::Seen;
use crate::sources::{Hold, OnChange};
use crate::{pod_certificates, spec, static_pods};
use allocation::Allocation;
use publish::Publisher;
pub(crate) use publish::Turns;

/// A runtime that does not answer is asked again after this long.
const OBSERVE_AGAIN: Duration = Duration::from_secs(1);

/// What every job of a Pod needs; cheap to share.
pub(crate) struct Env {
    pub(crate) node: Arc<Node>,
    pub(crate) paths: PodPaths,
    pub(crate) hold: Hold,
    /// Where the volumes are, since they were set up last.
    pub(crate) places: Mutex<BTreeMap<String, Place>>,
    /// Ends pulls and hooks when the Pod is on its way out.
    pub(crate) cancel_starts: CancellationToken,
}

/// The loop of one Pod.
pub(crate) struct Worker {
    env: Arc<Env>,
    inbox: Arc<Inbox>,
    memory: Memory,
    seen: Seen,
    /// Whether what the runtime has may differ from `seen`.
    look: bool,
    jobs: JoinSet<Done>,
    /// Whose the jobs are, should one end without telling.
    slots: HashMap<task::Id, Slot>,
    kills: jobs::Kills,
    publisher: Publisher,
    probing: Probing,
    /// What has been told in events.
    told: announce::Told,
    /// The Pod as it was looked at last.
    followed: Arc<Pod>,
    allocation: Allocation,
    /// Why the node does not take the Pod, until that has been looked at once more.
    refusal: Option<Refusal>,
    /// What the Pod adds to the weight of all Burstable Pods.
    part: burstable::Part,
    room: Arc<dyn Room>,
    /// A resize was granted, and its end has not been told.
    resizing: bool,
    /// Ticks when other Pods change: a deferred resize may have room then.
    others: watch::Receiver<u64>,
}

impl Worker {
    /// A worker for the Pod in `inbox`; `refusal` says why the node does not take it, if so, `room` what others leave.
    pub(crate) fn new(node: &Arc<Node>, inbox: Arc<Inbox>, refusal: Option<Refusal>, room: Arc<dyn Room>) -> Self {
        let pod = inbox.pod();
        let told = Arc::clone(&inbox);
        let on_change: OnChange = Arc::new(move || told.object_changed());
        let hold = node.sources.hold(&pod, &on_change);
        if pod_certificates::used_by(&pod) {
            node.certificates.hold(inbox.uid(), &on_change);
        }
        let paths = PodPaths::of(&pod, &node.options.root_dir, &node.options.log_dir);
        let env = Env {
            node: Arc::clone(node),
            paths,
            hold,
            places: Mutex::default(),
            cancel_starts: CancellationToken::new(),
        };
        let memory = Memory { taken_at: Some(sampan_clock::now()), ..Memory::default() };
        Self {
            env: Arc::new(env),
            probing: Probing::new(node, &inbox),
            allocation: Allocation::of(&pod),
            refusal,
            part: node.burstable.part(),
            followed: pod,
            room,
            resizing: false,
            others: inbox.follow_others(),
            inbox,
            memory,
            seen: Seen::default(),
            look: true,
            jobs: JoinSet::new(),
            slots: HashMap::new(),
            kills: jobs::Kills::default(),
            publisher: Publisher::default(),
            told: announce::Told::default(),
        }
    }

    /// Works until nothing of the Pod is left.
    pub(crate) async fn run(mut self) {
        self.admit().await;
        loop {
            if self.look && !self.observe().await {
                tokio::time::sleep(OBSERVE_AGAIN).await;
                continue;
            }
            let pod = self.pod();
            let plan = self.plan(&pod);
            if plan.done {
                break;
            }
            self.carry_out(&pod, &plan);
            if matches!(plan.status.phase.as_deref(), Some("Succeeded" | "Failed")) {
                self.give_back();
                self.part.set(0);
            } else {
                self.part.set(resources::burstable_shares(&pod));
            }
            self.announce(&pod, &plan.status);
            if let Some(shown) = self.shown_as(&pod) {
                self.publisher.offer(&self.env, &shown, &plan.status, self.inbox.removed());
            }
            self.inbox.show(&pod, &plan.status, &self.seen);
            self.wait(plan.wake).await;
        }
        self.give_back();
        self.part.set(0);
        self.env.node.tokens.forget(self.inbox.uid());
        self.env.node.certificates.release(self.inbox.uid());
        self.env.node.logs.follow(self.inbox.uid(), &Seen::default());
    }

    /// What only one Pod can have goes to others.
    fn give_back(&self) {
        self.env.node.devices.release(self.inbox.uid());
        self.env.node.cpus.release(self.inbox.uid());
    }

    /// Has devices and processors given to a Pod that was not taken before; without them it is not taken. One that runs
    /// keeps what it was given, be it by a kubelet that gave nobody processors of its own.
    async fn admit(&mut self) {
        self.give().await;
        self.memory.own_cpus = self.env.node.cpus.owners(self.inbox.uid());
    }

    async fn give(&mut self) {
        let pod = self.inbox.pod();
        if let Some(refusal) = self.refusal.take()
            && let Some(refusal) = self.look_again(&pod, refusal).await
        {
            self.reject(&refusal.reason, refusal.message);
        }
        if self.memory.rejected.is_some() || self.inbox.removed() || spec::status(&pod).start_time.is_some() {
            return;
        }
        if let Err(why) = self.env.node.devices.allocate(&pod).await {
            let message = format!("Pod was rejected: Allocate failed due to {why}, which is unexpected");
            self.reject("UnexpectedAdmissionError", message);
        } else if let Err(refusal) = self.env.node.cpus.allocate(&pod) {
            self.reject(refusal.reason, refusal.message);
        }
    }

    /// A refusal for the node's labels alone may be out of date: what becomes of it by those that the API server has now.
    async fn look_again(&self, pod: &Pod, refusal: Refusal) -> Option<Refusal> {
        if !refusal.by_labels {
            return Some(refusal);
        }
        match self.env.node.fresh_offer().await {
            Ok(offer) => self.room.take(pod, &offer),
            Err(error) => {
                tracing::warn!(%error, "the node's labels could not be read");
                Some(refusal)
            }
        }
    }

    /// The Pod fails, and others may have its place from now on.
    fn reject(&mut self, reason: &str, message: String) {
        self.inbox.refuse();
        self.memory.rejected = Some((reason.to_owned(), message));
    }

    /// The Pod as it is now, with what it has been given of the node; what hangs on it follows.
    fn pod(&mut self) -> Arc<Pod> {
        let pod = self.inbox.pod();
        let before = std::mem::replace(&mut self.followed, Arc::clone(&pod));
        if !Arc::ptr_eq(&before, &pod) {
            self.env.hold.follow(&pod);
            let (old, new) = (&before.metadata, &pod.metadata);
            if old.labels != new.labels || old.annotations != new.annotations || before.spec != pod.spec {
                self.memory.sources_changed(sampan_clock::now());
            }
        }
        if pod.metadata.deletion_timestamp.is_none() && self.memory.rejected.is_none() {
            self.judge(&pod);
        }
        self.allocation.apply(&pod)
    }

    /// The object in the API server that shows the Pod: itself, or of a static Pod its mirror, once there is one.
    fn shown_as(&self, pod: &Arc<Pod>) -> Option<Arc<Pod>> {
        match static_pods::is_static(pod) {
            true => self.env.node.mirrors.of(self.inbox.uid()),
            false => Some(Arc::clone(pod)),
        }
    }

    async fn observe(&mut self) -> bool {
        match self.env.node.runtime.observe(self.inbox.uid()).await {
            Ok(seen) => {
                self.look = false;
                self.probing.retain(|id| seen.containers.iter().any(|container| container.id == id));
                self.env.node.logs.follow(self.inbox.uid(), &seen);
                self.seen = seen;
                true
            }
            Err(error) => {
                tracing::warn!(pod = %spec::describe(&self.inbox.pod()), %error, "container runtime does not answer");
                false
            }
        }
    }

    fn plan(&self, pod: &Pod) -> Plan {
        machine::plan(&View {
            pod,
            removed: self.inbox.removed(),
            seen: &self.seen,
            memory: &self.memory,
            verdicts: &self.probing.verdicts(),
            node: &self.env.node.facts,
            now: sampan_clock::now(),
        })
    }

    fn carry_out(&mut self, pod: &Arc<Pod>, plan: &Plan) {
        self.memory.ends_in(plan.grace_s, sampan_clock::now());
        if plan.grace_s.is_some() {
            self.env.cancel_starts.cancel();
        }
        let facts = self.pod_facts();
        self.probing.set(pod, &plan.probes, &self.seen, &facts);
        for action in &plan.actions {
            self.begin(pod, action.clone());
        }
    }

    /// Waits for whatever makes another plan worth while.
    async fn wait(&mut self, wake: Option<Timestamp>) {
        tokio::select! {
            news = self.inbox.news() => {
                self.look |= news.runtime;
                self.memory.cut = self.inbox.why_cut();
                self.memory.discard = self.inbox.discards();
                if news.objects {
                    self.memory.sources_changed(sampan_clock::now());
                }
            }
            Some(ended) = self.jobs.join_next_with_id() => self.ended(ended),
            published = self.publisher.ended() => self.inbox.published(published),
            Ok(()) = self.others.changed(), if self.memory.resize.is_some() => {}
            () = sleep_until(wake) => {}
        }
    }

    /// Facts that environments, volumes and probes refer to.
    fn pod_facts(&self) -> Facts {
        let host_ips = self.env.node.facts.ips.clone();
        let ready = self.seen.ready_sandbox().map(|sandbox| sandbox.ips.clone());
        let pod = self.inbox.pod();
        Facts {
            pod_ips: if spec::host_network(&pod) { host_ips.clone() } else { ready.unwrap_or_default() },
            host_ips,
            allocatable: self.env.node.capacity.allocatable.clone(),
        }
    }
}

async fn sleep_until(wake: Option<Timestamp>) {
    match wake {
        Some(wake) => {
            let wait = wake.duration_since(sampan_clock::now());
            tokio::time::sleep(Duration::try_from(wait).unwrap_or(Duration::ZERO)).await;
        }
        None => std::future::pending().await,
    }
}
