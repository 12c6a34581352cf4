//! Events that follow from a status: a back-off is told when it begins, and anew for each attempt; the end of a Pod by
//! the node's decision once.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

use super::Worker;
use crate::spec;

/// What has been told.
#[derive(Default)]
pub(super) struct Told {
    /// The back-off of each container: its reason and restart count.
    back_offs: BTreeMap<String, (String, i32)>,
    /// That the Pod ran into its deadline, or that the node does not take it.
    end: bool,
}

impl Worker {
    /// Tells of back-offs that `status` shows and that have not been told.
    pub(super) fn announce(&mut self, pod: &Pod, status: &PodStatus) {
        self.announce_end(pod, status);
        self.announce_resize(pod, status);
        for container in status.init_container_statuses.iter().chain(&status.container_statuses).flatten() {
            let Some((reason, message)) = back_off(pod, container) else {
                self.told.back_offs.remove(&container.name);
                continue;
            };
            let telling = (reason, container.restart_count);
            if self.told.back_offs.get(&container.name) == Some(&telling) {
                continue;
            }
            self.told.back_offs.insert(container.name.clone(), telling);
            if let Some((role, _)) = spec::container(pod, &container.name) {
                let regarding = spec::container_reference(pod, role, &container.name);
                let recorder = &self.env.node.recorder;
                match container.image_id.is_empty() && message.starts_with("Back-off pulling") {
                    true => recorder.normal(&regarding, "BackOff", message),
                    false => recorder.warning(&regarding, "BackOff", message),
                }
            }
        }
    }
}

impl Worker {
    /// Tells once of a deadline that has passed and of a refusal; a Pod whose published phase says so was told of before.
    fn announce_end(&mut self, pod: &Pod, status: &PodStatus) {
        let known = matches!(spec::status(pod).phase.as_deref(), Some("Failed" | "Succeeded"));
        let (Some(reason), Some(message)) = (&status.reason, &status.message) else { return };
        if self.told.end || known {
            return;
        }
        let regarding = spec::reference(pod);
        if self.memory.rejected.is_some() {
            let text = message.strip_prefix("Pod was rejected: ").unwrap_or(message);
            self.env.node.recorder.warning(&regarding, reason, text);
        } else if reason == "DeadlineExceeded" {
            self.env.node.recorder.normal(&regarding, reason, message.as_str());
        } else {
            return;
        }
        self.told.end = true;
    }
}

/// The waiting reason and the event's message, if the container is backing off.
fn back_off(pod: &Pod, container: &ContainerStatus) -> Option<(String, String)> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let message = match waiting.reason.as_deref()? {
        "CrashLoopBackOff" => {
            format!("Back-off restarting failed container {} in pod {}", container.name, spec::describe(pod))
        }
        "ImagePullBackOff" => format!("Back-off pulling image \"{}\"", container.image),
        _ => return None,
    };
    Some((waiting.reason.clone()?, message))
}
