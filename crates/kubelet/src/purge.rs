//! The end of a node's Pods on a container runtime that goes on without it.

use std::path::Path;

use crate::Error;
use crate::cgroups::Mounts;
use crate::config::labels;
use crate::cri::Runtime;

/// Stops and removes every Pod that the runtime behind `socket` has, and the control groups below `cgroup_root`, where
/// they were. A runtime has one kubelet: whatever bears a Pod's label there was this node's.
pub async fn purge(socket: &Path, cgroup_root: &str) -> Result<(), Error> {
    let runtime = Runtime::connect(socket).await?;
    for sandbox in runtime.sandboxes().await? {
        if sandbox.labels.contains_key(labels::POD_UID) {
            runtime.stop_sandbox(&sandbox.id).await?;
            runtime.remove_sandbox(&sandbox.id).await?;
        }
    }
    Mounts::read()?.remove_all(cgroup_root)
}
