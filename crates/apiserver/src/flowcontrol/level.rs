//! A priority level at work: its queues and what goes with them under one short lock, never held across an await.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::busy::Busy;
use super::demand::Demand;
use super::queues::{Arrival, Digest, Queued, Queues, Reason, Shape};
use super::retry_after::RetryAfter;
use super::shares::{Limits, Wanted};
use super::stats::Stats;
use super::work::Work;

/// A priority level.
pub(super) struct Level {
    /// The name of its PriorityLevelConfiguration.
    pub(super) name: String,
    state: Mutex<State>,
    /// Told when requests do not find room.
    pressed: Arc<Notify>,
}

struct State {
    queues: Queues<Waiter>,
    demand: Demand,
    retry_after: RetryAfter,
    limits: Limits,
    current: u32,
    /// What was wanted in the last period, and what was to be given for it.
    wanted: Wanted,
    target: f64,
    busy: Busy,
    totals: Totals,
}

/// A request that waits.
struct Waiter {
    /// Lets it in.
    sender: oneshot::Sender<()>,
    /// What is counted of its schema.
    stats: Arc<Stats>,
}

/// What became of the requests of a level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// They ran.
    pub(super) dispatched: u64,
    /// They were turned away at once.
    pub(super) rejected: u64,
    /// They waited for too long.
    pub(super) timed_out: u64,
    /// Their clients went away while they waited.
    pub(super) cancelled: u64,
}

/// A request that has come in.
pub(super) enum Entered {
    /// It runs.
    Runs(Queued),
    /// It runs when the receiver says so; so long is its queue now.
    Waits(Queued, usize, oneshot::Receiver<()>),
}

/// What can be seen of a level.
pub(super) struct Seen {
    /// Its queues.
    pub(super) digest: Digest,
    /// Its bounds.
    pub(super) limits: Limits,
    /// Its seats now.
    pub(super) current: u32,
    /// What was wanted in the last period, and what was to be given for it.
    pub(super) wanted: Wanted,
    pub(super) target: f64,
    /// For how long it was how busy.
    pub(super) busy: Busy,
    /// What became of its requests.
    pub(super) totals: Totals,
}

impl Level {
    /// A new one, without requests.
    pub(super) fn new(name: &str, shape: Shape, limits: Limits, pressed: Arc<Notify>) -> Self {
        // Half of what it lends may be lent already.
        let current = limits.nominal - (limits.nominal - limits.lower) / 2;
        let state = State {
            queues: Queues::new(shape, current),
            demand: Demand::default(),
            retry_after: RetryAfter::default(),
            limits,
            current,
            wanted: Wanted::default(),
            target: 0.0,
            busy: Busy::new(),
            totals: Totals::default(),
        };
        Self { name: name.to_owned(), state: Mutex::new(state), pressed }
    }

    /// Follows its configuration.
    pub(super) fn configure(&self, now_s: f64, shape: Shape, limits: Limits) {
        let mut state = self.state.lock();
        state.queues.reshape(shape);
        if state.limits != limits {
            state.limits = limits;
            let current = limits.nominal - (limits.nominal - limits.lower) / 2;
            state.set_current(now_s, current);
        }
    }

    /// Takes a request, or says why not.
    pub(super) fn enter(&self, now_s: f64, hash: u64, work: Work, stats: &Arc<Stats>) -> Result<Entered, Reason> {
        let mut state = self.state.lock();
        let mut receiver = None;
        let arrival = state.queues.arrive(now_s, hash, work, || {
            let (sender, waits) = oneshot::channel();
            receiver = Some(waits);
            Waiter { sender, stats: Arc::clone(stats) }
        });
        match (arrival, receiver) {
            (Arrival::Runs(place), _) => {
                state.note(now_s);
                state.totals.dispatched += 1;
                Ok(Entered::Runs(place))
            }
            (Arrival::Waits(place, length), Some(receiver)) => {
                // A seat may be free that is too few for those in front.
                state.let_in(now_s);
                self.pressed.notify_one();
                Ok(Entered::Waits(place, length, receiver))
            }
            (Arrival::Waits(..), None) => Err(Reason::Cancelled),
            (Arrival::Refused(reason), _) => {
                state.totals.rejected += 1;
                self.pressed.notify_one();
                Err(reason)
            }
        }
    }

    /// Takes one away that waits; false if it runs by now.
    pub(super) fn leave(&self, now_s: f64, place: Queued, reason: Reason) -> bool {
        let mut state = self.state.lock();
        let left = state.queues.leave(now_s, place);
        if left {
            match reason {
                Reason::Cancelled => state.totals.cancelled += 1,
                _ => state.totals.timed_out += 1,
            }
            // It may have been in the way of smaller ones.
            state.let_in(now_s);
        }
        left
    }

