//! How the server's seats are divided among its priority levels: nominally by their shares, and from time to time anew
//! by what each one wanted lately, within the bounds that it sets for lending and borrowing.

/// What a level's configuration says about its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// `nominalConcurrencyShares`
    pub(super) shares: u32,
    /// `lendablePercent`
    pub(super) lendable_percent: u32,
    /// `borrowingLimitPercent`; `None` for no limit.
    pub(super) borrowing_percent: Option<u32>,
}

/// Seats of a level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// By its shares alone.
    pub(super) nominal: u32,
    /// What others can never borrow.
    pub(super) lower: u32,
    /// More it can never have.
    pub(super) upper: u32,
}

/// Divides `seats`. Rounding up may give out a few more.
pub(super) fn nominal(seats: u32, levels: &[Share]) -> Vec<Limits> {
    let sum: f64 = levels.iter().map(|level| f64::from(level.shares)).sum();
    let percent = |seats: u32, percent: u32| (f64::from(seats) * f64::from(percent) / 100.0).round() as u32;
    let limits = |level: &Share| {
        let part = if sum > 0.0 { f64::from(level.shares) / sum } else { 0.0 };
        let nominal = (f64::from(seats) * part).ceil() as u32;
        let borrowed = level.borrowing_percent.map_or(seats, |limit| percent(nominal, limit));
        Limits {
            nominal,
            lower: nominal - percent(nominal, level.lendable_percent.min(100)),
            upper: nominal.saturating_add(borrowed),
        }
    };
    levels.iter().map(limits).collect()
}

/// What a level wanted lately, in seats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    /// The most at any time since the last adjustment.
    pub(super) high_watermark: u32,
    /// On average since then, and by how much it deviated from that.
    pub(super) average: f64,
    pub(super) deviation: f64,
    /// Smoothed over minutes.
    pub(super) smoothed: f64,
}

/// A level in an adjustment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// The level takes what it wants.
    pub(super) exempt: bool,
    /// Its bounds.
    pub(super) limits: Limits,
    /// What it wanted.
    pub(super) wanted: Wanted,
}

impl Level {
    /// What it gets at least: what it wanted, no more than its nominal seats, no less than what it never lends.
    fn floor(&self) -> u32 {
        let Limits { nominal, lower, .. } = self.limits;
        let bound = if self.exempt { u32::MAX } else { nominal };
        lower.max(self.wanted.high_watermark.min(bound))
    }

    /// What it should have, if there is enough.
    pub(super) fn target(&self) -> f64 {
        self.wanted.smoothed.max(f64::from(self.floor())).max(MIN_TARGET)
    }
}

/// Even a level that wants nothing has a part of what is left over.
const MIN_TARGET: f64 = 0.001;
/// Halvings of the fraction that all levels have in common; enough for any double.
const STEPS: u32 = 128;

/// How the seats are divided.
#[derive(Debug, PartialEq)]
pub(super) struct Division {
    /// The seats of each level.
    pub(super) seats: Vec<u32>,
    /// The part of its target that each one gets, within its bounds, if that is how they are divided.
    pub(super) fair_fraction: Option<f64>,
}

/// Divides the seats anew.
pub(super) fn adjust(levels: &[Level]) -> Division {
    let all: u32 = levels.iter().map(|level| level.limits.nominal).sum();
    let exempt: u32 = levels.iter().filter(|level| level.exempt).map(Level::floor).sum();
    let limited = || levels.iter().filter(|level| !level.exempt);
    let left = all.saturating_sub(exempt);
    let (lower, floors) =
        limited().fold((0, 0), |(lower, floors), level| (lower + level.limits.lower, floors + level.floor()));
    let mut fair = None;
    let seats: Box<dyn Fn(&Level) -> f64> = if left <= lower {
        Box::new(|level| f64::from(level.limits.lower))
    } else if left <= floors {
        let part = f64::from(left - lower) / f64::from(floors - lower);
        Box::new(move |level| {
            let lower = level.limits.lower;
            f64::from(lower) + f64::from(level.floor() - lower) * part
        })
    } else {
        let fraction = fair_fraction(f64::from(left), &limited().collect::<Vec<_>>());
        fair = Some(fraction);
        Box::new(move |level| bounded(level, fraction))
    };
    let seats = |level: &Level| if level.exempt { level.floor() } else { seats(level).round() as u32 };
    Division { seats: levels.iter().map(seats).collect(), fair_fraction: fair }
}

