//! What a controller has written and its cache has not seen yet.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;
use sampan_client::Key;
use tokio::time::Instant;

/// An expectation that is not met in this time is given up: the watch may have missed it.
const PATIENCE: Duration = Duration::from_secs(300);

/// Names of objects that each owner waits to see created or deleted.
#[derive(Default)]
pub(super) struct Expectations {
    waiting: Mutex<HashMap<Key, Waiting>>,
}

struct Waiting {
    created: HashSet<String>,
    deleted: HashSet<String>,
    since: Instant,
}

impl Expectations {
    /// `owner` has created `name`.
    pub(super) fn expect_created(&self, owner: &Key, name: &str) {
        self.expect(owner, |waiting| waiting.created.insert(name.to_owned()));
    }

    /// `owner` is about to delete `name`.
    pub(super) fn expect_deleted(&self, owner: &Key, name: &str) {
        self.expect(owner, |waiting| waiting.deleted.insert(name.to_owned()));
    }

    fn expect(&self, owner: &Key, change: impl FnOnce(&mut Waiting) -> bool) {
        let mut all = self.waiting.lock();
        let now = Instant::now();
        let fresh = || Waiting { created: HashSet::new(), deleted: HashSet::new(), since: now };
        let waiting = all.entry(owner.clone()).or_insert_with(fresh);
        waiting.since = now;
        change(waiting);
    }

    /// The cache has seen `name` appear.
    pub(super) fn created(&self, owner: &Key, name: &str) {
        if let Some(waiting) = self.waiting.lock().get_mut(owner) {
            waiting.created.remove(name);
        }
    }

    /// The cache has seen `name` go, or begin to.
    pub(super) fn deleted(&self, owner: &Key, name: &str) {
        if let Some(waiting) = self.waiting.lock().get_mut(owner) {
            waiting.created.remove(name);
            waiting.deleted.remove(name);
        }
    }

    /// Whether the cache has seen everything that `owner` wrote.
    pub(super) fn settled(&self, owner: &Key) -> bool {
        let all = self.waiting.lock();
        let Some(waiting) = all.get(owner) else { return true };
        (waiting.created.is_empty() && waiting.deleted.is_empty()) || waiting.since.elapsed() > PATIENCE
    }

    /// `owner` is gone.
    pub(super) fn forget(&self, owner: &Key) {
        self.waiting.lock().remove(owner);
    }
}
