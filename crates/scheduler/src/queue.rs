//! The Pods that wait for a node.
//!
//! ```text
//!            ┌───────────────────────────── failed (could not be bound) ────────────────┐
//!            v                                                                          │
//! put ──> active ──pop──> deciding ──refused──> unschedulable ──an event that helps──> backing off
//!  │         ^                                       └──(5 min)──> active               │
//!  │         └──────────────────────────(its time has come, or nothing else to do)──────┘
//!  └──> gated (a plugin does not admit it) ──its gates removed──> active
//! ```
//! Nothing polls: [`Queue::next_wake`] is the one timer, and there is none while nothing waits for time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::framework::{Event, PluginSet};
use crate::plugins;
use crate::pod::PodInfo;

/// A Pod that was refused once waits this long before it competes again, twice as long each time.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// No Pod is held back longer than this.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// A Pod that no event helped is tried again after this long, in case an event was misjudged.
const FLUSH_AFTER: Duration = Duration::from_secs(5 * 60);

/// More important first, then those that have waited longer.
type Rank = (Reverse<i32>, u64);

/// The queue; bounded by the number of Pods in the cluster.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: HashMap<String, Waiting>,
    active: BTreeMap<Rank, String>,
    backing_off: BTreeMap<(Instant, u64), String>,
    unschedulable: BTreeMap<u64, String>,
    /// Pods that were found gated and have not been told so.
    newly_gated: VecDeque<String>,
    sequence: u64,
}

struct Waiting {
    pod: Arc<PodInfo>,
    place: Place,
    attempts: u32,
    last_attempt: Option<Instant>,
    /// Which plugins kept it from some node at the last attempt.
    refused_by: PluginSet,
}

#[derive(Clone, Copy)]
enum Place {
    Active(Rank),
    /// After a failure it may not come earlier; after a verdict it may, when there is nothing else to do.
    BackingOff((Instant, u64), Failed),
    Unschedulable(u64),
    Gated,
    Deciding,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Failed {
    No,
    Yes,
}

impl Queue {
    /// A Pod without a node is new or has changed.
    pub(crate) fn put(&mut self, pod: Arc<PodInfo>, now: Instant) {
        let uid = pod.uid.clone();
        let Some(waiting) = self.waiting.get_mut(&uid) else {
            let (attempts, last_attempt, refused_by) = (0, None, PluginSet::default());
            let waiting = Waiting { pod, place: Place::Deciding, attempts, last_attempt, refused_by };
            self.waiting.insert(uid.clone(), waiting);
            return self.admit(&uid, now);
        };
        let old = std::mem::replace(&mut waiting.pod, Arc::clone(&pod));
        let changed = old.pod.spec != pod.pod.spec || old.labels() != pod.labels();
        if changed && matches!(waiting.place, Place::Gated | Place::Unschedulable(_)) {
            self.admit(&uid, now);
        }
    }

    /// Lets a Pod in, unless a plugin objects.
    fn admit(&mut self, uid: &str, now: Instant) {
        let Some(waiting) = self.waiting.get(uid) else { return };
        let admitted = plugins::ALL.iter().filter_map(|plugin| plugin.gate).all(|gate| gate.admits(&waiting.pod));
        match (admitted, waiting.place) {
            (true, _) => self.requeue(uid, now),
            (false, Place::Gated) => {}
            (false, _) => {
                self.settle(uid, Place::Gated);
                self.newly_gated.push_back(uid.to_owned());
            }
        }
    }

    /// A Pod waits no more: it has a node, or is gone.
    pub(crate) fn remove(&mut self, uid: &str) {
        self.leave(uid);
        self.waiting.remove(uid);
    }

    /// A Pod that a gate was found to hold back since the last call.
    pub(crate) fn pop_gated(&mut self) -> Option<Arc<PodInfo>> {
        let uid = self.newly_gated.pop_front()?;
        let waiting = self.waiting.get(&uid)?;
        matches!(waiting.place, Place::Gated).then(|| Arc::clone(&waiting.pod))
    }

    /// The Pod to decide about now. One that backs off after a refusal comes early when nothing else is to do.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Arc<PodInfo>> {
        self.wake(now);
        let early = || self.backing_off.values().find(|uid| self.may_come_early(uid));
        let uid = self.active.values().next().or_else(early)?.clone();
        self.settle(&uid, Place::Deciding);
        let waiting = self.waiting.get_mut(&uid)?;
        waiting.attempts += 1;
        waiting.last_attempt = Some(now);
        Some(Arc::clone(&waiting.pod))
    }

    fn may_come_early(&self, uid: &str) -> bool {
        let place = self.waiting.get(uid).map(|waiting| waiting.place);
        matches!(place, Some(Place::BackingOff(_, Failed::No)))
    }

