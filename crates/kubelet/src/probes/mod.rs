//! Startup, liveness and readiness probes.
//!
//! Which probes run is the Pod machine's decision ([`crate::machine::Target`]); here each gets a task that asks once a
//! period, a pure state machine ([`state::State`]) that turns answers into verdicts, and one file for each way of asking.
//! A verdict wakes the Pod's worker. Start at [`Probing::set`].

mod exec;
mod grpc;
pub(crate) mod http;
mod state;
pub(crate) mod target;
mod tcp;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use parking_lot::{Mutex, MutexGuard};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use crate::config::fields::Facts;
use crate::machine::{ProbeKind, Target, Verdicts};
use crate::node::Node;
use crate::seen::{Seen, State as ContainerState};
use crate::spec;
use crate::worker::Inbox;
use state::State;

/// Messages of probes are cut at this many bytes.
const OUTPUT_BYTES: usize = 1024;
/// So often it is tried to ask, before the next period.
const ATTEMPTS: usize = 3;
/// A container that was not ready at once is asked again after so long, and then after twice as long each time, for a
/// period.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// What one asking gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Good,
    /// It is well as far as could be seen, which was not all the way.
    Warning(String),
    /// The container says, or shows, that it is not well.
    Bad(String),
    /// It could not be asked.
    Error(String),
}

impl Answer {
    /// Whether the container is well; nothing if that was not found out.
    fn good(&self) -> Option<bool> {
        match self {
            Self::Good | Self::Warning(_) => Some(true),
            Self::Bad(_) => Some(false),
            Self::Error(_) => None,
        }
    }
}

/// The running probes of one Pod.
pub(crate) struct Probing {
    node: Arc<Node>,
    inbox: Arc<Inbox>,
    verdicts: Arc<Mutex<Verdicts>>,
    running: BTreeMap<Target, AbortHandle>,
}

impl Probing {
    /// No probes yet.
    pub(crate) fn new(node: &Arc<Node>, inbox: &Arc<Inbox>) -> Self {
        let (node, inbox) = (Arc::clone(node), Arc::clone(inbox));
        Self { node, inbox, verdicts: Arc::default(), running: BTreeMap::new() }
    }

    /// What the probes say so far.
    pub(crate) fn verdicts(&self) -> MutexGuard<'_, Verdicts> {
        self.verdicts.lock()
    }

    /// Forgets verdicts on containers that are gone.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.verdicts.lock().retain(keep);
    }

    /// Has exactly `targets` probed.
    pub(crate) fn set(&mut self, pod: &Arc<Pod>, targets: &[Target], seen: &Seen, facts: &Facts) {
        self.running.retain(|target, task| {
            let wanted = targets.contains(target);
            if !wanted {
                task.abort();
            }
            wanted
        });
        for target in targets {
            if !self.running.contains_key(target)
                && let Some(prober) = self.prober(pod, target, seen, facts)
            {
                self.running.insert(target.clone(), tokio::spawn(prober.run()).abort_handle());
            }
        }
    }

    fn prober(&self, pod: &Arc<Pod>, target: &Target, seen: &Seen, facts: &Facts) -> Option<Prober> {
        let (_, container) = spec::container(pod, &target.name)?;
        let instance = seen.containers.iter().find(|container| container.id == target.id)?;
        let ContainerState::Running { started_at } = instance.state else { return None };
        Some(Prober {
            node: Arc::clone(&self.node),
            inbox: Arc::clone(&self.inbox),
            verdicts: Arc::clone(&self.verdicts),
            probe: target.kind.of(&container)?.clone(),
            container: container.into_owned(),
            pod: Arc::clone(pod),
            target: target.clone(),
            pod_ip: facts.pod_ips.first().cloned().unwrap_or_default(),
            started_at,
        })
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.running.values().for_each(AbortHandle::abort);
    }
}

/// One probe of one container.
struct Prober {
    node: Arc<Node>,
    inbox: Arc<Inbox>,
    verdicts: Arc<Mutex<Verdicts>>,
    pod: Arc<Pod>,
    container: Container,
    probe: Probe,
    target: Target,
    pod_ip: String,
    started_at: Timestamp,
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default))
}

