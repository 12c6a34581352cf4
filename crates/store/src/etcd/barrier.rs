//! When a watch cannot know how far it is, and how it finds out.
//!
//! etcd tells a watch of changes only. When someone asks for revisions that belong to another tenant of the same etcd,
//! the watch hears nothing and cannot tell whether something is still on its way. It then writes a key of its own, the
//! barrier: once it sees that write it has seen all before. (etcd's own progress requests would cost no write, but in
//! releases before 3.4.25 and 3.5.8 they overtake events.) Whoever is alone on an etcd never needs it.

use std::time::Duration;

use tokio::sync::watch::Sender;
use tokio::time::sleep;

use crate::Revision;

/// How long a watch may be behind what someone has asked for before it writes the barrier. Events take less.
pub(super) const BEHIND: Duration = Duration::from_millis(10);

/// What readers expect of watches.
pub(super) struct Barrier {
    expected: Sender<Revision>,
}

impl Default for Barrier {
    fn default() -> Self {
        Self { expected: Sender::new(0) }
    }
}

impl Barrier {
    /// Someone waits for watches to come to `revision`.
    pub(super) fn expect(&self, revision: Revision) {
        self.expected.send_if_modified(|expected| {
            let news = revision > *expected;
            *expected = revision.max(*expected);
            news
        });
    }

    /// Returns when a watch that has come to `delivered` has been behind for the time `pause`.
    pub(super) async fn is_due(&self, delivered: Revision, pause: Duration) {
        let mut expected = self.expected.subscribe();
        // It cannot fail: the sender is ours.
        drop(expected.wait_for(|expected| *expected > delivered).await);
        sleep(pause).await;
    }
}
