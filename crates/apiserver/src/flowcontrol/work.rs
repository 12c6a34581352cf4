//! How much of the server a request takes, guessed before it runs: seats (as many requests as it counts for), and for how
//! long the events that a write causes keep them. The figures are upstream's.

use std::time::Duration;

/// Bytes of a list in memory that count as one request.
const BYTES_PER_SEAT: u64 = 100_000;
/// A list that is served from memory is sent bit by bit, and has no more than this of its own there.
const MAX_STREAMED_BYTES: u64 = 1_000_000;
/// No list takes more seats, and no write.
const MAX_LIST_SEATS: u32 = 100;
const MAX_WRITE_SEATS: u32 = 10;
/// Watchers of what is written that count as one request...
const WATCHERS_PER_SEAT: u64 = 10;
/// ... for this long.
const EVENT: Duration = Duration::from_millis(5);
/// Of a level's nominal seats one request takes no more than this part, in percent, and than its flow's queues do.
const MAX_PERCENT: u32 = 15;

/// What a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// Seats.
    pub(super) seats: u32,
    /// How long after its end they stay taken.
    pub(super) tail: Duration,
}

/// What is known of a request before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Anything about one object, or about none.
    One,
    /// A list, or the start of a watch that begins with one.
    List {
        /// Objects of the kind.
        objects: u64,
        /// Their bytes together.
        bytes: u64,
        /// The size of a page.
        limit: Option<u64>,
        /// Whether it is served from the store, not from memory.
        from_store: bool,
        /// Whether a selector leaves some out.
        selects: bool,
    },
    /// A write.
    Write {
        /// How many watch what it may change.
        watchers: u64,
    },
}

impl Work {
    /// One seat.
    pub(super) const ONE: Self = Self { seats: 1, tail: Duration::ZERO };

    /// The guess; no more than `max_seats`.
    pub(super) fn of(sort: Sort, max_seats: u32) -> Self {
        match sort {
            Sort::One => Self::ONE,
            Sort::List { objects, bytes, limit, from_store, selects } => {
                let page = limit.map_or(objects, |limit| limit.min(objects));
                // To fill a page from the store, half of all may have to be looked at.
                let loaded = if from_store && selects { page.max(objects / 2) } else { page };
                let average = bytes.checked_div(objects).unwrap_or(0);
                let bytes = loaded.saturating_mul(average);
                let at_once = if from_store { bytes } else { bytes.min(MAX_STREAMED_BYTES) };
                let seats = seats(at_once.div_ceil(BYTES_PER_SEAT), max_seats.min(MAX_LIST_SEATS));
                Self { seats, ..Self::ONE }
            }
            Sort::Write { watchers } if watchers < WATCHERS_PER_SEAT => Self::ONE,
            Sort::Write { watchers } => {
                let wanted = watchers.div_ceil(WATCHERS_PER_SEAT);
                let seats = seats(wanted, max_seats.min(MAX_WRITE_SEATS));
                // The same work in another shape: fewer seats, for longer.
                Self { seats, tail: EVENT.mul_f64(wanted as f64 / f64::from(seats)) }
            }
        }
    }
}

fn seats(wanted: u64, max_seats: u32) -> u32 {
    u32::try_from(wanted).unwrap_or(u32::MAX).clamp(1, max_seats.max(1))
}

/// How many seats a request of a level may take, by the level's nominal ones and the size of its hands of queues.
pub(super) fn max_seats(nominal: u32, hand_size: Option<u32>) -> u32 {
    let Some(hand_size) = hand_size else { return MAX_LIST_SEATS };
    (nominal * MAX_PERCENT).div_ceil(100).min(nominal / hand_size.max(1)).clamp(1, MAX_LIST_SEATS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sort: Sort, want_seats: u32, want_tail_ms: u64) {
        let want = Work { seats: want_seats, tail: Duration::from_millis(want_tail_ms) };
        assert_eq!(Work::of(sort, 100), want, "{sort:?}");
    }

    #[test]
    fn lists_by_their_bytes() {
        let list =
            |objects, bytes, limit, from_store, selects| Sort::List { objects, bytes, limit, from_store, selects };
        check(Sort::One, 1, 0);
        check(list(0, 0, None, false, false), 1, 0);
        check(list(100, 100_000, None, false, false), 1, 0);
        check(list(1_000, 1_000_000, None, false, false), 10, 0);
        check(list(1_000, 1_000_000, Some(50), false, false), 1, 0);
        check(list(1_000_000, 1_000_000_000, None, false, false), 10, 0);
        check(list(1_000_000, 1_000_000_000, None, true, false), 100, 0);
        check(list(1_000, 1_000_000, Some(250), true, false), 3, 0);
        check(list(1_000, 1_000_000, Some(250), true, true), 5, 0);
        check(list(1_000, 1_000_000, Some(800), true, true), 8, 0);
        assert_eq!(Work::of(list(5_000, 5_000_000, None, false, false), 3).seats, 3);
    }

    #[test]
    fn writes_by_their_watchers() {
        check(Sort::Write { watchers: 0 }, 1, 0);
        check(Sort::Write { watchers: 9 }, 1, 0);
        check(Sort::Write { watchers: 10 }, 1, 5);
        check(Sort::Write { watchers: 25 }, 3, 5);
        check(Sort::Write { watchers: 1000 }, 10, 50);
    }

    #[test]
    fn levels_bound_their_requests() {
        for (nominal, hand_size, want) in
            [(245, Some(6), 37), (60, Some(6), 9), (13, Some(6), 2), (3, Some(8), 1), (13, None, 100), (0, Some(8), 1)]
        {
            assert_eq!(max_seats(nominal, hand_size), want, "{nominal} {hand_size:?}");
        }
    }
}
