//! The queues of one priority level: who may run now, who waits, who is turned away. Pure: time is a number of seconds
//! that the caller passes in, and what waits is whatever the caller puts there.
//!
//! Fairness is upstream's, fair queuing by virtual time. Imagine that every queue with requests in it runs at the same
//! rate, seat by seat; `virtual_s` is how many seat-seconds each has got so far. A queue's next request would start there
//! at `next_start`, and end that plus its work later; whichever would end first goes first. How long a request takes is a
//! guess ([`GUESS_S`]) until it has ended; then its queue is given back, or charged, the difference. So a flow with few or
//! small requests goes ahead of one with many or large ones, whoever came first.
//!
//! Only queues with requests in them exist here: a level may have ten million.

use std::collections::{BTreeMap, VecDeque};

use super::shard::Hand;
use super::work::Work;

/// How long a request takes, as long as nobody knows.
const GUESS_S: f64 = 0.003;
/// Virtual time that begins anew: beyond it a double no longer tells microseconds apart.
const EPOCH_S: f64 = (1_u64 << 32) as f64;

/// What a level does with requests beyond its seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// There is no beyond.
    Exempt,
    /// They are turned away.
    Reject,
    /// They wait.
    Queue(Queuing),
}

impl Shape {
    /// So many requests may wait.
    pub(super) fn capacity(self) -> usize {
        match self {
            Self::Exempt | Self::Reject => 0,
            Self::Queue(queuing) => queuing.length_limit.saturating_mul(queuing.queues as usize),
        }
    }
}

/// How requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queuing {
    /// Number of queues.
    pub(super) queues: u32,
    /// Among how many of them a flow has its requests spread.
    pub(super) hand_size: u32,
    /// Requests that a queue holds.
    pub(super) length_limit: usize,
}

/// What becomes of a request that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It runs.
    Runs(Queued),
    /// It waits, in a queue of this length with it.
    Waits(Queued, usize),
    /// It is turned away.
    Refused(Reason),
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The level has no queues and no seat is free.
    ConcurrencyLimit,
    /// Its queue is full.
    QueueFull,
    /// It has waited for too long.
    TimeOut,
    /// The client has gone away.
    Cancelled,
}

/// The place of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queued {
    /// The queue.
    pub(super) queue: u32,
    /// Which request it is in there.
    pub(super) id: u64,
}

/// The queues.
#[derive(Debug)]
pub(super) struct Queues<T> {
    shape: Shape,
    limit: u32,
    /// Those with requests in them, by index.
    queues: BTreeMap<u32, Queue<T>>,
    virtual_s: f64,
    advanced_s: f64,
    /// The virtual time at which a request was last let in, and its own at which it starts.
    let_in: (f64, f64),
    /// How often virtual time has begun anew.
    epochs: u64,
    seats_in_use: u32,
    executing: usize,
    waiting: usize,
    waiting_seats: u32,
    arrived: u64,
    /// The queue that had its turn last, so that equals take turns.
    last: u32,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<Waiting<T>>,
    /// Seat-seconds of those that wait, as guessed.
    work: f64,
    next_start: f64,
    seats_in_use: u32,
    executing: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    id: u64,
    work: Work,
    /// The virtual time at which it came.
    came: f64,
    what: T,
}

impl Work {
    fn seat_seconds(self) -> f64 {
        f64::from(self.seats) * (GUESS_S + self.tail.as_secs_f64())
    }
}

impl<T> Queues<T> {
    /// Empty ones.
    pub(super) fn new(shape: Shape, limit: u32) -> Self {
        Self {
            shape,
            limit,
            queues: BTreeMap::new(),
            virtual_s: 0.0,
            advanced_s: 0.0,
            let_in: (0.0, 0.0),
            epochs: 0,
            seats_in_use: 0,
            executing: 0,
            waiting: 0,
            waiting_seats: 0,
            arrived: 0,
            last: 0,
        }
    }

    /// Has another shape from now on; who is here keeps its place.
    pub(super) fn reshape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// Has so many seats from now on. The caller lets in who has room now ([`Queues::next`]).
    pub(super) fn set_limit(&mut self, now_s: f64, limit: u32) {
        self.advance(now_s);
        self.limit = limit;
    }

