//! How long a refused client is told to stay away: longer while a level keeps refusing, up to [`MAX_S`] seconds.

use std::collections::VecDeque;

/// Nobody is told to stay away for longer.
const MAX_S: u64 = 32;

/// The refusals of a level, by the second.
#[derive(Debug)]
pub(super) struct RetryAfter {
    seconds: u64,
    changed_s: u64,
    now_s: u64,
    now_count: u64,
    /// Seconds and refusals before `now_s`; no older than [`MAX_S`].
    history: VecDeque<(u64, u64)>,
}

impl Default for RetryAfter {
    fn default() -> Self {
        Self { seconds: 1, changed_s: 0, now_s: 0, now_count: 0, history: VecDeque::new() }
    }
}

impl RetryAfter {
    /// Counts a refusal in the second `now_s`; what to tell the client.
    pub(super) fn refused(&mut self, now_s: u64) -> u32 {
        if now_s != self.now_s {
            self.history.push_back((self.now_s, self.now_count));
            (self.now_s, self.now_count) = (now_s, 0);
            self.history.retain(|(second, _)| second + MAX_S >= now_s);
            self.adjust();
        }
        self.now_count += 1;
        u32::try_from(self.seconds).unwrap_or_default()
    }

    /// Doubles the time when clients come back too soon for the level, and shortens it when few do.
    fn adjust(&mut self) {
        let recent = self.history.iter().filter(|(second, _)| second + self.seconds >= self.now_s);
        let refused: u64 = recent.map(|(_, count)| count).sum();
        if self.now_s - self.changed_s >= self.seconds && refused >= 3 * self.seconds {
            self.seconds = (2 * self.seconds).min(MAX_S);
            self.changed_s = self.now_s;
        } else if refused < self.seconds && self.seconds > 1 {
            self.seconds -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_while_refusals_go_on_and_shorter_again() {
        let mut told = RetryAfter::default();
        let mut second = |at: u64, count: usize| (0..count).map(|_| told.refused(at)).last().unwrap();
        assert_eq!(second(1000, 100), 1);
        assert_eq!(second(1001, 100), 2);
        assert_eq!(second(1002, 100), 2);
        assert_eq!(second(1003, 100), 4);
        assert_eq!((1004..1100).map(|at| second(at, 100)).max(), Some(32));
        assert_eq!(second(1200, 1), 31);
        assert_eq!((1..60).map(|at| second(1200 + 5 * at, 1)).last(), Some(1));
        assert!(told.history.len() <= 33);
    }
}
