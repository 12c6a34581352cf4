//! How much of the server a request takes, guessed before it runs: seats (as many requests as it counts for), and for how
//! long the events that a write causes keep them. The figures are upstream's.

use std::time::Duration;

/// Objects of a list that count as one request.
const OBJECTS_PER_SEAT: u64 = 100;
/// Watchers of what is written that count as one request...
const WATCHERS_PER_SEAT: u64 = 10;
/// ... for this long.
const EVENT: Duration = Duration::from_millis(5);
/// No request takes more seats.
const MAX_SEATS: u32 = 10;
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
        /// The size of a page.
        limit: Option<u64>,
        /// Whether it is served from the store, not from memory.
        from_store: bool,
        /// Whether a selector leaves some out.
        selects: bool,
    },
    /// A write.
    Write {
        /// How many watch the kind.
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
            Sort::List { objects, limit, from_store, selects } => {
                let page = limit.map_or(objects, |limit| limit.min(objects));
                let handled = match (from_store, selects) {
                    (false, _) => objects,
                    (true, true) => objects + page,
                    (true, false) => 2 * page,
                };
                Self { seats: seats(handled.div_ceil(OBJECTS_PER_SEAT), max_seats), ..Self::ONE }
            }
            Sort::Write { watchers } if watchers < WATCHERS_PER_SEAT => Self::ONE,
            Sort::Write { watchers } => {
                let wanted = watchers.div_ceil(WATCHERS_PER_SEAT);
                let seats = seats(wanted, max_seats);
                // The same work in another shape: fewer seats, for longer.
                Self { seats, tail: EVENT.mul_f64(wanted as f64 / f64::from(seats)) }
            }
        }
    }
}

fn seats(wanted: u64, max_seats: u32) -> u32 {
    u32::try_from(wanted).unwrap_or(u32::MAX).clamp(1, max_seats.clamp(1, MAX_SEATS))
}

/// How many seats a request of a level may take, by the level's nominal ones and the size of its hands of queues.
pub(super) fn max_seats(nominal: u32, hand_size: Option<u32>) -> u32 {
    let Some(hand_size) = hand_size else { return MAX_SEATS };
    (nominal * MAX_PERCENT).div_ceil(100).min(nominal / hand_size.max(1)).clamp(1, MAX_SEATS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sort: Sort, want_seats: u32, want_tail_ms: u64) {
        let want = Work { seats: want_seats, tail: Duration::from_millis(want_tail_ms) };
        assert_eq!(Work::of(sort, 10), want, "{sort:?}");
    }

    #[test]
    fn lists_by_their_objects() {
        let list = |objects, limit, from_store, selects| Sort::List { objects, limit, from_store, selects };
        check(Sort::One, 1, 0);
        check(list(0, None, false, false), 1, 0);
        check(list(100, None, false, false), 1, 0);
        check(list(101, None, false, false), 2, 0);
        check(list(1_000_000, None, false, false), 10, 0);
        check(list(1000, Some(50), false, false), 10, 0);
        check(list(1000, Some(50), true, false), 1, 0);
        check(list(400, Some(50), true, true), 5, 0);
        assert_eq!(Work::of(list(5000, None, false, false), 3).seats, 3);
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
            [(245, Some(6), 10), (60, Some(6), 9), (13, Some(6), 2), (3, Some(8), 1), (13, None, 10), (0, Some(8), 1)]
        {
            assert_eq!(max_seats(nominal, hand_size), want, "{nominal} {hand_size:?}");
        }
    }
}
