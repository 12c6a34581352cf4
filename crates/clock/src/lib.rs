//! The wall clock, in the one place that reads it.
//!
//! [`now`] follows tokio's clock: under paused time it moves exactly as timers do, so a test that sleeps 24 virtual
//! hours sees 24 hours pass here as well. Decisions never call it; they are given the time.

use std::sync::OnceLock;

use jiff::Timestamp;
use tokio::time::Instant;

/// The wall clock now. It is read once; from then on it advances with tokio's clock, and is read again
/// when the two have drifted (a suspended or corrected machine clock) unless time is paused by a test.
pub fn now() -> Timestamp {
    static START: OnceLock<(Timestamp, Instant)> = OnceLock::new();
    let (wall, instant) = *START.get_or_init(|| (wall_clock(), Instant::now()));
    if cfg!(debug_assertions) {
        wall + Instant::now().duration_since(instant).try_into().unwrap_or(jiff::SignedDuration::ZERO)
    } else {
        wall_clock()
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
fn wall_clock() -> Timestamp {
    Timestamp::now()
}
