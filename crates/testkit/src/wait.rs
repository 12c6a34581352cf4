//! Waiting for what a cluster does in its own time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

/// How long that may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);

/// Tries `attempt` until it succeeds, and returns what it has found. If it does not in time, the error says `what` was to
/// be, and why it is not.
pub fn retry<T>(what: &str, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let begin = Instant::now();
    loop {
        let outcome = attempt();
        if outcome.is_ok() || begin.elapsed() > PATIENCE {
            return outcome.with_context(|| what.to_owned());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Returns when `condition` holds; like [`retry`] for what is a matter of yes or no.
pub fn eventually(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    retry(what, || {
        ensure!(condition()?, "not in time");
        Ok(())
    })
}