    /// Takes a request; `what` is asked for if it waits.
    pub(super) fn arrive(&mut self, now_s: f64, hash: u64, work: Work, what: impl FnOnce() -> T) -> Arrival {
        self.advance(now_s);
        self.arrived += 1;
        let id = self.arrived;
        let runs = self.waiting == 0 && self.has_room(work.seats);
        let (queue, length_limit) = match self.shape {
            Shape::Exempt => (0, None),
            Shape::Reject if !runs => return Arrival::Refused(Reason::ConcurrencyLimit),
            Shape::Reject => (0, None),
            Shape::Queue(queuing) => (self.choose(hash, queuing), Some(queuing.length_limit)),
        };
        let place = Queued { queue, id };
        let virtual_s = self.virtual_s;
        if runs || self.shape == Shape::Exempt {
            let queue = self.queues.entry(queue).or_insert_with(|| Queue::new(virtual_s));
            self.let_in = (virtual_s, queue.next_start);
            queue.start(work);
            self.seats_in_use += work.seats;
            self.executing += 1;
            return Arrival::Runs(place);
        }
        let length = self.queues.get(&queue).map_or(0, |queue| queue.waiting.len());
        if length_limit.is_some_and(|limit| length >= limit) {
            return Arrival::Refused(Reason::QueueFull);
        }
        let queue = self.queues.entry(queue).or_insert_with(|| Queue::new(virtual_s));
        queue.work += work.seat_seconds();
        queue.waiting.push_back(Waiting { id, work, came: virtual_s, what: what() });
        self.waiting += 1;
        self.waiting_seats += work.seats;
        Arrival::Waits(place, length + 1)
    }

    /// The next one that has room, which runs from now on. Nobody overtakes it while it has none, however small.
    pub(super) fn next(&mut self, now_s: f64) -> Option<T> {
        self.advance(now_s);
        let (turn, seats) = self.turn()?;
        if !self.has_room(seats) {
            return None;
        }
        let queue = self.queues.get_mut(&turn)?;
        let head = queue.waiting.pop_front()?;
        queue.work -= head.work.seat_seconds();
        self.let_in = (self.virtual_s, queue.next_start);
        queue.start(head.work);
        queue.settle();
        self.last = turn;
        self.waiting -= 1;
        self.waiting_seats -= head.work.seats;
        self.seats_in_use += head.work.seats;
        self.executing += 1;
        Some(head.what)
    }

    /// The next one, if there are free seats, but too few for it.
    pub(super) fn too_large(&self) -> Option<&T> {
        if self.waiting == 0 || self.seats_in_use >= self.limit {
            return None;
        }
        let (turn, seats) = self.turn()?;
        let head = self.queues.get(&turn)?.waiting.front()?;
        (!self.has_room(seats)).then_some(&head.what)
    }

    /// Takes one away that waits; false if it does not.
    pub(super) fn leave(&mut self, now_s: f64, place: Queued) -> bool {
        self.advance(now_s);
        let Some(queue) = self.queues.get_mut(&place.queue) else { return false };
        let Some(at) = queue.waiting.iter().position(|waiting| waiting.id == place.id) else { return false };
        if let Some(gone) = queue.waiting.remove(at) {
            queue.work -= gone.work.seat_seconds();
            self.waiting -= 1;
            self.waiting_seats -= gone.work.seats;
        }
        self.forget(place.queue);
        true
    }

    /// One that ran for `took_s` has ended.
    pub(super) fn finish(&mut self, now_s: f64, queue: u32, work: Work, took_s: f64) {
        self.advance(now_s);
        self.seats_in_use -= work.seats;
        self.executing -= 1;
        if let Some(found) = self.queues.get_mut(&queue) {
            found.seats_in_use -= work.seats;
            found.executing -= 1;
            found.next_start += f64::from(work.seats) * took_s - work.seat_seconds();
            found.settle();
        }
        self.forget(queue);
    }

    /// Virtual time passes as fast as every queue would get on if each seat in use or wanted, as many as there are,
    /// served all queues alike.
    fn advance(&mut self, now_s: f64) {
        let passed = (now_s - self.advanced_s).max(0.0);
        self.advanced_s = now_s.max(self.advanced_s);
        if !self.queues.is_empty() {
            let busy = (self.seats_in_use + self.waiting_seats).min(self.limit);
            self.virtual_s += passed * f64::from(busy) / self.queues.len() as f64;
        }
        if self.virtual_s >= EPOCH_S {
            self.begin_epoch();
        }
    }

    /// Sets virtual time back, and with it all that was read from it, so that nobody's turn changes.
    fn begin_epoch(&mut self) {
        let back = std::mem::take(&mut self.virtual_s);
        self.let_in = (self.let_in.0 - back, self.let_in.1 - back);
        for queue in self.queues.values_mut() {
            queue.next_start -= back;
            queue.waiting.iter_mut().for_each(|waiting| waiting.came -= back);
        }
        self.epochs += 1;
    }

