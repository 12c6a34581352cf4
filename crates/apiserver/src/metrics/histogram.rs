//! A histogram that many count into at once, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use super::text::{Labels, Text};

/// The sum is kept in billionths.
const UNIT: f64 = 1e9;

/// How many observations were at most as large as each bound.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One count per bound that was the first to hold; one more for those above all.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// An empty one with these bounds, ascending.
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    /// Counts an observation.
    pub(crate) fn observe(&self, seen: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < seen);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add((seen * UNIT) as u64, Ordering::Relaxed);
    }

    /// Writes the samples, if there are any.
    pub(crate) fn write(&self, text: &mut Text, labels: Labels<'_>) {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        if counts.iter().all(|count| *count == 0) {
            return;
        }
        let mut count = 0;
        for (bound, more) in self.bounds.iter().copied().chain([f64::INFINITY]).zip(counts) {
            count += more;
            text.bucket(labels, bound, count);
        }
        text.total(labels, self.sum.load(Ordering::Relaxed) as f64 / UNIT, count);
    }
}
