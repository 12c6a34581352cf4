//! From two readings of a counter to what is used: pure.

use jiff::Timestamp;

use super::reading::Counters;

/// What something uses: its mean rate of CPU over the window that ended at `at_ms`, and its memory then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) cpu_nano: u64,
    pub(super) memory_bytes: u64,
    at_ms: i64,
    window_ms: i64,
}

impl Usage {
    /// The usage between two readings. What was started after the earlier one, or was not there then, is reckoned from
    /// its start; nothing if that is not known either.
    pub(super) fn between(earlier: Option<&Counters>, later: &Counters) -> Option<Self> {
        let (cpu_s, memory_bytes) = (later.cpu_s?, later.memory_bytes?);
        let same = |earlier: &&Counters| earlier.started_s == later.started_s && earlier.at_ms < later.at_ms;
        let from_start = || Some((later.started_s? * 1e3, 0.0));
        let from_earlier = earlier.filter(same).and_then(|earlier| Some((earlier.at_ms as f64, earlier.cpu_s?)));
        let (since_ms, before_s) = from_earlier.or_else(from_start)?;
        let window_ms = later.at_ms as f64 - since_ms;
        if window_ms < 1.0 {
            return None;
        }
        let cores = (cpu_s - before_s).max(0.0) / (window_ms / 1e3);
        Some(Self {
            cpu_nano: (cores * 1e9).round() as u64,
            memory_bytes,
            at_ms: later.at_ms,
            window_ms: window_ms as i64,
        })
    }

    /// The sum of two, over the window of both.
    pub(super) fn together(self, other: Self) -> Self {
        let (begin, end) =
            ((self.at_ms - self.window_ms).min(other.at_ms - other.window_ms), self.at_ms.max(other.at_ms));
        Self {
            cpu_nano: self.cpu_nano.saturating_add(other.cpu_nano),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            at_ms: end,
            window_ms: end - begin,
        }
    }

    /// When the window ended.
    pub(super) fn at(&self) -> Timestamp {
        Timestamp::from_millisecond(self.at_ms).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// How long the window was, as Go writes durations: `1m0.5s`.
    pub(super) fn window(&self) -> String {
        let (minutes, ms) = (self.window_ms / 60_000, self.window_ms % 60_000);
        let seconds = format!("{}.{:03}", ms / 1000, ms % 1000);
        let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
        match (minutes / 60, minutes % 60) {
            (0, 0) if ms < 1000 => format!("{ms}ms"),
            (0, 0) => format!("{seconds}s"),
            (0, minutes) => format!("{minutes}m{seconds}s"),
            (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(at_ms: i64, cpu_s: f64, started_s: Option<f64>) -> Counters {
        Counters { at_ms, cpu_s: Some(cpu_s), memory_bytes: Some(4096), started_s }
    }

    #[track_caller]
    fn check(earlier: Option<Counters>, later: Counters, want: Option<(u64, &str)>) {
        let got = Usage::between(earlier.as_ref(), &later).map(|usage| (usage.cpu_nano, usage.window()));
        assert_eq!(got, want.map(|(cpu, window)| (cpu, window.to_owned())));
    }

    #[test]
    fn rates() {
        let start = Some(1.0);
        check(Some(counters(2000, 1.0, start)), counters(4000, 1.5, start), Some((250_000_000, "2s")));
        check(None, counters(4000, 1.5, start), Some((500_000_000, "3s")));
        // Started again meanwhile.
        check(Some(counters(2000, 9.0, start)), counters(4000, 1.0, Some(3.5)), Some((2_000_000_000, "500ms")));
        // A node that was read once, and one that was not read anew.
        check(None, counters(4000, 1.5, None), None);
        check(Some(counters(4000, 1.5, None)), counters(4000, 1.5, None), None);
        check(Some(counters(0, 0.0, None)), counters(3_661_250, 0.0, None), Some((0, "1h1m1.25s")));
        check(Some(counters(0, 0.0, None)), counters(60_000, 0.0, None), Some((0, "1m0s")));
    }

    #[test]
    fn a_pod_is_all_of_its_containers() {
        let one = Usage { cpu_nano: 1, memory_bytes: 10, at_ms: 5000, window_ms: 2000 };
        let other = Usage { cpu_nano: 2, memory_bytes: 20, at_ms: 4000, window_ms: 3000 };
        let both = Usage { cpu_nano: 3, memory_bytes: 30, at_ms: 5000, window_ms: 4000 };
        assert_eq!(one.together(other), both);
    }
}
