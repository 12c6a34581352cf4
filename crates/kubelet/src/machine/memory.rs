//! What a Pod's worker remembers between plans: work under way and failures. All of it may be lost; the next plan
//! then starts from what the runtime has.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::Pending;
use crate::seen::Limits;

/// A failed image pull is shown as itself for this long, then as back-off.
const IMAGE_ERROR_SHOWN: SignedDuration = SignedDuration::from_secs(5);

/// Something that is done by one job at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    Volumes,
    Sandbox,
    /// Starting the container of this name.
    Container(String),
    /// Stopping or removing the container of this id.
    Instance(String),
    /// Giving the container of this id other resources.
    Resize(String),
    /// Giving the Pod's own group other resources.
    Group,
    /// Deleting the Pod's object.
    Api,
}

/// What a job in a slot is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Other,
    /// Killing with this grace; a shorter one replaces it.
    Kill {
        grace_s: i64,
    },
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The waiting reason, or the event's.
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) at: Timestamp,
    /// When it may be tried again; nothing: when something changes.
    pub(crate) retry_at: Option<Timestamp>,
    /// Failures in a row.
    pub(crate) count: u32,
}

/// The end that the node puts to a Pod: eviction, shutdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) reason: String,
    pub(crate) message: String,
    /// What its containers get instead of the Pod's own grace.
    pub(crate) grace_s: i64,
    /// Whether the Pod is the victim of something it did not cause: its condition DisruptionTarget says so.
    pub(crate) disrupted: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// When the node took the Pod.
    pub(crate) taken_at: Option<Timestamp>,
    pub(crate) busy: BTreeMap<Slot, Work>,
    pub(crate) failures: BTreeMap<Slot, Failure>,
    /// Volumes are there.
    pub(crate) volumes_ready: bool,
    /// An object behind a volume has changed.
    pub(crate) volumes_stale: bool,
    /// When a volume's content must be renewed (tokens).
    pub(crate) volumes_renew_at: Option<Timestamp>,
    /// Volumes were torn down again.
    pub(crate) volumes_released: bool,
    /// The Pod's directory and logs are gone.
    pub(crate) all_released: bool,
    /// Containers (by id) that must be killed, and why: their hook after start failed.
    pub(crate) condemned: BTreeMap<String, String>,
    /// Containers (by id) that have been killed on purpose, so that no second event is told.
    pub(crate) killed: BTreeSet<String>,
    /// Containers (by name) that have processors of their own.
    pub(crate) own_cpus: BTreeSet<String>,
    /// Why the node does not take the Pod: reason and message.
    pub(crate) rejected: Option<(String, String)>,
    /// Why the node ends the Pod, if it does.
    pub(crate) cut: Option<Cut>,
    /// The node needs the room that dead containers take.
    pub(crate) discard: bool,
    /// The grace of the Pod's end, and since when it has run.
    pub(crate) grace: Option<(i64, Timestamp)>,
    /// What the Pod's own group was last given, since this worker began.
    pub(crate) group: Option<Limits>,
    /// Why the Pod has not got the resources that it wishes now.
    pub(crate) resize: Option<Pending>,
}

impl Memory {
    /// Notes that the step of `slot` failed and when it may be tried again.
    pub(crate) fn fail(&mut self, slot: Slot, reason: &str, message: String, now: Timestamp) {
        let count = self.failures.get(&slot).map_or(0, |failure| failure.count) + 1;
        let retry_at = now.checked_add(wait(&slot, reason, count)).ok();
        self.failures.insert(slot, Failure { reason: reason.to_owned(), message, at: now, retry_at, count });
    }

    /// The Pod is on its way out with this grace, or not. Another grace than before begins anew.
    pub(crate) fn ends_in(&mut self, grace_s: Option<i64>, now: Timestamp) {
        self.grace = grace_s.map(|grace_s| self.grace.filter(|(known, _)| *known == grace_s).unwrap_or((grace_s, now)));
    }

    /// An object that the Pod names has changed: what failed for lack of it may be tried at once.
    pub(crate) fn sources_changed(&mut self, now: Timestamp) {
        self.volumes_stale = true;
        for (slot, failure) in &mut self.failures {
            if *slot == Slot::Volumes || failure.reason == "CreateContainerConfigError" {
                failure.retry_at = Some(now);
            }
        }
    }
}

/// How long to wait after the `count`th failure in a row.
fn wait(slot: &Slot, reason: &str, count: u32) -> SignedDuration {
    let doubled = |first_ms: i64, longest_ms: i64| {
        let wait = first_ms.saturating_mul(1 << count.saturating_sub(1).min(20));
        SignedDuration::from_millis(wait.min(longest_ms))
    };
    match slot {
        Slot::Volumes => doubled(500, 122_000),
        Slot::Container(_) if reason == "ErrImagePull" => doubled(10_000, 300_000),
        Slot::Container(_) => SignedDuration::from_secs(10),
        Slot::Sandbox => doubled(1000, 30_000),
        Slot::Resize(_) | Slot::Group => doubled(1000, 30_000),
        Slot::Instance(_) | Slot::Api => doubled(200, 10_000),
    }
}

impl Failure {
    /// Reason and message as a waiting container shows them at `now`.
    pub(crate) fn shown(&self, image: &str, now: Timestamp) -> (String, String) {
        match self.shows_back_off_from() {
            Some(flip) if now >= flip => {
                let text = format!("Back-off pulling image \"{image}\": {}: {}", self.reason, self.message);
                ("ImagePullBackOff".to_owned(), text)
            }
            _ => (self.reason.clone(), self.message.clone()),
        }
    }

    /// When a failed image pull begins to be shown as back-off.
    pub(crate) fn shows_back_off_from(&self) -> Option<Timestamp> {
        let pull = self.reason == "ErrImagePull";
        pull.then(|| self.at.checked_add(IMAGE_ERROR_SHOWN).ok()).flatten()
    }
}
