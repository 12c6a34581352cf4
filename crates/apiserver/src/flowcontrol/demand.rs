//! What a level wants over time, in seats: the most, and the average with its deviation, smoothed over minutes.

use super::shares::Wanted;

/// What is left after one adjustment period of what was wanted before: half of it after five minutes of ten seconds.
const KEPT: f64 = 0.977;

/// An integral over time.
#[derive(Debug, Default)]
pub(super) struct Demand {
    now: u32,
    since_s: f64,
    began_s: f64,
    most: u32,
    sum: f64,
    sum_of_squares: f64,
    smoothed: f64,
}

impl Demand {
    /// From now on `seats` are wanted.
    pub(super) fn set(&mut self, now_s: f64, seats: u32) {
        self.integrate(now_s);
        self.now = seats;
        self.most = self.most.max(seats);
    }

    fn integrate(&mut self, now_s: f64) {
        let passed = (now_s - self.since_s).max(0.0);
        self.since_s = now_s.max(self.since_s);
        let seats = f64::from(self.now);
        self.sum += seats * passed;
        self.sum_of_squares += seats * seats * passed;
    }

    /// Begins a new period, and forgets the one that ends.
    pub(super) fn restart(&mut self, now_s: f64) {
        self.integrate(now_s);
        (self.began_s, self.most, self.sum, self.sum_of_squares) = (self.since_s, self.now, 0.0, 0.0);
    }

    /// What was wanted in the period that ends now.
    pub(super) fn settle(&mut self, now_s: f64) -> Wanted {
        self.integrate(now_s);
        let lasted = self.since_s - self.began_s;
        let (mut average, mut deviation) = (f64::from(self.now), 0.0);
        if lasted > 0.0 {
            average = self.sum / lasted;
            deviation = (self.sum_of_squares / lasted - average * average).max(0.0).sqrt();
            let envelope = average + deviation;
            self.smoothed = envelope.max(KEPT * self.smoothed + (1.0 - KEPT) * envelope);
        }
        let wanted = Wanted { high_watermark: self.most, average, deviation, smoothed: self.smoothed };
        self.restart(now_s);
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_at_once_and_sinks_slowly() {
        let mut demand = Demand::default();
        demand.set(0.0, 10);
        let all = |wanted: Wanted| (wanted.high_watermark, wanted.average, wanted.deviation, wanted.smoothed);
        assert_eq!(all(demand.settle(10.0)), (10, 10.0, 0.0, 10.0));
        demand.set(15.0, 0);
        assert_eq!(all(demand.settle(20.0)), (10, 5.0, 5.0, 10.0));
        let after = (3..33).map(|period| demand.settle(f64::from(period) * 10.0)).last().unwrap();
        assert!(after.high_watermark == 0 && (4.5..5.5).contains(&after.smoothed), "{after:?}");
    }
}
