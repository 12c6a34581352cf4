//! Stopping a container: its hook if that is wanted, then its stop signal, then SIGKILL, all within its grace.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use super::Env;
use crate::config::fields::Facts;
use crate::hooks::{self, Hook};
use crate::machine::Kill;
use crate::spec::Role;
use crate::{Error, spec};

/// What the stop signal gets at least, when the hook has used up the grace.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// Stops the container. `first` is false if this replaces a slower kill, whose hook has run already.
pub(super) async fn kill(env: &Env, pod: &Pod, kill: &Kill, facts: &Facts, first: bool) -> Result<(), Error> {
    let grace = Duration::from_secs(u64::try_from(kill.grace_s).unwrap_or(0));
    let begun = Instant::now();
    if first {
        let role = spec::container(pod, &kill.name).map_or(Role::App, |(role, _)| role);
        let regarding = spec::container_reference(pod, role, &kill.name);
        env.node.recorder.normal(&regarding, "Killing", kill.message.as_str());
        if kill.pre_stop {
            pre_stop(env, pod, kill, facts, grace).await;
        }
    }
    let left = grace.saturating_sub(begun.elapsed()).max(LEAST_GRACE.min(grace));
    env.node.runtime.stop_container(&kill.id, i64::try_from(left.as_secs()).unwrap_or(i64::MAX)).await
}

async fn pre_stop(env: &Env, pod: &Pod, kill: &Kill, facts: &Facts, grace: Duration) {
    let Some((role, container)) = spec::container(pod, &kill.name) else { return };
    let Some(handler) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref()) else { return };
    let (node, pod_ips) = (&env.node, &facts.pod_ips);
    let hook = Hook { node, pod, id: &kill.id, container: &container, pod_ips };
    let failed = match tokio::time::timeout(grace, hooks::run(&hook, handler)).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("it took longer than the grace of {} s", grace.as_secs())),
    };
    if let Some(failed) = failed {
        let regarding = spec::container_reference(pod, role, &kill.name);
        env.node.recorder.warning(&regarding, "FailedPreStopHook", "PreStopHook failed");
        tracing::info!(pod = %spec::describe(pod), container = %kill.name, error = %failed, "hook before stop failed");
    }
}
