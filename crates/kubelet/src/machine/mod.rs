//! The Pod machine: what one Pod needs next, decided by a pure function.
//!
//! [`plan`] looks at the wish (the Pod as the API server has it), at what the runtime has ([`Seen`]), at what the worker
//! remembers ([`Memory`]: work under way, failures) and at what the probes say, and gives actions, the status to
//! publish, the probes that should run, and when to look again if nothing happens before. It has no clock, no client
//! and no file. `crate::worker` carries plans out.
//!
//! ```text
//!             volumes -> sandbox -> init containers, in order -> app containers
//!   run:      each step is taken once the one before is there; what fails waits and is tried again
//!                                  |
//!        deletion, end of the last container, deadline, refusal
//!                                  v
//!   terminate: kill containers (sidecars last) -> stop sandbox -> release volumes
//!                                  |                                     |
//!                              finished: kept for logs        deleted: final status, API delete,
//!                                                             remove containers and sandbox
//! ```
//! Start at [`plan`]; `run` and `terminate` are the two halves, `status` says what is published.

mod collect;
mod conditions;
mod container_status;
mod memory;
mod probing;
mod resize;
mod resource_status;
mod restart;
mod restart_all;
mod run;
mod status;
mod status_patch;
mod terminate;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};

pub(crate) use conditions::RESIZE_IN_PROGRESS;
pub(crate) use memory::{Cut, Memory, Slot, Work};
pub(crate) use probing::{ProbeKind, Target, Verdicts};
pub(crate) use resize::Pending;
pub(crate) use restart::next_delay_s;
pub(crate) use status_patch::status_patch;

use crate::config::resources::Machine;
use crate::seen::{Instance, Limits, Seen};

/// Everything a plan depends on.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// The Pod as the API server has it.
    pub(crate) pod: &'a Pod,
    /// Whether the API server has it no more.
    pub(crate) removed: bool,
    pub(crate) seen: &'a Seen,
    pub(crate) memory: &'a Memory,
    pub(crate) verdicts: &'a Verdicts,
    pub(crate) node: &'a NodeFacts,
    pub(crate) now: Timestamp,
}

/// What a Pod's status says about its node.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeFacts {
    /// The node's addresses, the primary one first.
    pub(crate) ips: Vec<String>,
    /// The scheme of container ids (`containerd`, `sampan`).
    pub(crate) runtime: String,
    pub(crate) machine: Machine,
}

/// What to do now, and what to say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    pub(crate) status: PodStatus,
    /// The probes that should be running, and no others.
    pub(crate) probes: Vec<Target>,
    /// When to plan again if nothing happens before.
    pub(crate) wake: Option<Timestamp>,
    /// The grace that the Pod has from now on, once it is on its way out. Work under way that only delays its end, image
    /// pulls and hooks after start, is of no use any more.
    pub(crate) grace_s: Option<i64>,
    /// Nothing of the Pod is left: its worker may end.
    pub(crate) done: bool,
}

/// One thing to do. Actions of one plan do not depend on each other and run at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make the Pod's directories and volumes, or bring them up to date.
    SetUpVolumes,
    /// Unmount and remove volumes; `everything` also the Pod's directory and logs.
    Release {
        everything: bool,
    },
    CreateSandbox {
        attempt: u32,
    },
    StopSandbox {
        id: String,
    },
    RemoveSandbox {
        id: String,
    },
    StartContainer(Start),
    /// Give a running container the resources that it has now been allocated.
    ResizeContainer {
        id: String,
        name: String,
    },
    /// Give the Pod's own group what the Pod has now been allocated as a whole.
    ResizePod(Limits),
    KillContainer(Kill),
    RemoveContainer {
        id: String,
    },
    /// Delete the Pod's object with grace 0.
    DeleteFromApi,
}

/// Start the next attempt of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) name: String,
    pub(crate) sandbox: String,
    pub(crate) attempt: u32,
    /// Kept with the container: how long to wait after its end.
    pub(crate) restart_delay_s: u32,
    /// Kept with the container: how often all containers have been restarted before.
    pub(crate) round: u32,
    /// The running container (by id) whose processes it shall see, if it asks for one and that one runs.
    pub(crate) target: Option<String>,
}

/// Stop a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kill {
    pub(crate) id: String,
    pub(crate) name: String,
    /// What the event says.
    pub(crate) message: String,
    pub(crate) grace_s: i64,
    /// Whether its hook before stop is run.
    pub(crate) pre_stop: bool,
}

impl Kill {
    fn of(instance: &Instance, message: String, grace_s: i64) -> Self {
        Self { id: instance.id.clone(), name: instance.name.clone(), message, grace_s, pre_stop: true }
    }
}

/// Why a Pod is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Someone deleted it; or it is gone from the API server already.
    Deleted,
    /// It has come to its own end.
    Finished(Outcome),
    /// `activeDeadlineSeconds` have passed.
    PastDeadline,
    /// The node does not take it.
    Rejected,
    /// The node cannot keep it any longer.
    Cut,
}

/// How a finished Pod ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Succeeded,
    Failed,
}

/// Decides what the Pod needs now.
pub(crate) fn plan(view: &View<'_>) -> Plan {
    let ending = terminate::ending(view);
    let mut steps = Steps::default();
    let status = status::status(view, ending);
    match ending {
        None => run::steps(view, &mut steps),
        Some(ending) => terminate::steps(view, ending, &status, &mut steps),
    }
    collect::steps(view, ending, &mut steps);
    if let Some(deadline) = terminate::deadline(view.pod) {
        steps.wake_at(deadline, view.now);
    }
    Plan {
        probes: probing::targets(view, ending),
        grace_s: ending.map(|_| terminate::grace_s(view)),
        done: view.removed && terminate::nothing_left(view),
        status,
        actions: steps.actions,
        wake: steps.wake,
    }
}

/// Actions and the next wake-up, as they are collected.
#[derive(Default)]
struct Steps {
    actions: Vec<Action>,
    wake: Option<Timestamp>,
}

impl Steps {
    fn push(&mut self, action: Action) {
        if !self.actions.contains(&action) {
            self.actions.push(action);
        }
    }

    /// Asks to be woken at `at`, unless that has passed.
    fn wake_at(&mut self, at: Timestamp, now: Timestamp) {
        if at > now {
            self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
        }
    }
}

impl View<'_> {
    fn busy(&self, slot: &Slot) -> bool {
        self.memory.busy.contains_key(slot)
    }

    fn starting(&self, name: &str) -> bool {
        self.busy(&Slot::Container(name.to_owned()))
    }

    /// Whether a failed step may be tried again; asks to be woken when it may.
    fn may_try(&self, slot: &Slot, steps: &mut Steps) -> bool {
        let Some(failure) = self.memory.failures.get(slot) else { return true };
        if let Some(flip) = failure.shows_back_off_from() {
            steps.wake_at(flip, self.now);
        }
        let Some(retry_at) = failure.retry_at else { return false };
        steps.wake_at(retry_at, self.now);
        retry_at <= self.now
    }
}
