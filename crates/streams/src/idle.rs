//! The idle timeout of a session: one timer that is pushed back by traffic, without a wake-up per message.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// A session without traffic in either direction ends after this time, as upstream's
/// `--streaming-connection-idle-timeout`.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(4 * 60 * 60);

/// When the session was last heard of.
pub(crate) struct Idle {
    start: Instant,
    last_ms: AtomicU64,
}

impl Idle {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    /// Traffic was seen.
    pub(crate) fn touch(&self) {
        self.last_ms.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Returns when there was no traffic for [`IDLE_TIMEOUT`].
    pub(crate) async fn expired(&self) {
        loop {
            let end = self.start + Duration::from_millis(self.last_ms.load(Ordering::Relaxed)) + IDLE_TIMEOUT;
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}
