//! What all Burstable Pods together are worth: the weight of their group is the sum of theirs, so that they stand beside
//! Guaranteed Pods, whose groups are next to it, as they would one by one.
//!
//! Pods say what they are worth ([`Part`]); one task ([`keep`]) tells the kernel, which may take its time over it: of many
//! that come at once only the last sum.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::resources;
use crate::node::Node;
use crate::seen::Limits;

/// The Burstable Pods' processor shares together.
pub(crate) struct Burstable(watch::Sender<i64>);

/// One Pod's part of it. It stays when this value goes, as Pods do when the kubelet ends.
pub(crate) struct Part {
    of: Arc<Burstable>,
    shares: i64,
}

impl Burstable {
    /// No Pods yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(0)))
    }

    /// A part for one Pod, of nothing so far.
    pub(crate) fn part(self: &Arc<Self>) -> Part {
        Part { of: Arc::clone(self), shares: 0 }
    }
}

impl Part {
    /// The Pod is worth `shares` of the processors now; nothing once it is over.
    pub(crate) fn set(&mut self, shares: i64) {
        let by = shares - std::mem::replace(&mut self.shares, shares);
        self.of.0.send_if_modified(|sum| {
            *sum += by;
            by != 0
        });
    }
}

/// Gives the group of all Burstable Pods the weight of their sum whenever that changes. What fails is tried again with the
/// next change.
pub(crate) async fn keep(node: Arc<Node>) {
    let mut sums = node.burstable.0.subscribe();
    let mut told = 0;
    loop {
        let sum = *sums.borrow_and_update();
        if sum != told && tell(&node, sum).await {
            told = sum;
        }
        if sums.changed().await.is_err() {
            return;
        }
    }
}

/// Whether the kernel has taken the sum.
async fn tell(node: &Node, sum: i64) -> bool {
    let (cgroups, path) = (node.cgroups.clone(), resources::burstable_group(&node.options.cgroup_root));
    let limits = Limits { cpu_shares: resources::as_shares(sum), ..Limits::default() };
    let why = match tokio::task::spawn_blocking(move || cgroups.limit(&path, &limits)).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic.to_string(),
    };
    tracing::warn!(error = why, "Burstable Pods together have another weight than the sum of theirs");
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_change_and_go() {
        let group = Burstable::new();
        let mut sums = group.0.subscribe();
        let mut sum = || sums.has_changed().unwrap().then(|| *sums.borrow_and_update());
        let (mut one, mut other) = (group.part(), group.part());
        one.set(100);
        other.set(200);
        one.set(50);
        assert_eq!(sum(), Some(250));
        one.set(50);
        assert_eq!(sum(), None, "nobody has to be told");
        other.set(0);
        assert_eq!(sum(), Some(50));
        one.set(0);
        assert_eq!(sum(), Some(0));
    }
}
