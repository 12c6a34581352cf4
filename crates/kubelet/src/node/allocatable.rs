//! The bound on all Pods together: what the machine has less what it keeps for itself is what their group may have, so that
//! Pods that use more than they asked for take it from each other and not from the machine.

use super::{Capacity, process_ids};
use crate::cgroups::Mounts;
use crate::seen::Limits;
use crate::{Error, Options, quantity};

const SHARES_PER_CORE: i64 = 1024;

/// Bounds the group of all Pods, and gives its path. Pods run on where the kernel refuses, and where they have more memory
/// already: some would be killed at once.
pub(super) fn enforce(options: &Options, capacity: &Capacity, cgroups: &Mounts) -> String {
    let group = format!("/{}/kubepods", options.cgroup_root.trim_matches('/'));
    let (weight, memory) = bounds(options, capacity);
    let pids = process_ids().map(|(most, _)| left(options, "pid", most, quantity::value));
    let pids = pids.and_then(|pids| u64::try_from(pids).ok());
    note("processor time", cgroups.limit(&group, &weight));
    note("processes", pids.map_or(Ok(()), |pids| cgroups.limit_pids(&group, pids)));
    match cgroups.memory_in_use(&group).filter(|used| *used > memory.memory_bytes) {
        Some(used) => tracing::warn!(used, may = memory.memory_bytes, "Pods together have more memory than they may"),
        None => note("memory", cgroups.limit(&group, &memory)),
    }
    group
}

fn note(of: &str, done: Result<(), Error>) {
    if let Err(error) = done {
        tracing::warn!(of, %error, "Pods together are not bounded by what the node keeps for itself");
    }
}

/// Refuses to keep more than there is; upstream's words.
pub(super) fn check(options: &Options, capacity: &Capacity) -> Result<(), Error> {
    let wrong = |resource: &str, reserved: &str| {
        let all = capacity.capacity.get(resource)?;
        let more = quantity::milli(&quantity::of(reserved))? > quantity::milli(all)?;
        more.then(|| {
            format!(
                "Resource {resource:?} has a reservation of {reserved} but capacity of {}. Expected capacity >= reservation.",
                all.0
            )
        })
    };
    let wrong: Vec<String> =
        options.reserved.iter().filter_map(|(resource, reserved)| wrong(resource, reserved)).collect();
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::Config(format!("invalid Node Allocatable configuration. {}", wrong.join(" ")))),
    }
}

/// What all Pods together may have, time and memory: not less what must be there so that no Pod has to go, for that is
/// looked at in time. Where the node keeps everything they get the least there is, for nothing would be no bound.
fn bounds(options: &Options, capacity: &Capacity) -> (Limits, Limits) {
    let cpu_milli = capacity.capacity.get("cpu").and_then(quantity::milli).unwrap_or(0);
    let cpu_milli = left(options, "cpu", cpu_milli, quantity::milli);
    let cpu_shares = (cpu_milli * SHARES_PER_CORE / 1000).max(2);
    let memory_bytes = left(options, "memory", capacity.memory_bytes, quantity::value).max(1);
    (Limits { cpu_shares, ..Limits::default() }, Limits { memory_bytes, ..Limits::default() })
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
            let (weight, memory) = bounds(options, &capacity);
            assert_eq!((weight.cpu_shares, memory.memory_bytes), want);
        };
        check(&options, (4096, 8 << 30));
        options.reserved = [("cpu", "500m"), ("memory", "1Gi")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        check(&options, (3584, 7 << 30));
        assert_eq!(left(&options, "pid", 1000, quantity::value), 1000);
        options.reserved = [("cpu", "4"), ("memory", "8Gi")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        check(&options, (2, 1));
    }

    #[tokio::test]
    async fn a_node_does_not_keep_more_than_there_is() {
        let mut options = Options::new("n1", [192, 0, 2, 1].into(), crate::tests::client(), "/nonexistent".into());
        let capacity = [("cpu", "4"), ("memory", "8388608Ki")].map(|(k, v)| (k.to_owned(), quantity::of(v))).into();
        let capacity = Capacity { capacity, ..Capacity::default() };
        let mut outcome = |resource: &str, amount: &str| {
            options.reserved = [(resource.to_owned(), amount.to_owned())].into();
            super::check(&options, &capacity).map_err(|error| error.to_string())
        };
        assert_eq!(outcome("cpu", "4000m"), Ok(()));
        assert_eq!(outcome("memory", "8Gi"), Ok(()));
        assert_eq!(outcome("pid", "100"), Ok(()));
        let why = "invalid Node Allocatable configuration. Resource \"memory\" has a reservation of 9Gi but capacity of \
                   8388608Ki. Expected capacity >= reservation.";
        assert_eq!(outcome("memory", "9Gi"), Err(why.to_owned()));
    }
}