/// Its target times `fraction`, within its bounds.
fn bounded(level: &Level, fraction: f64) -> f64 {
    (level.target() * fraction).clamp(f64::from(level.floor()), f64::from(level.limits.upper.max(level.floor())))
}

/// The fraction of their targets that gives all levels together `seats`, or as many as their bounds let them have.
fn fair_fraction(seats: f64, levels: &[&Level]) -> f64 {
    let given = |fraction: f64| levels.iter().map(|level| bounded(level, fraction)).sum::<f64>();
    let (mut low, mut high) = (0.0, seats / MIN_TARGET);
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if given(middle) < seats { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(shares: u32, lendable_percent: u32, borrowing_percent: Option<u32>) -> Share {
        Share { shares, lendable_percent, borrowing_percent }
    }

    #[test]
    fn nominal_seats_of_the_suggested_levels() {
        // catch-all, system, node-high, leader-election, workload-high, workload-low, global-default, exempt
        let levels = [(5, 0), (30, 33), (40, 25), (10, 0), (40, 50), (100, 90), (20, 50), (0, 0)];
        let limits = nominal(600, &levels.map(|(shares, lendable)| share(shares, lendable, None)));
        let nominal: Vec<u32> = limits.iter().map(|limits| limits.nominal).collect();
        assert_eq!(nominal, [13, 74, 98, 25, 98, 245, 49, 0]);
        let lower: Vec<u32> = limits.iter().map(|limits| limits.lower).collect();
        assert_eq!(lower, [13, 50, 73, 25, 49, 24, 24, 0]);
        assert_eq!(limits[0].upper, 613);
        assert_eq!(
            super::nominal(100, &[share(1, 0, Some(50)), share(1, 0, Some(0))]),
            [Limits { nominal: 50, lower: 50, upper: 75 }, Limits { nominal: 50, lower: 50, upper: 50 },]
        );
        assert_eq!(super::nominal(100, &[share(0, 0, None)]), [Limits { nominal: 0, lower: 0, upper: 100 }]);
    }

    /// Levels as `nominal lower upper / high watermark, smoothed demand`; an upper bound of 0 makes it exempt.
    #[track_caller]
    fn check(levels: &[(u32, u32, u32, u32, f64)], want: &[u32]) {
        let level = |(nominal, lower, upper, high_watermark, smoothed): &(u32, u32, u32, u32, f64)| Level {
            exempt: *upper == 0,
            limits: Limits { nominal: *nominal, lower: *lower, upper: *upper },
            wanted: Wanted { high_watermark: *high_watermark, smoothed: *smoothed, ..Wanted::default() },
        };
        let levels: Vec<Level> = levels.iter().map(level).collect();
        assert_eq!(adjust(&levels).seats, want);
    }

    #[test]
    fn seats_go_where_they_are_wanted() {
        // One wants much: the other lends what it may.
        check(&[(50, 25, 150, 90, 90.0), (50, 25, 150, 0, 0.0)], &[75, 25]);
        // Both want much: each has its nominal seats.
        check(&[(50, 25, 150, 90, 90.0), (50, 25, 150, 90, 90.0)], &[50, 50]);
        // What is lent comes back as soon as its owner has wanted it.
        check(&[(50, 25, 150, 90, 90.0), (50, 25, 150, 40, 10.0)], &[60, 40]);
        // No more than may be borrowed.
        check(&[(50, 25, 60, 90, 90.0), (50, 25, 150, 0, 0.0)], &[60, 40]);
        // What nobody wants is shared out too.
        check(&[(50, 10, 150, 0, 0.0), (50, 10, 150, 0, 0.0)], &[50, 50]);
        // Exempt requests take what they take; the others share the rest, down to what they never lend.
        check(&[(0, 0, 0, 30, 30.0), (50, 25, 150, 50, 50.0), (50, 25, 150, 50, 50.0)], &[30, 35, 35]);
        check(&[(0, 0, 0, 300, 300.0), (50, 25, 150, 50, 50.0), (50, 25, 150, 50, 50.0)], &[300, 25, 25]);
    }
}
