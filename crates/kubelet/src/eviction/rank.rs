//! Which Pod goes first. Pure.

use std::cmp::Reverse;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::threshold::Signal;
use crate::node::request;
use crate::spec;
use crate::usage::{Ephemeral, PodUsage, Tree};

/// A Pod that runs, and what it uses; nothing if that could not be read.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) pod: Arc<Pod>,
    pub(super) usage: Option<PodUsage>,
    pub(super) disk: Option<Ephemeral>,
}

impl Candidate {
    /// Everything that it keeps on disk.
    pub(super) fn on_disk(&self) -> Option<Tree> {
        let layers = self.usage.as_ref()?.containers.iter().filter_map(|container| container.writable);
        Some(layers.fold(self.disk.as_ref()?.on_disk(), Tree::and))
    }

    /// How much it uses of what is short, and how much of that it asked for.
    fn use_and_request(&self, signal: Signal) -> Option<(i64, i64)> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let of = |resource| request(&self.pod, resource);
        Some(match signal.resource() {
            "memory" => (number(self.usage.as_ref()?.usage.working_set_bytes?), of("memory")),
            "ephemeral-storage" => (number(self.on_disk()?.bytes), of("ephemeral-storage")),
            "inodes" => (number(self.on_disk()?.inodes), 0),
            _ => (number(self.usage.as_ref()?.processes.unwrap_or(0)), 0),
        })
    }
}

/// Puts the Pods that should go first to the front: those of which nothing is known, those that use more than they asked
/// for, those of low priority, those that use the most beyond what they asked for.
pub(super) fn rank(candidates: &mut [Candidate], signal: Signal) {
    candidates.sort_by_cached_key(|candidate| {
        let known = candidate.use_and_request(signal);
        let priority = spec::of(&candidate.pod).priority.unwrap_or(0);
        let (used, asked) = known.unwrap_or((0, 0));
        // Of process ids nobody asks for any: there only priority and number count.
        let within = signal != Signal::PidAvailable && used <= asked;
        (known.is_some(), within, priority, Reverse(used.saturating_sub(asked)))
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::usage::Usage;

    /// A Pod of this name, priority, request and use of memory.
    fn pod(name: &str, priority: i32, asked: u64, used: Option<u64>) -> Candidate {
        let pod = json!({
            "metadata": {"name": name},
            "spec": {"priority": priority, "containers": [
                {"name": "c", "resources": {"requests": {"memory": asked.to_string()}}}]},
        });
        let usage = used.map(|used| PodUsage {
            usage: Usage { working_set_bytes: Some(used), ..Usage::default() },
            processes: Some(used),
            ..PodUsage::default()
        });
        Candidate { pod: Arc::new(serde_json::from_value(pod).unwrap()), usage, disk: None }
    }

    #[track_caller]
    fn check(signal: Signal, mut candidates: Vec<Candidate>, want: &str) {
        rank(&mut candidates, signal);
        let names: Vec<&str> = candidates.iter().map(|candidate| spec::name(&candidate.pod)).collect();
        assert_eq!(names.join(" "), want);
    }

    #[test]
    fn who_goes_first() {
        let all = vec![
            pod("within", 0, 500, Some(400)),
            pod("little", 0, 0, Some(10)),
            pod("much", 0, 100, Some(300)),
            pod("important", 1000, 0, Some(900)),
            pod("unknown", 2000, 0, None),
        ];
        check(Signal::MemoryAvailable, all.clone(), "unknown much little important within");
        check(Signal::PidAvailable, all, "unknown within much little important");
    }
}
