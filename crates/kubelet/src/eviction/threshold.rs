//! Thresholds as upstream's flags write them: `memory.available<100Mi,nodefs.available<10%`.

use std::collections::BTreeMap;
use std::time::Duration;

use sampan_api::quantity::Quantity;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signal {
    MemoryAvailable,
    NodefsAvailable,
    NodefsInodesFree,
    ImagefsAvailable,
    ImagefsInodesFree,
    PidAvailable,
}

/// Conditions of the node that follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    Memory,
    Disk,
    Pid,
}

impl Pressure {
    /// `MemoryPressure`
    pub(crate) fn condition(self) -> &'static str {
        match self {
            Self::Memory => "MemoryPressure",
            Self::Disk => "DiskPressure",
            Self::Pid => "PIDPressure",
        }
    }
}

impl Signal {
    const ALL: [Self; 6] = [
        Self::MemoryAvailable,
        Self::NodefsAvailable,
        Self::NodefsInodesFree,
        Self::ImagefsAvailable,
        Self::ImagefsInodesFree,
        Self::PidAvailable,
    ];

    /// `memory.available`
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MemoryAvailable => "memory.available",
            Self::NodefsAvailable => "nodefs.available",
            Self::NodefsInodesFree => "nodefs.inodesFree",
            Self::ImagefsAvailable => "imagefs.available",
            Self::ImagefsInodesFree => "imagefs.inodesFree",
            Self::PidAvailable => "pid.available",
        }
    }

    /// What is short, in the words of messages.
    pub(crate) fn resource(self) -> &'static str {
        match self {
            Self::MemoryAvailable => "memory",
            Self::NodefsAvailable | Self::ImagefsAvailable => "ephemeral-storage",
            Self::NodefsInodesFree | Self::ImagefsInodesFree => "inodes",
            Self::PidAvailable => "pids",
        }
    }

    pub(crate) fn pressure(self) -> Pressure {
        match self {
            Self::MemoryAvailable => Pressure::Memory,
            Self::PidAvailable => Pressure::Pid,
            _ => Pressure::Disk,
        }
    }

    /// An amount of it as messages write it.
    pub(crate) fn amount(self, number: i64) -> String {
        match self {
            Self::MemoryAvailable | Self::NodefsAvailable | Self::ImagefsAvailable => {
                Quantity::from_bytes(number).to_string()
            }
            _ => Quantity::from_units(number).to_string(),
        }
    }
}

/// An amount, or a part of what there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Amount {
    Number(i64),
    Percent(f64),
}

impl Amount {
    /// The amount if there are `capacity` in all.
    pub(crate) fn of(self, capacity: i64) -> i64 {
        match self {
            Self::Number(number) => number,
            Self::Percent(percent) => (capacity as f64 * percent / 100.0) as i64,
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("invalid eviction threshold value \"{text}\"");
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent: f64 = percent.parse().map_err(|_| wrong())?;
                let fits = (0.0..=100.0).contains(&percent);
                if fits { Ok(Self::Percent(percent)) } else { Err(wrong()) }
            }
            None => {
                let number = Quantity::parse(text).map_err(|_| wrong())?.value();
                if number >= 0 { Ok(Self::Number(number)) } else { Err(wrong()) }
            }
        }
    }
}

/// When less than `least` is there for `grace`, something has to go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Threshold {
    pub(crate) signal: Signal,
    pub(crate) least: Amount,
    /// Zero for a hard threshold, at which Pods get no time.
    pub(crate) grace: Duration,
    /// How much more than `least` must be there before it is enough.
    pub(crate) min_reclaim: Option<Amount>,
}

impl Threshold {
    /// An amount of what is watched, as flags write it.
    fn written(&self, amount: Amount) -> String {
        match amount {
            Amount::Number(number) => self.signal.amount(number),
            Amount::Percent(percent) => format!("{percent}%"),
        }
    }
}

/// All thresholds of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    pub(crate) all: Vec<Threshold>,
    /// How long a condition of the node outlasts what it came from.
    pub(crate) transition: Duration,
    /// What a Pod gets at a soft threshold.
    pub(crate) max_pod_grace_s: i64,
}

