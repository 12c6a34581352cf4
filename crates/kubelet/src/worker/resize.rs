//! Judging and carrying out a Pod's wish for other resources.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};

use super::{Env, Worker, allocation};
use crate::config::resources;
use crate::machine::{Pending, RESIZE_IN_PROGRESS};
use crate::node::Fit;
use crate::seen::Limits;
use crate::{Error, cpus, spec};

/// Upstream's words.
const NOT_BESIDE_STATIC: &str = "Resize is infeasible for Guaranteed Pods alongside CPU Manager static policy";

impl Worker {
    /// Judges the wish of `pod` if it differs from what the Pod was given.
    pub(super) fn judge(&mut self, pod: &Arc<Pod>) {
        if !self.allocation.differs(pod) {
            self.memory.resize = None;
            return;
        }
        let (reason, message) = match self.fit(pod) {
            Fit::Now => {
                // What the group has until it is given the new: a worker that has just begun does not know.
                let before = resources::group(&self.allocation.apply(pod));
                self.memory.group.get_or_insert(before);
                self.allocation.grant(pod);
                self.memory.resize = None;
                self.resizing = true;
                let text = allocation::describe("Pod resize started", pod, None);
                self.env.node.recorder.normal(&spec::reference(pod), "ResizeStarted", text);
                return;
            }
            Fit::Deferred(message) => ("Deferred", message),
            Fit::Infeasible(message) => ("Infeasible", message),
        };
        let before = self.memory.resize.as_ref().map(|pending| pending.reason);
        if before != Some(reason) {
            let text = allocation::describe(&format!("Pod resize {reason}"), pod, Some(&message));
            self.env.node.recorder.warning(&spec::reference(pod), &format!("Resize{reason}"), text);
        }
        self.memory.resize = Some(Pending { reason, message });
    }

    /// Whether the wish can be granted. Processors of one's own are given once.
    fn fit(&self, pod: &Arc<Pod>) -> Fit {
        let wanted = |pod: &Pod| -> Vec<Option<usize>> {
            spec::containers(pod).map(|(_, container)| cpus::wanted(pod, container)).collect()
        };
        match self.env.node.cpus.are_given() && wanted(&self.allocation.apply(pod)) != wanted(pod) {
            true => Fit::Infeasible(NOT_BESIDE_STATIC.to_owned()),
            false => self.room.fit(pod),
        }
    }

    /// Tells once that a resize has come to its end.
    pub(super) fn announce_resize(&mut self, pod: &Pod, status: &PodStatus) {
        let under_way = |status: &PodStatus| {
            status.conditions.iter().flatten().any(|condition| condition.type_ == RESIZE_IN_PROGRESS)
        };
        if self.resizing && !under_way(status) {
            self.resizing = false;
            let text = allocation::describe("Pod resize completed", pod, None);
            self.env.node.recorder.normal(&spec::reference(pod), "ResizeCompleted", text);
        }
    }
}

/// Gives the Pod's own group what the Pod has as a whole.
pub(super) async fn resize_group(env: &Arc<Env>, pod: &Pod, limits: &Limits) -> Result<(), Error> {
    let (env, parent) = (Arc::clone(env), resources::cgroup_parent(&env.node.options.cgroup_root, pod));
    let limits = *limits;
    let work = move || {
        let in_use = env.node.cgroups.memory_in_use(&parent).unwrap_or(0);
        if limits.memory_bytes > 0 && in_use > limits.memory_bytes {
            // Version 2 of control groups would end processes until it fits.
            let (limit, in_use) = (limits.memory_bytes, in_use);
            return Err(Error::Config(format!(
                "the Pod uses {in_use} bytes of memory, more than its new limit of {limit}"
            )));
        }
        env.node.cgroups.limit(&parent, &limits)
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(Error::Config(format!("resizing the Pod's control group: {panic}"))))
}

/// Gives the container `id` the resources that `pod` has for it, and the Pod's group its new weight and bounds.
pub(super) async fn resize(env: &Arc<Env>, pod: &Pod, id: &str, name: &str) -> Result<(), Error> {
    let Some((_, container)) = spec::container(pod, name) else { return Ok(()) };
    resize_group(env, pod, &resources::group(pod)).await?;
    let mut linux = resources::of_container(pod, &container, &env.node.facts.machine);
    // Which processors it may run on stays as it is: that is told by who follows the changes of that.
    if env.node.cpus.of_container(spec::uid(pod), name).is_some_and(|given| given.exclusive) {
        linux.cpu_quota = resources::NO_QUOTA;
    }
    env.node.runtime.update_resources(id, linux).await
}
