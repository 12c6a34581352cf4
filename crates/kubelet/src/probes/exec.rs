//! Probing with a command in the container: exit code 0 is good.

use std::time::Duration;

use super::{Answer, cut};
use crate::cri::Runtime;

pub(super) async fn ask(runtime: &Runtime, id: &str, command: &[String], timeout: Duration) -> Answer {
    match runtime.exec(id, command, timeout).await {
        Ok(Some(done)) if done.exit_code == 0 => Answer::Good,
        Ok(Some(done)) => Answer::Bad(cut(&String::from_utf8_lossy(&done.output))),
        Ok(None) => {
            let seconds = timeout.as_secs();
            Answer::Bad(format!("command timed out: {:?} timed out after {seconds}s", command.join(" ")))
        }
        Err(error) => Answer::Error(error.to_string()),
    }
}
