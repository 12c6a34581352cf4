//! Keeping running containers on the processors that are theirs: when some are given away or come back, everyone who has
//! none of its own is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sampan_cri::v1::{ContainerState, LinuxContainerResources};

use crate::Error;
use crate::config::labels;
use crate::node::Node;

/// A runtime that did not take an update is asked again after this long, and then after twice as long each time.
const RETRY: Duration = Duration::from_secs(1);
/// It is asked no less often than this.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Follows the ledger for as long as it is let.
pub(crate) async fn keep(node: Arc<Node>) {
    if !node.cpus.are_given() {
        return;
    }
    let mut changes = node.cpus.changes();
    // What each container, by id, was given last.
    let mut told = HashMap::new();
    let mut wait = RETRY;
    loop {
        changes.borrow_and_update();
        match tell(&node, &mut told).await {
            Ok(()) => {
                wait = RETRY;
                if changes.changed().await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "containers were not told of their processors");
                // Whatever changes meanwhile does not wait for one that is stuck.
                if let Ok(Err(_)) = tokio::time::timeout(wait, changes.changed()).await {
                    return;
                }
                wait = (wait * 2).min(LONGEST_RETRY);
            }
        }
    }
}

/// Tells every container whose processors are not those that it was told last; the first error. A container that has
/// ended meanwhile is no longer among them the next time.
async fn tell(node: &Node, told: &mut HashMap<String, String>) -> Result<(), Error> {
    let mut outcome = Ok(());
    let containers = node.runtime.containers().await?;
    told.retain(|id, _| containers.iter().any(|container| container.id == *id));
    for container in containers.iter().filter(|container| container.state == ContainerState::ContainerRunning as i32) {
        let label = |key: &str| container.labels.get(key).map(String::as_str).unwrap_or_default();
        let given = node.cpus.of_container(label(labels::POD_UID), label(labels::CONTAINER_NAME));
        let Some(cpus) = given.map(|given| given.cpus.to_string()) else { continue };
        if told.get(&container.id) == Some(&cpus) {
            continue;
        }
        let resources = LinuxContainerResources { cpuset_cpus: cpus.clone(), ..LinuxContainerResources::default() };
        match node.runtime.update_resources(&container.id, resources).await {
            Ok(()) => drop(told.insert(container.id.clone(), cpus)),
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    outcome
}
