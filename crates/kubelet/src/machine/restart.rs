//! When an ended container is started again.
//!
//! The first restart comes at once, then after 10 s, 20 s, ... 300 s; a container that ran for ten minutes starts
//! over. The wait is kept with the container itself (an annotation in the runtime), so it survives the kubelet.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, Pod};

use crate::seen::{Exit, Instance};
use crate::spec::{self, RestartPolicy, Role};

const FIRST_DELAY_S: u32 = 10;
const LONGEST_DELAY_S: u32 = 300;
/// The rule's action that restarts all containers of the Pod: see `restart_all`.
pub(super) const RESTART_ALL: &str = "RestartAllContainers";
/// Having run for this long makes a container start over at no delay.
const RESET_AFTER: SignedDuration = SignedDuration::from_secs(600);

/// Whether a container of this role that ended so is started again: its own rules come first, then its own policy, then
/// the Pod's.
pub(super) fn wanted(pod: &Pod, role: Role, container: &Container, exit: &Exit) -> bool {
    if matches!(rule(container, exit.code), Some("Restart" | RESTART_ALL)) {
        return true;
    }
    let policy = container.restart_policy.as_deref().map_or_else(|| spec::restart_policy(pod), spec::policy);
    match (role, policy) {
        (Role::Sidecar, _) => true,
        (Role::Ephemeral, _) | (_, RestartPolicy::Never) => false,
        (Role::App, RestartPolicy::Always) => true,
        (Role::App | Role::Init, _) => exit.code != 0,
    }
}

/// The action of the first of the container's own rules that is for this exit code.
pub(super) fn rule(container: &Container, code: i32) -> Option<&str> {
    container.restart_policy.as_ref()?;
    let mut rules = container.restart_policy_rules.iter().flatten();
    rules.find(|rule| is_for(rule, code)).map(|rule| rule.action.as_str())
}

fn is_for(rule: &ContainerRestartRule, code: i32) -> bool {
    let Some(codes) = &rule.exit_codes else { return false };
    let listed = codes.values.iter().flatten().any(|value| *value == code);
    match codes.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    }
}

/// When the container after `last` may start.
pub(super) fn due(last: &Instance, exit: &Exit) -> Timestamp {
    let delay = SignedDuration::from_secs(i64::from(delay_s(last, exit)));
    exit.finished_at.checked_add(delay).unwrap_or(exit.finished_at)
}

/// How long to wait after the end of `last`, in seconds.
pub(super) fn delay_s(last: &Instance, exit: &Exit) -> u32 {
    if ran_long(last, exit) { 0 } else { last.restart_delay_s }
}

/// The delay that the container started after `last` carries, in seconds; 0 for the first one.
pub(crate) fn next_delay_s(last: Option<&Instance>) -> u32 {
    let Some(last) = last else { return 0 };
    match last.exit() {
        Some(exit) if ran_long(last, exit) => FIRST_DELAY_S,
        _ if last.restart_delay_s == 0 => FIRST_DELAY_S,
        _ => last.restart_delay_s.saturating_mul(2).min(LONGEST_DELAY_S),
    }
}

fn ran_long(last: &Instance, exit: &Exit) -> bool {
    let since = exit.started_at.unwrap_or(last.created_at);
    exit.finished_at.duration_since(since) >= RESET_AFTER
}