/// How long a condition of the node outlasts what it came from, unless told otherwise.
const TRANSITION: Duration = Duration::from_secs(300);
/// Upstream's thresholds, but for images, which upstream wants 15 % for: they are on one disk with everything else as a
/// rule, and a machine that was good enough before it had a cluster should be good enough for one.
const HARD: &str = "memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<10%,\
    imagefs.inodesFree<5%";

impl Default for Thresholds {
    fn default() -> Self {
        let hard = statements(HARD).unwrap_or_default();
        Self { all: hard.into_iter().map(|(signal, least)| threshold(signal, least)).collect(), ..Self::none() }
    }
}

fn threshold(signal: Signal, least: Amount) -> Threshold {
    Threshold { signal, least, grace: Duration::ZERO, min_reclaim: None }
}

impl Thresholds {
    /// No thresholds at all: nothing is ever evicted for the node's sake.
    pub fn none() -> Self {
        Self { all: Vec::new(), transition: TRANSITION, max_pod_grace_s: 0 }
    }

    /// The thresholds that upstream's flags `--eviction-hard`, `--eviction-soft`, `--eviction-soft-grace-period` and
    /// `--eviction-minimum-reclaim` amount to. Without a hard one, its defaults hold.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(hard: Option<&str>, soft: &str, soft_grace: &str, min_reclaim: &str) -> Result<Self, String> {
        let graces = settings(soft_grace, seconds)?;
        let reclaims = settings(min_reclaim, Amount::parse)?;
        let mut all: Vec<Threshold> = Vec::new();
        for (signal, least) in statements(hard.unwrap_or(HARD))? {
            all.push(threshold(signal, least));
        }
        for (signal, least) in statements(soft)? {
            let grace = graces.get(&signal).copied();
            let missing =
                || format!("grace period must be specified for the soft eviction threshold {}", signal.name());
            all.push(Threshold { grace: grace.ok_or_else(missing)?, ..threshold(signal, least) });
        }
        for threshold in &mut all {
            threshold.min_reclaim = reclaims.get(&threshold.signal).copied();
        }
        Ok(Self { all, ..Self::none() })
    }

    /// The hard ones, as they are written: by signal.
    pub(crate) fn hard(&self) -> BTreeMap<&'static str, String> {
        self.written(|threshold| threshold.grace.is_zero().then(|| threshold.written(threshold.least)))
    }

    /// The soft ones, in the same way.
    pub(crate) fn soft(&self) -> BTreeMap<&'static str, String> {
        self.written(|threshold| (!threshold.grace.is_zero()).then(|| threshold.written(threshold.least)))
    }

    /// How long each of the soft ones may be crossed.
    pub(crate) fn soft_graces(&self) -> BTreeMap<&'static str, String> {
        let grace = |threshold: &Threshold| format!("{}s", threshold.grace.as_secs());
        self.written(|threshold| (!threshold.grace.is_zero()).then(|| grace(threshold)))
    }

    /// How much more must be there before it is enough.
    pub(crate) fn min_reclaims(&self) -> BTreeMap<&'static str, String> {
        self.written(|threshold| threshold.min_reclaim.map(|more| threshold.written(more)))
    }

    fn written(&self, write: impl Fn(&Threshold) -> Option<String>) -> BTreeMap<&'static str, String> {
        self.all.iter().filter_map(|threshold| Some((threshold.signal.name(), write(threshold)?))).collect()
    }

    /// How much of a resource of nodes, of which there are `capacity`, must be there at any time.
    pub(crate) fn kept(&self, resource: &str, capacity: i64) -> i64 {
        let signal = match resource {
            "memory" => Signal::MemoryAvailable,
            "ephemeral-storage" => Signal::NodefsAvailable,
            _ => return 0,
        };
        let hard = self.all.iter().find(|threshold| threshold.signal == signal && threshold.grace.is_zero());
        hard.map_or(0, |threshold| threshold.least.of(capacity))
    }

    /// The same with another time that a condition of the node outlasts what it came from, and another grace of Pods at
    /// soft thresholds.
    #[must_use]
    pub fn with(self, transition: Option<Duration>, max_pod_grace_s: Option<i64>) -> Self {
        Self {
            transition: transition.unwrap_or(self.transition),
            max_pod_grace_s: max_pod_grace_s.unwrap_or(self.max_pod_grace_s),
            ..self
        }
    }
}

