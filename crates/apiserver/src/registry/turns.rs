//! Turns for those who compete for one object.

use std::hash::{BuildHasher as _, Hash, RandomState};

use tokio::sync::{Mutex, MutexGuard};

/// Objects share turns by chance; with so many that is rare, and costs a wait.
const STRIPES: usize = 64;

/// The turns.
pub(super) struct Turns {
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(), hasher: RandomState::new() }
    }
}

impl Turns {
    /// Waits for the turn at the object of this key; it lasts as long as the guard.
    pub(super) async fn of(&self, key: impl Hash) -> MutexGuard<'_, ()> {
        let hash = self.hasher.hash_one(key);
        self.stripes[hash as usize % STRIPES].lock().await
    }
}