impl Prober {
    async fn run(self) {
        let delay = SignedDuration::from_secs(i64::from(self.probe.initial_delay_seconds.unwrap_or(0)));
        let first = self.started_at.checked_add(delay).unwrap_or(self.started_at);
        let wait = first.duration_since(sampan_clock::now());
        tokio::time::sleep(Duration::try_from(wait).unwrap_or(Duration::ZERO)).await;
        let period = seconds(self.probe.period_seconds, 10);
        let mut answer = self.first(period).await;
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut state = State::new(self.probe.success_threshold, self.probe.failure_threshold);
        loop {
            self.tell(&answer);
            if let Some(verdict) = answer.good().and_then(|good| state.take(good))
                && self.verdicts.lock().set(&self.target, verdict)
            {
                self.inbox.verdict_changed();
            }
            ticks.tick().await;
            answer = self.ask().await;
        }
    }

    /// The first answer that counts. A program that was just started often listens a moment later, and nobody shall wait a
    /// whole period for that moment: who is not ready at once is asked again, until it is or a period has passed.
    async fn first(&self, period: Duration) -> Answer {
        let mut answer = self.ask().await;
        if self.target.kind != ProbeKind::Readiness || answer.good() == Some(true) {
            return answer;
        }
        self.tell(&answer);
        let until = Instant::now() + period;
        let mut pause = FIRST_PAUSE;
        while answer.good() != Some(true) && Instant::now() < until {
            sleep_until(until.min(Instant::now() + pause)).await;
            answer = self.ask().await;
            pause *= 2;
        }
        answer
    }

    async fn ask(&self) -> Answer {
        let mut answer = self.ask_once().await;
        for _ in 1..ATTEMPTS {
            if answer.good().is_some() {
                break;
            }
            answer = self.ask_once().await;
        }
        answer
    }

    async fn ask_once(&self) -> Answer {
        let timeout = seconds(self.probe.timeout_seconds, 1);
        if let Some(action) = &self.probe.exec {
            return match exec::command(action, &self.container) {
                Ok(command) => exec::ask(&self.node.runtime, &self.target.id, &command, timeout).await,
                Err(error) => Answer::Error(error.to_string()),
            };
        }
        if let Some(get) = &self.probe.http_get {
            return match target::http(get, &self.container, &self.pod_ip) {
                Ok(request) => http::ask(&request, timeout).await,
                Err(error) => Answer::Error(error),
            };
        }
        if let Some(socket) = &self.probe.tcp_socket {
            return match target::tcp(socket, &self.container, &self.pod_ip) {
                Ok((host, port)) => tcp::ask(&host, port, timeout).await,
                Err(error) => Answer::Error(error),
            };
        }
        match &self.probe.grpc {
            Some(action) => {
                let service = action.service.as_deref().unwrap_or_default();
                grpc::ask(&self.pod_ip, action.port, service, timeout).await
            }
            None => Answer::Good,
        }
    }

    fn tell(&self, answer: &Answer) {
        let title = self.target.kind.title();
        let (reason, message) = match answer {
            Answer::Good => return,
            Answer::Warning(output) => ("ProbeWarning", format!("{title} probe warning: {output}")),
            Answer::Bad(output) => ("Unhealthy", format!("{title} probe failed: {output}")),
            Answer::Error(error) => {
                ("Unhealthy", format!("{title} probe errored and resulted in unknown state: {error}"))
            }
        };
        let role = spec::container(&self.pod, &self.target.name).map_or(spec::Role::App, |(role, _)| role);
        let regarding = spec::container_reference(&self.pod, role, &self.target.name);
        self.node.recorder.warning(&regarding, reason, message);
    }
}

/// Cuts `text` at [`OUTPUT_BYTES`].
fn cut(text: &str) -> String {
    let end = (0..=text.len().min(OUTPUT_BYTES)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}