fn signal(name: &str) -> Result<Signal, String> {
    let found = Signal::ALL.into_iter().find(|signal| signal.name() == name);
    found.ok_or_else(|| format!("unsupported eviction signal {name}"))
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// `signal<amount,...`; an amount of nothing, or of everything, is no threshold.
fn statements(text: &str) -> Result<Vec<(Signal, Amount)>, String> {
    let mut all = Vec::new();
    for part in parts(text) {
        let (name, amount) = part
            .split_once('<')
            .ok_or_else(|| format!("invalid eviction threshold syntax {part}, expected <signal><operator><value>"))?;
        let (signal, amount) = (signal(name)?, Amount::parse(amount)?);
        if !matches!(amount, Amount::Percent(0.0 | 100.0)) {
            all.push((signal, amount));
        }
    }
    Ok(all)
}

/// `signal=value,...`
fn settings<T>(text: &str, parse: fn(&str) -> Result<T, String>) -> Result<BTreeMap<Signal, T>, String> {
    let one = |part: &str| -> Result<(Signal, T), String> {
        let wrong = || format!("invalid syntax {part}, expected <signal>=<value>");
        let (name, value) = part.split_once('=').ok_or_else(wrong)?;
        Ok((signal(name)?, parse(value)?))
    };
    parts(text).map(one).collect()
}

/// `1m30s`, as Go writes durations; whole numbers of hours, minutes and seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("invalid eviction grace period \"{text}\"");
    let (mut total, mut number) = (0_u64, String::new());
    for letter in text.chars() {
        let unit = match letter {
            '0'..='9' => {
                number.push(letter);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(wrong()),
        };
        total = total.saturating_add(number.parse::<u64>().map_err(|_| wrong())?.saturating_mul(unit));
        number.clear();
    }
    if number.is_empty() && !text.is_empty() { Ok(Duration::from_secs(total)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(hard: Option<&str>, soft: &str, graces: &str, reclaim: &str, want: Result<&[&str], &str>) {
        let show = |threshold: &Threshold| {
            let Threshold { signal, least, grace, min_reclaim } = threshold;
            format!("{} {least:?} {}s {min_reclaim:?}", signal.name(), grace.as_secs())
        };
        let got = Thresholds::parse(hard, soft, graces, reclaim);
        let got = got.map(|thresholds| thresholds.all.iter().map(show).collect::<Vec<_>>());
        assert_eq!(got, want.map(|all| all.iter().map(|one| (*one).to_owned()).collect()).map_err(str::to_owned));
    }

    #[test]
    fn flags_become_thresholds() {
        check(
            Some("memory.available<1Gi, pid.available<500"),
            "nodefs.available<20.5%",
            "nodefs.available=1m30s",
            "memory.available=64Mi",
            Ok(&[
                "memory.available Number(1073741824) 0s Some(Number(67108864))",
                "pid.available Number(500) 0s None",
                "nodefs.available Percent(20.5) 90s None",
            ]),
        );
        check(Some(""), "", "", "", Ok(&[]));
        check(Some("nodefs.available<0%,nodefs.inodesFree<100%"), "", "", "", Ok(&[]));
        assert_eq!(Thresholds::parse(None, "", "", "").unwrap(), Thresholds::default());
        assert_eq!(Thresholds::default().all.len(), 5);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (hard, soft, graces, why) in [
            ("memory<1", "", "", "unsupported eviction signal memory"),
            (
                "memory.available>1",
                "",
                "",
                "invalid eviction threshold syntax memory.available>1, expected <signal><operator><value>",
            ),
            ("memory.available<101%", "", "", "invalid eviction threshold value \"101%\""),
            ("memory.available<x", "", "", "invalid eviction threshold value \"x\""),
            (
                "",
                "memory.available<1Gi",
                "",
                "grace period must be specified for the soft eviction threshold memory.available",
            ),
            ("", "memory.available<1Gi", "memory.available=5", "invalid eviction grace period \"5\""),
        ] {
            check(Some(hard), soft, graces, "", Err(why));
        }
    }
}
