//! Requests now, by whether they write, and for how long how many of them there were.

use parking_lot::Mutex;

use super::timing::Timing;
use crate::metrics::{Form, Text};

/// Bounds, upstream's.
const PARTS: &[f64] = &[0.0, 0.001, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];

/// The requests of one sort.
#[derive(Default)]
pub(super) struct InFlight {
    /// They run.
    pub(super) executing: Crowd,
    /// They wait.
    pub(super) waiting: Crowd,
}

/// Requests in one phase.
pub(super) struct Crowd(Mutex<State>);

struct State {
    requests: i64,
    /// So many may be there.
    limit: f64,
    /// Which part of these was there.
    part: Timing,
}

impl Default for Crowd {
    fn default() -> Self {
        Self(Mutex::new(State { requests: 0, limit: 1.0, part: Timing::new(PARTS) }))
    }
}

impl Crowd {
    /// So many more (or less) from now on.
    pub(super) fn add(&self, now_s: f64, requests: i64) {
        let mut state = self.0.lock();
        state.requests += requests;
        state.note(now_s);
    }

    /// So many may be there from now on.
    pub(super) fn set_limit(&self, now_s: f64, limit: usize) {
        let mut state = self.0.lock();
        state.limit = (limit as f64).max(1.0);
        state.note(now_s);
    }

    /// How many are there.
    pub(super) fn requests(&self) -> i64 {
        self.0.lock().requests
    }

    /// Which part of those that may be there was there, up to now.
    pub(super) fn part(&self, now_s: f64) -> Timing {
        self.0.lock().part.until(now_s)
    }
}

impl State {
    fn note(&mut self, now_s: f64) {
        self.part.set(now_s, self.requests as f64 / self.limit);
    }
}

/// Writes those of both sorts, by `request_kind`.
pub(super) fn write(text: &mut Text, kinds: [(&str, &InFlight); 2], now_s: f64) {
    text.family(
        Form::Histogram,
        "apiserver_flowcontrol_read_vs_write_current_requests",
        "Observations, at the end of every nanosecond, of the number of requests (as a fraction of the relevant limit) waiting or in regular stage of execution",
    );
    for (kind, in_flight) in kinds {
        for (phase, crowd) in [("executing", &in_flight.executing), ("waiting", &in_flight.waiting)] {
            crowd.part(now_s).write(text, &[("phase", phase), ("request_kind", kind)]);
        }
    }
}
