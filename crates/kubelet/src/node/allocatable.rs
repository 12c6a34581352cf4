//! The bound on all Pods together: what the machine has less what it keeps for itself is what their group may have, so that
//! Pods that use more than they asked for take it from each other and not from the machine.

use super::{Capacity, process_ids};
use crate::cgroups::Mounts;
use crate::seen::Limits;
use crate::{Options, quantity};

const SHARES_PER_CORE: i64 = 1024;

/// Bounds the group of all Pods, and gives its path. Where the kernel refuses, as it does when they have more already,
/// Pods run on.
pub(super) fn enforce(options: &Options, capacity: &Capacity, cgroups: &Mounts) -> String {
    let group = format!("/{}/kubepods", options.cgroup_root.trim_matches('/'));
    let pids = process_ids().map(|(most, _)| left(options, "pid", most, quantity::value));
    let mut done = cgroups.limit(&group, &bounds(options, capacity));
    if let Some(pids) = pids.and_then(|pids| u64::try_from(pids).ok()) {
        done = done.and_then(|()| cgroups.limit_pids(&group, pids));
    }
    if let Err(error) = done {
        tracing::warn!(%error, "Pods together are not bounded by what the node keeps for itself");
    }
    group
}

/// What all Pods together may have: not less what must be there so that no Pod has to go, for that is looked at in time.
fn bounds(options: &Options, capacity: &Capacity) -> Limits {
    let cpu_milli = capacity.capacity.get("cpu").and_then(quantity::milli).unwrap_or(0);
    let cpu_milli = left(options, "cpu", cpu_milli, quantity::milli);
    Limits {
        cpu_shares: (cpu_milli * SHARES_PER_CORE / 1000).max(2),
        cpu_quota_us: 0,
        memory_bytes: left(options, "memory", capacity.memory_bytes, quantity::value),
    }
}

type Read = fn(&k8s_openapi::apimachinery::pkg::api::resource::Quantity) -> Option<i64>;

/// `all` without what is reserved of `resource`.
fn left(options: &Options, resource: &str, all: i64, read: Read) -> i64 {
    let reserved = options.reserved.get(resource).and_then(|amount| read(&quantity::of(amount)));
    (all - reserved.unwrap_or(0)).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pods_together_have_what_the_machine_does_not_keep() {
        let mut options = Options::new("n1", [192, 0, 2, 1].into(), crate::tests::client(), "/nonexistent".into());
        let cpu = [("cpu".to_owned(), quantity::of("4"))].into();
        let capacity = Capacity { capacity: cpu, memory_bytes: 8 << 30, ..Capacity::default() };
        let check = |options: &Options, want: (i64, i64)| {
            let Limits { cpu_shares, memory_bytes, .. } = bounds(options, &capacity);
            assert_eq!((cpu_shares, memory_bytes), want);
        };
        check(&options, (4096, 8 << 30));
        options.reserved = [("cpu", "500m"), ("memory", "1Gi")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        check(&options, (3584, 7 << 30));
        assert_eq!(left(&options, "pid", 1000, quantity::value), 1000);
    }
}
