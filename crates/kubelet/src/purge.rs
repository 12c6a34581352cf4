//! The end of a node's Pods on a container runtime that goes on without it.

use std::path::Path;

use futures::stream::{self, StreamExt};

use crate::Error;
use crate::cgroups::Mounts;
use crate::config::labels;
use crate::cri::Runtime;

/// Pods that end at once: those that do not end are waited for together.
const AT_ONCE: usize = 32;

/// Stops and removes every Pod that the runtime behind `socket` has, and the control groups below `cgroup_root`, where
/// they were. A runtime has one kubelet: whatever bears a Pod's label there was this node's. Without a socket there is no
/// runtime that could have any. What fails keeps nothing else from being done; the first error comes back.
pub async fn purge(socket: &Path, cgroup_root: &str) -> Result<(), Error> {
    let ended = match socket.exists() {
        true => end_all(socket).await,
        false => Ok(()),
    };
    ended.and(Mounts::read().and_then(|mounts| mounts.remove_all(cgroup_root)))
}

async fn end_all(socket: &Path) -> Result<(), Error> {
    end_pods(&Runtime::connect(socket).await?).await
}

/// Ends every Pod that can be ended; the first error.
pub(crate) async fn end_pods(runtime: &Runtime) -> Result<(), Error> {
    let all = runtime.sandboxes().await?;
    let pods = all.into_iter().filter(|sandbox| sandbox.labels.contains_key(labels::POD_UID));
    let ends = stream::iter(pods).map(|sandbox| async move {
        runtime.stop_sandbox(&sandbox.id).await?;
        runtime.remove_sandbox(&sandbox.id).await
    });
    ends.buffer_unordered(AT_ONCE).fold(Ok(()), async |first, ended| first.and(ended)).await
}
