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

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use self::logind::Logind;
use self::plan::Group;
use crate::machine::Cut;
use crate::node::Node;
use crate::pods::PodTable;
use crate::server::Pods;
use crate::{Error, spec};

/// A logind that is not there, or has gone, is asked again after this long, and then after twice as long each time.
const RETRY: Duration = Duration::from_secs(5);
/// A machine without logind gets none while it runs: it is asked no less often than this all the same.
const LONGEST_RETRY: Duration = Duration::from_secs(300);
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
    let (mut wait, mut told) = (RETRY, String::new());
    loop {
        match follow(&node, &pods).await {
            Ok(()) => (wait, told) = (RETRY, String::new()),
            Err(error) => {
                let why = error.to_string();
                if why != told {
                    tracing::warn!(%error, "Pods will not be ended when the machine goes down");
                }
                told = why;
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_RETRY);
    }
}

/// Has systemd-logind forget for how long it may be made to wait in the name of `cluster`, if it was told that.
pub async fn forget_shutdown(cluster: &str) -> Result<(), Error> {
    logind::forget(cluster).await.map_err(|error| Error::Config(error.to_string()))
}

/// Why the pods taken now would not run: reason and message.
pub(crate) fn refusal() -> (String, String) {
    let message = "Pod was rejected: Pod was rejected as the node is shutting down.";
    ("NodeShutdown".to_owned(), message.to_owned())
}

/// Returns when the bus has gone. Whether the machine goes down is then as it was last, until there is a bus again.
async fn follow(node: &Node, pods: &PodTable) -> Result<(), logind::Error> {
    let logind = Logind::connect().await?;
    let wanted = node.options.shutdown.iter().map(|phase| phase.grace).sum();
    logind.allow(&node.options.cgroup_root, wanted).await?;
    let mut news = logind.shutdowns().await?;
    // It may have begun before anyone listened; then no lock is given any more.
    let mut begins = logind.is_preparing().await?;
    let mut lock = None;
    loop {
        while begins {
            node.shutting_down.send_replace(true);
            let ending = async {
                tell(node, "Shutdown manager detected shutdown event");
                end_all(node, pods).await;
                tracing::info!("Pods have ended; the machine may go down");
                drop(lock.take());
            };
            let Some(next) = unless_called_off(&mut news, ending).await else { return Ok(()) };
            begins = next;
        }
        if node.shutting_down.send_replace(false) {
            tell(node, "Shutdown manager detected shutdown cancellation");
        }
        if lock.is_none() {
            lock = Some(logind.inhibit().await?);
        }
        let Some(next) = news.next().await else { return Ok(()) };
        begins = next;
    }
}

/// Does `ending` until there is other news, and gives that. Without a bus there is none: that is no reason to stop.
async fn unless_called_off(
    news: &mut (impl Stream<Item = bool> + Unpin),
    ending: impl Future<Output = ()>,
) -> Option<bool> {
    let mut ending = std::pin::pin!(ending);
    let next = tokio::select! {
        biased;
        next = news.next() => next,
        () = &mut ending => return news.next().await,
    };
    if next.is_none() {
        ending.await;
    }
    next
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

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    #[tokio::test]
    async fn only_news_calls_the_end_of_pods_off() {
        let check = async |news: &[bool], want: (Option<bool>, bool)| {
            let mut news = stream::iter(news.to_vec());
            let mut ended = false;
            let ending = async {
                tokio::task::yield_now().await;
                ended = true;
            };
            let next = unless_called_off(&mut news, ending).await;
            assert_eq!((next, ended), want);
        };
        check(&[false], (Some(false), false)).await;
        check(&[true], (Some(true), false)).await;
        check(&[], (None, true)).await;
    }

    #[tokio::test]
    async fn who_has_ended_them_waits_for_news() {
        let mut news = Box::pin(stream::once(async {
            tokio::task::yield_now().await;
            false
        }));
        assert_eq!(unless_called_off(&mut news, std::future::ready(())).await, Some(false));
    }
}
