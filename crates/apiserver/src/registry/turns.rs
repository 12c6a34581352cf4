//! Turns for writers that compete for one object.

use std::hash::{BuildHasher as _, RandomState};

use tokio::sync::{Mutex, MutexGuard};

use super::Attempt;

/// Objects share turns by chance; with so many that is rare, and costs nothing but a wait.
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
    /// Waits for the turn to write the attempt's object; it lasts as long as the guard.
    pub(super) async fn of(&self, attempt: &Attempt) -> MutexGuard<'_, ()> {
        let hash = self.hasher.hash_one((attempt.kind.storage, attempt.key()));
        self.stripes[hash as usize % STRIPES].lock().await
    }
}
