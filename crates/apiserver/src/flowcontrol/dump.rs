//! `/debug/api_priority_and_fairness/`: what the levels and their queues hold, as tables.

use std::fmt::Write as _;
use std::sync::Arc;

use super::FlowControl;

/// Where the tables are.
const PREFIX: &str = "/debug/api_priority_and_fairness/";

impl FlowControl {
    /// The table at a path; `None` if there is none.
    pub(crate) fn dump(&self, path: &str) -> Option<String> {
        match path.strip_prefix(PREFIX)? {
            "dump_priority_levels" => Some(self.dump_levels()),
            "dump_queues" => Some(self.dump_queues()),
            _ => None,
        }
    }

    fn dump_levels(&self) -> String {
        const HEADINGS: [&str; 10] = [
            "PriorityLevelName",
            "ActiveQueues",
            "IsIdle",
            "IsQuiescing",
            "WaitingRequests",
            "ExecutingRequests",
            "DispatchedRequests",
            "RejectedRequests",
            "TimedoutRequests",
            "CancelledRequests",
        ];
        let config = Arc::clone(&self.config.read());
        let rows = config.levels.values().map(|level| {
            let seen = level.seen(self.now_s());
            let (digest, totals) = (&seen.digest, seen.totals);
            let active = digest.queues.iter().filter(|queue| queue.waiting > 0).count();
            [
                level.name.clone(),
                active.to_string(),
                (digest.waiting + digest.executing == 0).to_string(),
                // A level that nobody wants any more is not among these: its requests end without it.
                false.to_string(),
                digest.waiting.to_string(),
                digest.executing.to_string(),
                totals.dispatched.to_string(),
                totals.rejected.to_string(),
                totals.timed_out.to_string(),
                totals.cancelled.to_string(),
            ]
        });
        table(HEADINGS, rows)
    }

    fn dump_queues(&self) -> String {
        const HEADINGS: [&str; 8] = [
            "PriorityLevelName",
            "Index",
            "PendingRequests",
            "ExecutingRequests",
            "SeatsInUse",
            "NextDispatchR",
            "MaxSeatsSum",
            "TotalWorkSum",
        ];
        let config = Arc::clone(&self.config.read());
        let rows = config.levels.values().flat_map(|level| {
            let row = |queue: &super::queues::QueueDigest| {
                [
                    level.name.clone(),
                    queue.index.to_string(),
                    queue.waiting.to_string(),
                    queue.executing.to_string(),
                    queue.seats_in_use.to_string(),
                    format!("{:.8}ss", queue.next_start),
                    queue.waiting_seats.to_string(),
                    format!("{:.8}ss", queue.work),
                ]
            };
            level.seen(self.now_s()).digest.queues.iter().map(row).collect::<Vec<_>>()
        });
        table(HEADINGS, rows)
    }
}

/// Cells with a comma behind all but the last, in columns that are as wide as they must be.
fn table<const N: usize>(headings: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(headings.map(str::to_owned)).chain(rows).collect();
    let mut out = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let last = column + 1 == N;
            let cell = if last { cell.clone() } else { format!("{cell},") };
            let width = rows.iter().map(|row| row[column].len() + 2).max().unwrap_or_default();
            let _ = if last { writeln!(out, "{cell}") } else { write!(out, "{cell:width$}") };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns() {
        let rows = [["a".to_owned(), "1".to_owned()], ["long-name".to_owned(), "22".to_owned()]];
        let want = "Name,      Count\na,         1\nlong-name, 22\n";
        assert_eq!(super::table(["Name", "Count"], rows.into_iter()), want);
    }
}
