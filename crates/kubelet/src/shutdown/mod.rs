//! Ending Pods in order before the machine goes down.
//!
//! ```text
//!   start: logind, wait for us before you shut down (an inhibitor lock, which delays by so long at most)
//!   PrepareForShutdown(true)  -> the node is not Ready, takes no more Pods; Pods end, the least important first
//!                             -> the lock is let go, the machine goes down
//!   PrepareForShutdown(false) -> it does not: the lock is taken anew
//! ```
//! Who ends when is decided by [`plan`], which is pure. Without phases nothing here does anything. Start at [`run`].

mod logind;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use self::logind::Logind;
use self::plan::Group;
use crate::machine::Cut;
use crate::node::Node;
use crate::pods::PodTable;
use crate::server::Pods;
use crate::spec;

/// A logind that is not there, or has gone, is asked again after this long.
const RETRY: Duration = Duration::from_secs(5);
/// Upstream's words.
const REASON: &str = "Terminated";
const MESSAGE: &str = "Pod was terminated in response to imminent node shutdown.";

/// Pods of at least this priority, and below that of the next phase, have so long to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownPhase {
    /// The least priority.
    pub priority: i32,
    /// How long they may take.
    pub grace: Duration,
}

/// Waits for the machine to go down, for as long as it is let.
pub(crate) async fn run(node: Arc<Node>, pods: Arc<PodTable>) {
    if node.options.shutdown.is_empty() {
        return;
    }
    loop {
        if let Err(error) = follow(&node, &pods).await {
            tracing::warn!(%error, "Pods will not be ended when the machine goes down");
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Why the pods taken now would not run: reason and message.
pub(crate) fn refusal() -> (String, String) {
    let message = "Pod was rejected: Pod was rejected as the node is shutting down.";
    ("NodeShutdown".to_owned(), message.to_owned())
}

async fn follow(node: &Node, pods: &PodTable) -> Result<(), logind::Error> {
    let logind = Logind::connect().await?;
    logind.allow(node.options.shutdown.iter().map(|phase| phase.grace).sum()).await?;
    let mut news = logind.shutdowns().await?;
    let mut lock = Some(logind.inhibit().await?);
    while let Some(mut begins) = news.next().await {
        while begins {
            node.shutting_down.send_replace(true);
            let ending = async {
                tell(node, "Shutdown manager detected shutdown event");
                end_all(node, pods).await;
                tracing::info!("Pods have ended; the machine may go down");
                drop(lock.take());
            };
            tokio::select! {
                biased;
                next = news.next() => begins = next.unwrap_or(false),
                () = ending => begins = news.next().await.unwrap_or(false),
            }
        }
        if node.shutting_down.send_replace(false) {
            tell(node, "Shutdown manager detected shutdown cancellation");
        }
        if lock.is_none() {
            lock = Some(logind.inhibit().await?);
        }
    }
    Ok(())
}

fn tell(node: &Node, message: &str) {
    tracing::info!("{message}");
    node.recorder.normal(&node.reference(), "NodeShutdown", message);
}

/// Ends all Pods, phase by phase.
async fn end_all(node: &Node, pods: &PodTable) {
    for Group { grace, pods: group } in plan::groups(&node.options.shutdown, active(pods)) {
        let until = Instant::now() + grace;
        for pod in &group {
            let grace_s = plan::grace_s(pod, grace);
            let (reason, message) = (REASON.to_owned(), MESSAGE.to_owned());
            pods.cut(spec::uid(pod), Cut { reason, message, grace_s, disrupted: true });
        }
        if tokio::time::timeout_at(until, ended(pods, &group)).await.is_err() {
            tracing::warn!("Pods have not ended in their time before the machine goes down");
        }
    }
}

fn active(pods: &PodTable) -> Vec<Arc<Pod>> {
    let over = |pod: &Pod| matches!(spec::status(pod).phase.as_deref(), Some("Succeeded" | "Failed"));
    pods.list().into_iter().filter(|pod| !over(pod)).collect()
}

/// Returns once none of `group` runs any more.
async fn ended(pods: &PodTable, group: &[Arc<Pod>]) {
    let mut changes = pods.changes();
    while active(pods).iter().any(|left| group.iter().any(|pod| spec::uid(pod) == spec::uid(left))) {
        if changes.changed().await.is_err() {
            return;
        }
    }
}
