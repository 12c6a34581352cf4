//! A queue of things to look at again: each thing at most once in it, never two workers on the same thing.
//!
//! ```text
//! add ──> ready ──next()──> working ──done()──> gone, or ready again if it was added meanwhile
//! add_after, retry ──> delayed ──(time)──> ready
//! ```
//! It is bounded by the number of distinct things.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Tasks;

/// The first retry comes this long after a failure.
const FIRST_RETRY: Duration = Duration::from_millis(5);
/// Retries never lie further apart than this.
const LONGEST_RETRY: Duration = Duration::from_secs(1000);

/// The queue; clones share it.
pub struct WorkQueue<T> {
    shared: Arc<Shared<T>>,
    stop: CancellationToken,
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), stop: self.stop.clone() }
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

struct State<T> {
    ready: VecDeque<T>,
    /// What is in `ready`, or is to be put there when its worker is done.
    dirty: HashSet<T>,
    working: HashSet<T>,
    delayed: BinaryHeap<Reverse<Delayed<T>>>,
    /// The earliest time each delayed thing is due; later entries of the heap are void.
    due: HashMap<T, Instant>,
    failures: HashMap<T, u32>,
    sequence: u64,
}

struct Delayed<T> {
    due: Instant,
    sequence: u64,
    item: T,
}

impl<T> PartialEq for Delayed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl<T> Eq for Delayed<T> {}
impl<T> PartialOrd for Delayed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Delayed<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.sequence).cmp(&(other.due, other.sequence))
    }
}

impl<T: Hash + Eq + Clone> WorkQueue<T> {
    /// An empty queue that closes when `tasks` stop.
    pub fn new(tasks: &Tasks) -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            working: HashSet::new(),
            delayed: BinaryHeap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
        Self { shared, stop: tasks.stop() }
    }

    /// Puts `item` in the queue, if it is not there already.
    pub fn add(&self, item: T) {
        self.shared.state.lock().add(item);
        self.shared.changed.notify_one();
    }

    /// Puts `item` in the queue after `delay`; an earlier time that is already set stays.
    pub fn add_after(&self, item: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(item);
        }
        self.shared.state.lock().delay(item, Instant::now() + delay);
        self.shared.changed.notify_one();
    }

    /// Puts `item` in the queue again after a failure: 5 ms later, twice as long each time, up to 1000 s.
    pub fn retry(&self, item: T) {
        let delay = {
            let mut state = self.shared.state.lock();
            let failures = state.failures.entry(item.clone()).or_insert(0);
            let delay = FIRST_RETRY.saturating_mul(1 << (*failures).min(20)).min(LONGEST_RETRY);
            *failures += 1;
            delay
        };
        self.add_after(item, delay);
    }

    /// Forgets the failures of `item`.
    pub fn forget(&self, item: &T) {
        self.shared.state.lock().failures.remove(item);
    }

    /// The next thing to look at; `None` when the owner stops. Call [`WorkQueue::done`] after looking.
    pub async fn next(&self) -> Option<T> {
        loop {
            let changed = self.shared.changed.notified();
            let due = {
                let mut state = self.shared.state.lock();
                if let Some(item) = state.take(Instant::now()) {
                    if !state.ready.is_empty() {
                        self.shared.changed.notify_one();
                    }
                    return Some(item);
                }
                state.delayed.peek().map(|Reverse(first)| first.due)
            };
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = changed => {}
                () = timer => {}
            }
        }
    }

    /// Says that the worker has looked at `item`; if it was added meanwhile it comes again.
    pub fn done(&self, item: &T) {
        let mut state = self.shared.state.lock();
        state.working.remove(item);
        if state.dirty.contains(item) {
            state.ready.push_back(item.clone());
            drop(state);
            self.shared.changed.notify_one();
        }
    }
}

impl<T: Hash + Eq + Clone> State<T> {
    fn add(&mut self, item: T) {
        if self.dirty.insert(item.clone()) && !self.working.contains(&item) {
            self.ready.push_back(item);
        }
    }

    fn delay(&mut self, item: T, due: Instant) {
        if self.due.get(&item).is_some_and(|earlier| *earlier <= due) {
            return;
        }
        self.due.insert(item.clone(), due);
        self.sequence += 1;
        self.delayed.push(Reverse(Delayed { due, sequence: self.sequence, item }));
    }

    fn take(&mut self, now: Instant) -> Option<T> {
        while self.delayed.peek().is_some_and(|Reverse(first)| first.due <= now) {
            let Some(Reverse(Delayed { due, item, .. })) = self.delayed.pop() else { break };
            if self.due.get(&item) == Some(&due) {
                self.due.remove(&item);
                self.add(item);
            }
        }
        let item = self.ready.pop_front()?;
        self.dirty.remove(&item);
        self.working.insert(item.clone());
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_thing_is_there_once_and_comes_again_if_added_while_worked_on() {
        let queue = WorkQueue::new(&Tasks::new());
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.next().await, Some("a"));
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.next().await, Some("b"), "a is still being worked on");
        queue.done(&"a");
        assert_eq!(queue.next().await, Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn retries_back_off_and_forget() {
        let queue = WorkQueue::new(&Tasks::new());
        for wait_ms in [5, 10, 20] {
            let start = Instant::now();
            queue.retry(1);
            assert_eq!(queue.next().await, Some(1));
            queue.done(&1);
            let waited = start.elapsed().as_millis();
            assert!((wait_ms..=wait_ms + 1).contains(&waited), "{waited} ms");
        }
        queue.forget(&1);
        let start = Instant::now();
        queue.retry(1);
        queue.next().await;
        assert!(start.elapsed() <= Duration::from_millis(6));
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_two_times_holds() {
        let queue = WorkQueue::new(&Tasks::new());
        let start = Instant::now();
        queue.add_after(1, Duration::from_secs(60));
        queue.add_after(1, Duration::from_secs(10));
        queue.next().await;
        assert_eq!(start.elapsed().as_secs(), 10);
        queue.done(&1);
        assert!(tokio::time::timeout(Duration::from_secs(120), queue.next()).await.is_err(), "only once");
    }

    #[tokio::test(start_paused = true)]
    async fn ends_with_its_owner() {
        let tasks = Tasks::new();
        let queue = WorkQueue::<u8>::new(&tasks);
        tasks.shutdown().await;
        assert_eq!(queue.next().await, None);
    }
}
