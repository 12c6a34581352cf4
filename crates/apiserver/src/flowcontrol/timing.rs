//! A histogram over time: for how many nanoseconds something was at most as large as each bound.

use crate::metrics::{Labels, Text};

const NS_PER_S: f64 = 1e9;

/// What it was, and for how long.
#[derive(Clone, Debug)]
pub(super) struct Timing {
    bounds: &'static [f64],
    /// Nanoseconds, by the bound that was the first to hold; one more for those above all.
    ns: Vec<f64>,
    sum: f64,
    now: f64,
    since_s: f64,
}

impl Timing {
    /// It is zero from the beginning on.
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, ns: vec![0.0; bounds.len() + 1], sum: 0.0, now: 0.0, since_s: 0.0 }
    }

    /// It is this large from now on.
    pub(super) fn set(&mut self, now_s: f64, size: f64) {
        let ns = (now_s - self.since_s).max(0.0) * NS_PER_S;
        self.since_s = now_s.max(self.since_s);
        self.ns[self.bounds.partition_point(|bound| *bound < self.now)] += ns;
        self.sum += self.now * ns;
        self.now = size;
    }

    /// The same, up to now.
    pub(super) fn until(&self, now_s: f64) -> Self {
        let mut copy = self.clone();
        copy.set(now_s, copy.now);
        copy
    }

    /// Writes the samples.
    pub(super) fn write(&self, text: &mut Text, labels: Labels<'_>) {
        let mut count = 0.0;
        for (bound, more) in self.bounds.iter().copied().chain([f64::INFINITY]).zip(&self.ns) {
            count += more;
            text.bucket(labels, bound, count as u64);
        }
        text.total(labels, self.sum, count as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts() {
        let mut timing = Timing::new(&[0.0, 0.5, 1.0]);
        timing.set(2.0, 0.5);
        timing.set(3.0, 7.0);
        timing.set(3.5, 0.0);
        let seen = timing.until(4.0);
        assert_eq!(seen.ns, [2.5e9, 1e9, 0.0, 0.5e9]);
        assert_eq!(seen.sum, 0.5e9 + 3.5e9);
        assert_eq!(timing.until(1.0).ns, timing.ns, "time does not go back");
    }
}