    /// One that ran has ended.
    pub(super) fn finish(&self, now_s: f64, place: Queued, work: Work, took_s: f64) {
        let mut state = self.state.lock();
        state.queues.finish(now_s, place.queue, work, took_s);
        state.let_in(now_s);
    }

    /// How long, in seconds, a client is to stay away that is refused now.
    pub(super) fn retry_after_s(&self, now_s: f64) -> u32 {
        self.state.lock().retry_after.refused(now_s as u64)
    }

    /// Begins to add up anew what is wanted.
    pub(super) fn restart(&self, now_s: f64) {
        self.state.lock().demand.restart(now_s);
    }

    /// What was wanted since the last time.
    pub(super) fn settle(&self, now_s: f64) -> (Limits, Wanted) {
        let mut state = self.state.lock();
        state.wanted = state.demand.settle(now_s);
        (state.limits, state.wanted)
    }

    /// Has so many seats from now on, where so many were to be given.
    pub(super) fn set_current(&self, now_s: f64, seats: u32, target: f64) {
        let mut state = self.state.lock();
        state.target = target;
        state.set_current(now_s, seats);
    }

    /// Its nominal seats.
    pub(super) fn nominal(&self) -> u32 {
        self.state.lock().limits.nominal
    }

    /// What can be seen of it.
    pub(super) fn seen(&self, now_s: f64) -> Seen {
        let state = self.state.lock();
        let State { limits, current, wanted, target, totals, .. } = *state;
        let (digest, busy) = (state.queues.digest(), state.busy.until(now_s));
        Seen { digest, limits, current, wanted, target, busy, totals }
    }
}

impl State {
    fn set_current(&mut self, now_s: f64, seats: u32) {
        self.current = seats;
        self.queues.set_limit(now_s, seats);
        self.let_in(now_s);
    }

    fn let_in(&mut self, now_s: f64) {
        while let Some(waiting) = self.queues.next(now_s) {
            // Whoever does not wait any more has left before: see `Level::leave`.
            let _ = waiting.sender.send(());
            self.totals.dispatched += 1;
        }
        if let Some(waiting) = self.queues.too_large() {
            waiting.stats.found_no_room();
        }
        self.note(now_s);
    }

    fn note(&mut self, now_s: f64) {
        let wanted = self.queues.demand();
        self.demand.set(now_s, wanted);
        let ((waiting, may_wait), (executing, in_use)) = (self.queues.waiting(), self.queues.executing());
        let (seats, nominal) = (f64::from(self.current), f64::from(self.limits.nominal));
        self.busy.demand.set(now_s, f64::from(wanted) / nominal.max(1.0));
        self.busy.seats.set(now_s, f64::from(in_use) / seats.max(1.0));
        self.busy.waiting.set(now_s, waiting as f64 / (may_wait as f64).max(1.0));
        self.busy.executing.set(now_s, executing as f64 / seats.max(1.0));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::queues::Queuing;
    use super::*;

    #[test]
    fn a_request_that_finds_too_few_free_seats_is_counted() {
        let shape = Shape::Queue(Queuing { queues: 1, hand_size: 1, length_limit: 10 });
        let limits = Limits { nominal: 3, lower: 3, upper: 3 };
        let level = Level::new("narrow", shape, limits, Arc::new(Notify::new()));
        let (small, large) = (Arc::new(Stats::default()), Arc::new(Stats::default()));
        let seats = |seats| Work { seats, tail: Duration::ZERO };
        let counted = || (small.without_room(), large.without_room());
        let Ok(Entered::Runs(first)) = level.enter(0.0, 1, seats(2), &small) else { panic!("three seats are free") };
        assert_eq!(counted(), (0, 0));
        assert!(matches!(level.enter(0.1, 2, seats(2), &large), Ok(Entered::Waits(_, 1, _))));
        assert_eq!(counted(), (0, 1), "one seat is free, it wants two");
        // Behind it waits one that would fit; it is not looked at.
        let Ok(Entered::Waits(_, 2, behind)) = level.enter(0.2, 3, seats(1), &small) else { panic!("it has to wait") };
        assert_eq!(counted(), (0, 2));
        level.finish(0.3, first, seats(2), 0.3);
        assert_eq!((counted(), behind.blocking_recv()), ((0, 2), Ok(())), "both run");
        // A level without a free seat was not asked for one.
        assert!(matches!(level.enter(0.4, 4, seats(1), &small), Ok(Entered::Waits(_, 1, _))));
        assert_eq!(counted(), (0, 2));
    }
}
