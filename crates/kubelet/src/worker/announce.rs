//! Events for containers that wait: a back-off is told when it begins, and anew for each attempt.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

use super::Worker;
use crate::spec;

/// The back-off last told of each container: its reason and restart count.
pub(super) type Told = BTreeMap<String, (String, i32)>;

impl Worker {
    /// Tells of back-offs that `status` shows and that have not been told.
    pub(super) fn announce(&mut self, pod: &Pod, status: &PodStatus) {
        for container in status.init_container_statuses.iter().chain(&status.container_statuses).flatten() {
            let Some((reason, message)) = back_off(pod, container) else {
                self.told.remove(&container.name);
                continue;
            };
            let telling = (reason, container.restart_count);
            if self.told.get(&container.name) == Some(&telling) {
                continue;
            }
            self.told.insert(container.name.clone(), telling);
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
