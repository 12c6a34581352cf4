//! From what is there to pressures and what to reclaim. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::threshold::{Amount, Pressure, Signal, Threshold, Thresholds};

/// How much there is of something, and how much there could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) available: i64,
    pub(crate) capacity: i64,
}

/// What was observed; what could not be read is absent.
pub(crate) type Observations = BTreeMap<Signal, Observation>;

/// What is remembered from one decision to the next. Thresholds are told apart by their place in the list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    /// Since when too little has been there.
    since: BTreeMap<usize, Timestamp>,
    /// Thresholds for whose sake something was reclaimed.
    acted: BTreeSet<usize>,
    /// When a pressure was last there.
    seen: BTreeMap<Pressure, Timestamp>,
}

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decision {
    pub(crate) pressures: BTreeSet<Pressure>,
    /// The threshold for whose sake something must go now, by its place in the list.
    pub(crate) reclaim: Option<usize>,
    /// Something is scarce or nearly so: look again soon.
    pub(crate) near: bool,
}

/// Decides, and what to remember of it.
pub(crate) fn decide(
    thresholds: &Thresholds,
    before: &State,
    seen: &Observations,
    now: Timestamp,
) -> (State, Decision) {
    let short = |index: usize, threshold: &Threshold| {
        let more = if before.acted.contains(&index) { threshold.min_reclaim } else { None };
        lacks(threshold, seen, more)
    };
    let met = || thresholds.all.iter().enumerate().filter(|(index, threshold)| short(*index, threshold));
    let since: BTreeMap<usize, Timestamp> =
        met().map(|(index, _)| (index, before.since.get(&index).copied().unwrap_or(now))).collect();
    let over = |at: Timestamp, wait: std::time::Duration| {
        std::time::Duration::try_from(now.duration_since(at)).is_ok_and(|passed| passed >= wait)
    };
    let mut last = before.seen.clone();
    last.extend(met().map(|(_, threshold)| (threshold.signal.pressure(), now)));
    last.retain(|_, at| *at == now || !over(*at, thresholds.transition));
    let acted: BTreeSet<usize> =
        met().filter(|(index, threshold)| over(since[index], threshold.grace)).map(|(index, _)| index).collect();
    // Memory before everything else: without it nothing else can be done.
    let reclaim =
        acted.iter().copied().min_by_key(|index| (thresholds.all[*index].signal != Signal::MemoryAvailable, *index));
    let near = !since.is_empty() || thresholds.all.iter().any(|threshold| is_near(threshold, seen));
    let decision = Decision { pressures: last.keys().copied().collect(), reclaim, near };
    (State { since, acted, seen: last }, decision)
}

fn lacks(threshold: &Threshold, seen: &Observations, more: Option<Amount>) -> bool {
    seen.get(&threshold.signal).is_some_and(|observation| {
        let more = more.map_or(0, |more| more.of(observation.capacity));
        observation.available < threshold.least.of(observation.capacity).saturating_add(more)
    })
}

/// Less than a twentieth of everything above what must be there.
fn is_near(threshold: &Threshold, seen: &Observations) -> bool {
    lacks(threshold, seen, Some(Amount::Percent(5.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node with 1000 bytes of memory and 1000 of disk, in steps of time.
    struct Node {
        thresholds: Thresholds,
        state: State,
    }

    impl Node {
        fn new(hard: &str, soft: &str, graces: &str, reclaim: &str) -> Self {
            let thresholds = Thresholds::parse(Some(hard), soft, graces, reclaim).unwrap();
            Self { thresholds, state: State::default() }
        }

        /// At second `at`, so much of memory and disk is available.
        #[track_caller]
        fn check(&mut self, at: i64, (memory, disk): (i64, i64), pressures: &[Pressure], reclaim: Option<&str>) {
            let observation = |available| Observation { available, capacity: 1000 };
            let seen = [(Signal::MemoryAvailable, observation(memory)), (Signal::NodefsAvailable, observation(disk))];
            let now = Timestamp::from_second(at).unwrap();
            let (state, decision) = decide(&self.thresholds, &self.state, &seen.into(), now);
            self.state = state;
            assert_eq!(decision.pressures, pressures.iter().copied().collect());
            let named = decision.reclaim.map(|index| self.thresholds.all[index].signal.name());
            assert_eq!(named, reclaim);
        }
    }

    #[test]
    fn hard_thresholds_act_at_once_and_conditions_last() {
        let mut node = Node::new("memory.available<100", "", "", "");
        node.check(0, (100, 0), &[], None);
        node.check(1, (99, 0), &[Pressure::Memory], Some("memory.available"));
        node.check(2, (500, 0), &[Pressure::Memory], None);
        node.check(300, (500, 0), &[Pressure::Memory], None);
        node.check(301, (500, 0), &[], None);
    }

    #[test]
    fn soft_thresholds_have_a_grace() {
        let mut node = Node::new("", "nodefs.available<10%", "nodefs.available=30s", "");
        node.check(0, (0, 99), &[Pressure::Disk], None);
        node.check(29, (0, 99), &[Pressure::Disk], None);
        node.check(30, (0, 99), &[Pressure::Disk], Some("nodefs.available"));
        node.check(31, (0, 100), &[Pressure::Disk], None);
        node.check(32, (0, 99), &[Pressure::Disk], None);
    }

    #[test]
    fn enough_is_more_than_the_threshold() {
        let mut node = Node::new("memory.available<100", "", "", "memory.available=50");
        node.check(0, (120, 0), &[], None);
        node.check(1, (90, 0), &[Pressure::Memory], Some("memory.available"));
        node.check(2, (149, 0), &[Pressure::Memory], Some("memory.available"));
        node.check(3, (150, 0), &[Pressure::Memory], None);
        node.check(4, (149, 0), &[Pressure::Memory], None);
    }

    #[test]
    fn memory_comes_first() {
        let mut node = Node::new("nodefs.available<100,memory.available<100", "", "", "");
        node.check(0, (500, 1), &[Pressure::Disk], Some("nodefs.available"));
        node.check(1, (1, 1), &[Pressure::Disk, Pressure::Memory], Some("memory.available"));
    }
}
