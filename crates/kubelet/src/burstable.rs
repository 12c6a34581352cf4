//! What all Burstable Pods together are worth: the weight of their group is the sum of theirs, so that they stand beside
//! Guaranteed Pods, whose groups are next to it, as they would one by one.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::cgroups::Mounts;
use crate::config::resources;
use crate::seen::Limits;

/// The group of all Burstable Pods.
pub(crate) struct Burstable {
    cgroups: Mounts,
    path: String,
    sum: Mutex<Sum>,
}

/// The Pods' processor shares together, and what the kernel was told of them last.
#[derive(Default)]
struct Sum {
    shares: i64,
    told: i64,
}

/// One Pod's part of the group's weight. It stays when this value goes, as Pods do when the kubelet ends.
pub(crate) struct Part {
    of: Arc<Burstable>,
    shares: i64,
}

impl Burstable {
    /// The group below `root`, with no Pods yet.
    pub(crate) fn new(cgroups: &Mounts, root: &str) -> Arc<Self> {
        let path = resources::burstable_group(root);
        Arc::new(Self { cgroups: cgroups.clone(), path, sum: Mutex::default() })
    }

    /// A part for one Pod, of nothing so far.
    pub(crate) fn part(self: &Arc<Self>) -> Part {
        Part { of: Arc::clone(self), shares: 0 }
    }

    /// Adds to the sum, and tells the kernel what it does not know yet; what fails is tried again with the next Pod.
    fn grow(&self, by: i64) {
        // The lock is held so that the last sum is the last that is written.
        let mut sum = self.sum.lock();
        sum.shares += by;
        if sum.shares == sum.told {
            return;
        }
        let limits = Limits { cpu_shares: resources::as_shares(sum.shares), ..Limits::default() };
        match self.cgroups.limit(&self.path, &limits) {
            Ok(()) => sum.told = sum.shares,
            Err(error) => {
                tracing::warn!(%error, "Burstable Pods together have another weight than the sum of theirs");
            }
        }
    }
}

impl Part {
    /// The Pod is worth `shares` of the processors now; nothing once it is over.
    pub(crate) fn set(&mut self, shares: i64) {
        let by = shares - std::mem::replace(&mut self.shares, shares);
        self.of.grow(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_change_and_go() {
        let group = Burstable::new(&Mounts::default(), "test");
        let (mut one, mut other) = (group.part(), group.part());
        one.set(100);
        other.set(200);
        one.set(50);
        assert_eq!(group.sum.lock().shares, 250);
        other.set(0);
        assert_eq!(group.sum.lock().shares, 50);
        one.set(0);
        assert_eq!(group.sum.lock().shares, 0);
    }
}
