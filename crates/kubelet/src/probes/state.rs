//! From single answers to a verdict: so many in a row. Pure.

/// Counts answers of one probe.
#[derive(Clone, Debug)]
pub(super) struct State {
    success_threshold: u32,
    failure_threshold: u32,
    last: Option<bool>,
    in_a_row: u32,
}

impl State {
    /// Nothing asked yet. Thresholds default to 1 and 3.
    pub(super) fn new(success_threshold: Option<i32>, failure_threshold: Option<i32>) -> Self {
        let or = |value: Option<i32>, default| {
            value.and_then(|v| u32::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(default)
        };
        Self {
            success_threshold: or(success_threshold, 1),
            failure_threshold: or(failure_threshold, 3),
            last: None,
            in_a_row: 0,
        }
    }

    /// Takes an answer; the verdict if enough of the same have come in a row.
    pub(super) fn take(&mut self, good: bool) -> Option<bool> {
        self.in_a_row = if self.last == Some(good) { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = Some(good);
        let threshold = if good { self.success_threshold } else { self.failure_threshold };
        (self.in_a_row >= threshold).then_some(good)
    }
}

#[cfg(test)]
mod tests {
    use super::State;

    /// `answers` and `want` have one character for each asking: `+` good, `-` bad, `.` no verdict yet.
    fn check(success: i32, failure: i32, answers: &str, want: &str) {
        let mut state = State::new(Some(success), Some(failure));
        let verdicts = answers.chars().map(|answer| match state.take(answer == '+') {
            None => '.',
            Some(true) => '+',
            Some(false) => '-',
        });
        assert_eq!(verdicts.collect::<String>(), want, "{success} {failure} {answers}");
    }

    #[test]
    fn verdicts_need_enough_answers_in_a_row() {
        check(1, 3, "+", "+");
        check(1, 3, "---", "..-");
        check(1, 3, "--+--", "..+..");
        check(1, 1, "+-+-", "+-+-");
        check(2, 3, "+-++", "...+");
        check(1, 3, "+++---+", "+++..-+");
        check(0, 0, "---+", "..-+");
    }
}
