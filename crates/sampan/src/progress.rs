//! The steps of a start, told while they happen.
//!
//! A server tells its steps on standard output, a line each; `sampan up` starts a server in the background, reads those
//! lines from a pipe and draws them. So both show the same, and nobody polls.

use std::io::{BufRead, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How often a running step's time is redrawn.
const REDRAW: Duration = Duration::from_millis(100);

/// What a server tells about its start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// A step begins.
    Begin(String),
    /// The step that began last is done, after so many milliseconds.
    Done(u64),
    /// All steps are done.
    Ready,
    /// The start failed; why, and how to mend it.
    Failed(String),
}

/// Where a server's steps go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Teller {
    /// To people: the log has them.
    Log,
    /// To `sampan up`, which reads our standard output.
    Pipe,
}

impl Teller {
    /// Tells `line`. A reader that went away does not matter.
    pub(crate) fn tell(self, line: &Line) {
        match self {
            Self::Pipe => {
                let text = serde_json::to_string(line).unwrap_or_default();
                let _ = writeln!(std::io::stdout(), "{text}");
            }
            Self::Log => match line {
                Line::Done(ms) => tracing::info!(ms, "done"),
                Line::Begin(step) => tracing::info!(step, "starting"),
                Line::Ready => tracing::info!("ready"),
                Line::Failed(why) => tracing::error!(why, "start failed"),
            },
        }
    }

    /// Runs one step and tells its begin and end.
    pub(crate) async fn step<T, E>(self, name: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let start = Instant::now();
        self.tell(&Line::Begin(name.to_owned()));
        let result = work.await;
        if result.is_ok() {
            self.tell(&Line::Done(millis(start)));
        }
        result
    }
}

/// Milliseconds since `start`.
pub(crate) fn millis(start: Instant) -> u64 {
    start.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
}

/// Draws the lines of a starting server until it is ready or failed. Returns why it failed, if it did.
pub(crate) fn draw(lines: impl BufRead) -> Result<(), String> {
    let mut running: Option<(String, ProgressBar)> = None;
    for line in lines.lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Line::Begin(name)) => running = Some((name.clone(), spinner(&name))),
            Ok(Line::Done(ms)) => {
                if let Some((name, bar)) = running.take() {
                    bar.finish_and_clear();
                    print_step(&name, ms);
                }
            }
            Ok(Line::Ready) => return Ok(()),
            Ok(Line::Failed(why)) => return Err(why),
            Err(_) => {}
        }
    }
    Err("the server ended before it was ready".to_owned())
}

/// One finished step, on one line.
pub(crate) fn print_step(name: &str, ms: u64) {
    println!("  {name:<44} {:>8}", format!("{ms} ms"));
}

fn spinner(name: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(name.to_owned());
    bar.set_style(
        ProgressStyle::with_template("  {msg:<44} {elapsed}").expect("invariant: the template is well formed"),
    );
    bar.enable_steady_tick(REDRAW);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(lines: &[Line]) -> Result<(), String> {
        let text: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
        draw(text.as_bytes())
    }

    #[test]
    fn a_start_ends_ready_failed_or_cut_short() {
        assert_eq!(drawn(&[Line::Begin("a".into()), Line::Done(1), Line::Ready]), Ok(()));
        assert_eq!(drawn(&[Line::Begin("a".into()), Line::Failed("why".into())]), Err("why".into()));
        assert!(drawn(&[Line::Begin("a".into())]).is_err());
    }
}
