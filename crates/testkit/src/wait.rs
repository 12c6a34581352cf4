//! Waiting for what a cluster does in its own time.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::time::Instant;

/// How long that may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);

/// Returns when `condition` holds. If it does not in time, the error says `what` was to be, and why it is not.
pub fn eventually(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let begin = Instant::now();
    loop {
        let outcome = condition();
        if matches!(outcome, Ok(true)) {
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            return outcome.and_then(|_| Err(anyhow!("not in time"))).with_context(|| what.to_owned());
        }
        std::thread::sleep(PAUSE);
    }
}
