//! The Pod Security Standards: which Pods a namespace takes at the levels `privileged`, `baseline` and `restricted`.
//!
//! Pure: labels of a namespace become a [`Policy`], a Pod and a [`Standard`] become [`Violation`]s. Who asks, and what
//! follows (refusal, warning, audit) is admission's. Start at [`Policy::of_labels`] and [`violations`].

mod baseline;
mod restricted;
mod subject;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use self::subject::Subject;
use crate::field::{Error, Path};

/// The newest minor version with rules of its own; later ones mean the same.
const NEWEST: u32 = 37;

/// How much a Pod may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Anything.
    Privileged,
    /// What brings no known way out of a container.
    Baseline,
    /// What a hardened Pod needs.
    Restricted,
}

/// The release whose rules are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The newest.
    Latest,
    /// `v1.N`
    Minor(u32),
}

/// A level in the words of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standard {
    /// How much a Pod may do.
    pub level: Level,
    /// By the rules of this release.
    pub version: Version,
}

/// What a namespace wants of its Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Pods below this are refused.
    pub enforce: Standard,
    /// Pods below this are noted in the audit log.
    pub audit: Standard,
    /// Pods below this bring a warning to the client.
    pub warn: Standard,
}

/// One rule that a Pod does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule, in two words: `host namespaces`.
    pub reason: String,
    /// What breaks it: `hostNetwork=true`.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() { f.write_str(&self.reason) } else { write!(f, "{} ({})", self.reason, self.detail) }
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            Version::Latest => write!(f, "{level}:latest"),
            Version::Minor(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

/// A rule: a name to be replaced by, the level it begins at, the first release that has it, and what it looks for.
struct Rule {
    name: &'static str,
    since: u32,
    /// The rule of the level below whose place it takes.
    replaces: &'static str,
    /// Looks at a Pod with the eyes of the release `1.N`.
    check: fn(&Subject, u32) -> Option<Violation>,
}

/// The rules that a Pod breaks at `standard`, in upstream's order. `metadata` and `spec` are a Pod's or its template's.
pub fn violations(standard: Standard, metadata: &Value, spec: &Value) -> Vec<Violation> {
    let minor = match standard.version {
        Version::Minor(minor) => minor.min(NEWEST),
        Version::Latest => NEWEST,
    };
    let subject = Subject::new(metadata, spec);
    let in_force = |rule: &&Rule| rule.since <= minor;
    let restricted = restricted::RULES.iter().filter(in_force);
    let restricted: Vec<_> = restricted.take_while(|_| standard.level == Level::Restricted).collect();
    let baseline = baseline::RULES.iter().filter(in_force).take_while(|_| standard.level != Level::Privileged);
    let kept = baseline.filter(|rule| restricted.iter().all(|stricter| stricter.replaces != rule.name));
    let all = kept.chain(restricted.iter().copied());
    all.filter_map(|rule| (rule.check)(&subject, minor)).collect()
}

/// The violations as one sentence names them: `privileged (container "a" must not ...), hostPort (...)`.
pub fn sentence(violations: &[Violation]) -> String {
    violations.iter().map(Violation::to_string).collect::<Vec<_>>().join(", ")
}

const PREFIX: &str = "pod-security.kubernetes.io/";

impl Policy {
    /// What a namespace without labels wants: anything goes.
    pub const OPEN: Self = {
        let open = Standard { level: Level::Privileged, version: Version::Latest };
        Self { enforce: open, audit: open, warn: open }
    };

    /// The policy that the labels of a namespace say, and what is wrong with them. A wrong level is the strictest one
    /// for enforcement, and none for warnings and audit.
    pub fn of_labels(labels: &BTreeMap<String, String>) -> (Self, Vec<Error>) {
        let mut reading = Reading { labels, faults: Vec::new() };
        let enforce = reading.standard("enforce", Level::Restricted);
        let audit = reading.standard("audit", Level::Privileged);
        let warn = reading.standard("warn", Level::Privileged);
        let mut policy = Self { enforce: enforce.standard(), audit: audit.standard(), warn: warn.standard() };
        if !warn.has_level && enforce.level.is_some_and(|level| level > policy.warn.level) {
            policy.warn.level = policy.enforce.level;
            if warn.version.is_none() {
                policy.warn.version = policy.enforce.version;
            }
        }
        (policy, reading.faults)
    }

    /// Whether nothing needs to be looked at.
    pub fn is_open(&self) -> bool {
        [self.enforce, self.audit, self.warn].iter().all(|standard| standard.level == Level::Privileged)
    }
}

/// The two labels of one mode, as far as they could be read.
struct Said {
    has_level: bool,
    level: Option<Level>,
    /// What a level that could not be read stands for.
    in_doubt: Level,
    version: Option<Version>,
}

impl Said {
    fn standard(&self) -> Standard {
        let unread = if self.has_level { self.in_doubt } else { Level::Privileged };
        Standard { level: self.level.unwrap_or(unread), version: self.version.unwrap_or(Version::Latest) }
    }
}

struct Reading<'a> {
    labels: &'a BTreeMap<String, String>,
    faults: Vec<Error>,
}

impl Reading<'_> {
    fn standard(&mut self, mode: &str, in_doubt: Level) -> Said {
        let level_label = format!("{PREFIX}{mode}");
        let level = self.label(&level_label, "must be one of privileged, baseline, restricted", parse_level);
        let version_label = format!("{PREFIX}{mode}-version");
        let version = self.label(&version_label, "must be \"latest\" or \"v1.x\"", parse_version);
        let has_version = self.labels.contains_key(&version_label);
        Said {
            has_level: self.labels.contains_key(&level_label),
            level,
            in_doubt,
            version: version.or(has_version.then_some(Version::Latest)),
        }
    }

    fn label<T>(&mut self, name: &str, rule: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
        let text = self.labels.get(name)?;
        let parsed = parse(text);
        if parsed.is_none() {
            let path = Path::new("metadata").child("labels").key(name);
            self.faults.push(Error::invalid(&path, text.as_str(), rule));
        }
        parsed
    }
}

fn parse_level(text: &str) -> Option<Level> {
    match text {
        "privileged" => Some(Level::Privileged),
        "baseline" => Some(Level::Baseline),
        "restricted" => Some(Level::Restricted),
        _ => None,
    }
}

fn parse_version(text: &str) -> Option<Version> {
    if text == "latest" {
        return Some(Version::Latest);
    }
    let minor = text.strip_prefix("v1.")?;
    let canonical = minor == "0" || !minor.starts_with('0');
    let digits = !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit());
    if canonical && digits { minor.parse().ok().map(Version::Minor) } else { None }
}
