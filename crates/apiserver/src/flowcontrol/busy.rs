//! For how long a level was how busy.

use super::timing::Timing;

const SEATS: &[f64] = &[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];
const REQUESTS: &[f64] = &[0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1.0];
const DEMAND: &[f64] = &[0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0, 2.8, 4.0, 6.0];

/// Parts of what the level has, over time.
#[derive(Clone)]
pub(super) struct Busy {
    /// Seats that are wanted, of its nominal ones.
    pub(super) demand: Timing,
    /// Seats in use, of those that it has now.
    pub(super) seats: Timing,
    /// Requests that wait, of those that may.
    pub(super) waiting: Timing,
    /// Requests that run, of its seats.
    pub(super) executing: Timing,
}

impl Busy {
    /// Idle from the beginning on.
    pub(super) fn new() -> Self {
        Self {
            demand: Timing::new(DEMAND),
            seats: Timing::new(SEATS),
            waiting: Timing::new(REQUESTS),
            executing: Timing::new(REQUESTS),
        }
    }

    /// The same, up to now.
    pub(super) fn until(&self, now_s: f64) -> Self {
        let Self { demand, seats, waiting, executing } = self;
        let [demand, seats, waiting, executing] = [demand, seats, waiting, executing].map(|part| part.until(now_s));
        Self { demand, seats, waiting, executing }
    }
}