    /// The Pod being decided about has no place now; `by` are the plugins that kept it from nodes.
    pub(crate) fn refused(&mut self, uid: &str, by: PluginSet) {
        if let Some(waiting) = self.waiting.get_mut(uid) {
            waiting.refused_by = by;
            let sequence = self.next();
            self.settle(uid, Place::Unschedulable(sequence));
        }
    }

    /// The Pod being decided about could not be put where it was decided.
    pub(crate) fn failed(&mut self, uid: &str, now: Instant) {
        if let Some(waiting) = self.waiting.get(uid) {
            let until = waiting.backs_off_until().unwrap_or(now);
            let sequence = self.next();
            self.settle(uid, Place::BackingOff((until, sequence), Failed::Yes));
        }
    }

    /// Something happened: Pods that it could help are tried again.
    pub(crate) fn tell(&mut self, event: &Event<'_>, cluster: &Cluster, now: Instant) {
        let helped = |uid: &&String| self.waiting.get(*uid).is_some_and(|waiting| waiting.is_helped(event, cluster));
        let helped: Vec<String> = self.unschedulable.values().filter(helped).cloned().collect();
        helped.iter().for_each(|uid| self.requeue(uid, now));
    }

    /// When to call [`Queue::pop`] again though nothing happens.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let backoff = self.backing_off.keys().next().map(|(until, _)| *until);
        backoff.into_iter().chain(self.next_flush()).min()
    }

    fn next_flush(&self) -> Option<Instant> {
        let oldest = self.waiting.get(self.unschedulable.values().next()?)?;
        Some(oldest.last_attempt? + FLUSH_AFTER)
    }

    fn wake(&mut self, now: Instant) {
        while let Some(((_, _), uid)) = self.backing_off.first_key_value().filter(|((until, _), _)| *until <= now) {
            let uid = uid.clone();
            self.activate(&uid);
        }
        while self.next_flush().is_some_and(|flush| flush <= now) {
            let Some((_, uid)) = self.unschedulable.first_key_value() else { return };
            let uid = uid.clone();
            self.activate(&uid);
        }
    }

    /// Back into the competition, at once or after its back-off.
    fn requeue(&mut self, uid: &str, now: Instant) {
        let until = self.waiting.get(uid).and_then(Waiting::backs_off_until);
        match until.filter(|until| *until > now) {
            None => self.activate(uid),
            Some(until) => {
                let sequence = self.next();
                self.settle(uid, Place::BackingOff((until, sequence), Failed::No));
            }
        }
    }

    fn activate(&mut self, uid: &str) {
        let Some(priority) = self.waiting.get(uid).map(|waiting| waiting.pod.priority) else { return };
        let sequence = self.next();
        self.settle(uid, Place::Active((Reverse(priority), sequence)));
    }

    /// Moves a Pod to `place`.
    fn settle(&mut self, uid: &str, place: Place) {
        self.leave(uid);
        let Some(waiting) = self.waiting.get_mut(uid) else { return };
        waiting.place = place;
        let uid = uid.to_owned();
        match place {
            Place::Active(rank) => _ = self.active.insert(rank, uid),
            Place::BackingOff(until, _) => _ = self.backing_off.insert(until, uid),
            Place::Unschedulable(sequence) => _ = self.unschedulable.insert(sequence, uid),
            Place::Gated | Place::Deciding => {}
        }
    }

    fn leave(&mut self, uid: &str) {
        match self.waiting.get(uid).map(|waiting| waiting.place) {
            Some(Place::Active(rank)) => _ = self.active.remove(&rank),
            Some(Place::BackingOff(until, _)) => _ = self.backing_off.remove(&until),
            Some(Place::Unschedulable(sequence)) => _ = self.unschedulable.remove(&sequence),
            Some(Place::Gated | Place::Deciding) | None => {}
        }
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

impl Waiting {
    /// When it may compete again; at any time if it was never tried.
    fn backs_off_until(&self) -> Option<Instant> {
        let doublings = self.attempts.saturating_sub(1).min(u32::BITS - 1);
        let backoff = FIRST_BACKOFF.saturating_mul(1 << doublings).min(LONGEST_BACKOFF);
        Some(self.last_attempt? + backoff)
    }

    /// Whether one of the plugins that refused it says so. When none did, there was no node: anything may help.
    fn is_helped(&self, event: &Event<'_>, cluster: &Cluster) -> bool {
        let mut refusing = plugins::ALL.iter().enumerate().filter(|(index, _)| self.refused_by.contains(*index));
        self.refused_by.is_empty()
            || refusing
                .any(|(_, plugin)| plugin.filter.is_some_and(|filter| filter.could_help(event, &self.pod, cluster)))
    }
}

#[cfg(test)]
mod tests;