    /// A request that wants more seats than there are runs alone.
    fn has_room(&self, seats: u32) -> bool {
        self.seats_in_use == 0 || self.seats_in_use.saturating_add(seats) <= self.limit
    }

    /// Of a flow's queues the one with the least work in it.
    fn choose(&self, hash: u64, queuing: Queuing) -> u32 {
        let hand = Hand::deal(hash, queuing.queues, queuing.hand_size);
        let mut cards =
            hand.starting_at(usize::try_from(self.arrived % u64::from(queuing.hand_size.max(1))).unwrap_or(0));
        let first = cards.next().unwrap_or_default();
        if self.waiting == 0 {
            return first;
        }
        let work = |card: u32| self.queues.get(&card).map_or(0.0, |queue| queue.work);
        cards.fold((first, work(first)), |least, card| if work(card) < least.1 { (card, work(card)) } else { least }).0
    }

    /// The queue whose first request would end first, and the seats that this wants.
    fn turn(&self) -> Option<(u32, u32)> {
        let after = self.queues.range(self.last.saturating_add(1)..);
        let in_turn = after.chain(self.queues.range(..=self.last));
        let heads = in_turn.filter_map(|(index, queue)| {
            let head = queue.waiting.front()?;
            Some((queue.next_start + head.work.seat_seconds(), *index, head.work.seats))
        });
        heads.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, index, seats)| (index, seats))
    }

    fn forget(&mut self, queue: u32) {
        if self.queues.get(&queue).is_some_and(|queue| queue.executing == 0 && queue.waiting.is_empty()) {
            self.queues.remove(&queue);
        }
    }

    /// Seats that are wanted: in use, or waited for.
    pub(super) fn demand(&self) -> u32 {
        self.seats_in_use + self.waiting_seats
    }

    /// Requests that wait, and that may.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.waiting, self.shape.capacity())
    }

    /// Requests that run, and their seats.
    pub(super) fn executing(&self) -> (usize, u32) {
        (self.executing, self.seats_in_use)
    }

    /// What the queues hold.
    pub(super) fn digest(&self) -> Digest {
        let queue = |(index, queue): (&u32, &Queue<T>)| QueueDigest {
            index: *index,
            waiting: queue.waiting.len(),
            executing: queue.executing,
            seats_in_use: queue.seats_in_use,
            next_start: queue.next_start,
            waiting_seats: queue.waiting.iter().map(|waiting| waiting.work.seats).sum(),
            work: queue.work,
            in_progress: f64::from(queue.seats_in_use) * GUESS_S,
        };
        Digest {
            waiting: self.waiting,
            executing: self.executing,
            virtual_s: self.virtual_s,
            let_in: self.let_in,
            epochs: self.epochs,
            queues: self.queues.iter().map(queue).collect(),
        }
    }
}

impl<T> Queue<T> {
    fn new(virtual_s: f64) -> Self {
        Self { waiting: VecDeque::new(), work: 0.0, next_start: virtual_s, seats_in_use: 0, executing: 0 }
    }

    fn start(&mut self, work: Work) {
        self.next_start += work.seat_seconds();
        self.seats_in_use += work.seats;
        self.executing += 1;
    }

    /// A queue that was given much back does not get ahead of the time when its first request came.
    fn settle(&mut self) {
        if let Some(head) = self.waiting.front() {
            self.next_start = self.next_start.max(head.came);
        }
    }
}

/// What queues hold, for whoever wants to see it.
#[derive(Debug)]
pub(super) struct Digest {
    /// Requests that wait.
    pub(super) waiting: usize,
    /// Requests that run.
    pub(super) executing: usize,
    /// Virtual time.
    pub(super) virtual_s: f64,
    /// What it was when a request was last let in, and what it was at that request's start.
    pub(super) let_in: (f64, f64),
    /// How often virtual time has begun anew.
    pub(super) epochs: u64,
    /// The queues with requests in them.
    pub(super) queues: Vec<QueueDigest>,
}

/// The same of one queue.
#[derive(Debug)]
pub(super) struct QueueDigest {
    /// Which one.
    pub(super) index: u32,
    /// Requests that wait.
    pub(super) waiting: usize,
    /// Requests that run.
    pub(super) executing: usize,
    /// Their seats.
    pub(super) seats_in_use: u32,
    /// The virtual time at which the next one starts.
    pub(super) next_start: f64,
    /// Seats that are waited for.
    pub(super) waiting_seats: u32,
    /// Seat-seconds that are waited for.
    pub(super) work: f64,
    /// Seat-seconds that those which run are guessed to take.
    pub(super) in_progress: f64,
}

#[cfg(test)]
mod tests;
