//! Which processors are shared and who has which for itself: values, and decisions about them. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

use super::choose::choose;
use super::topology::Topology;
use super::{CpuSet, wanted};
use crate::spec::{self, Role};

/// What decisions depend on, and what does not change.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) topology: Topology,
    /// Never given away; whoever has none of its own runs there too.
    pub(super) reserved: CpuSet,
    pub(super) full_pcpus_only: bool,
}

impl Policy {
    /// What can be given away.
    pub(super) fn allocatable(&self) -> CpuSet {
        self.topology.all().minus(&self.reserved)
    }
}

/// Why a Pod is not taken: reason and message of its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    pub(super) shared: CpuSet,
    /// By uid of the Pod and name of the container.
    pub(super) held: BTreeMap<String, BTreeMap<String, CpuSet>>,
}

impl Ledger {
    /// Everything is shared.
    pub(super) fn new(policy: &Policy) -> Self {
        Self { shared: policy.topology.all(), held: BTreeMap::new() }
    }

    /// Whether this tells of just the processors there are, and gives none away that is reserved.
    pub(super) fn is_of(&self, policy: &Policy) -> bool {
        let held: Vec<&CpuSet> = self.held.values().flat_map(BTreeMap::values).collect();
        let all = held.iter().fold(self.shared.clone(), |all, own| all.and(own));
        let apart = held.iter().all(|own| own.within(&self.shared).is_empty());
        let fits = all == policy.topology.all() && policy.reserved.minus(&self.shared).is_empty() && apart;
        if !fits {
            tracing::error!(known = %all, there = %policy.topology.all(), "who has which processors begins anew");
        }
        fits
    }

    /// What the container has for itself.
    pub(super) fn held(&self, uid: &str, container: &str) -> Option<&CpuSet> {
        self.held.get(uid)?.get(container)
    }

    /// What a Pod had is shared again.
    pub(super) fn release(&mut self, uid: &str) {
        for own in self.held.remove(uid).into_iter().flat_map(BTreeMap::into_values) {
            self.shared = self.shared.and(&own);
        }
    }

    /// Gives the containers of `pod` what they ask for and have not got; all or nothing.
    pub(super) fn allocate(&mut self, policy: &Policy, pod: &Pod) -> Result<(), Refusal> {
        let before = self.clone();
        let mut reusable = CpuSet::default();
        for (role, container) in spec::containers(pod) {
            let Some(count) = wanted(pod, container) else { continue };
            let own = match self.held(spec::uid(pod), &container.name) {
                Some(own) => own.clone(),
                None => match self.take(policy, &reusable, count) {
                    Ok(own) => own,
                    Err(refusal) => {
                        *self = before;
                        return Err(refusal);
                    }
                },
            };
            self.shared = self.shared.minus(&own);
            match role {
                // It is over before the next one starts.
                Role::Init => reusable = reusable.and(&own),
                _ => reusable = reusable.minus(&own),
            }
            self.held.entry(spec::uid(pod).to_owned()).or_default().insert(container.name.clone(), own);
        }
        Ok(())
    }

    /// Chooses `count` processors: first what init containers of the same Pod had.
    fn take(&self, policy: &Policy, reusable: &CpuSet, count: usize) -> Result<CpuSet, Refusal> {
        let free = self.shared.minus(&policy.reserved);
        let available = free.and(reusable);
        check_cores(policy, &available, count)?;
        let from_before = choose(&policy.topology, reusable, count.min(reusable.len())).unwrap_or_default();
        let more = choose(&policy.topology, &free, count - from_before.len());
        more.map(|more| more.and(&from_before)).ok_or_else(|| {
            let why = format!(
                "not enough cpus available to satisfy request: requested={count}, available={}",
                available.len()
            );
            let message = format!("Pod was rejected: Allocate failed due to {why}, which is unexpected");
            Refusal { reason: "UnexpectedAdmissionError", message }
        })
    }
}

/// Refuses what would leave a thread of a core to others, where only whole cores are given.
fn check_cores(policy: &Policy, available: &CpuSet, count: usize) -> Result<(), Refusal> {
    let threads = policy.topology.threads_per_core();
    if !policy.full_pcpus_only || threads < 2 {
        return Ok(());
    }
    let refused = |why: String| {
        Err(Refusal { reason: "SMTAlignmentError", message: format!("Pod was rejected: SMT Alignment Error: {why}") })
    };
    if !count.is_multiple_of(threads) {
        return refused(format!("requested {count} cpus not multiple cpus per core = {threads}"));
    }
    let whole = policy.topology.cores().into_values().filter(|core| core.minus(available).is_empty());
    let physical: usize = whole.map(|core| core.len()).sum();
    if physical < count {
        return refused(format!(
            "not enough free physical CPUs: available physical CPUs = {physical}, requested CPUs = {count}, CPUs per core = {threads}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::topology::Core;
    use super::*;

    /// Two cores with two threads each (0,2 and 1,3), or four cores; processor 0 is reserved.
    fn policy(threads: u32, full_pcpus_only: bool) -> Policy {
        let topology = Topology::of((0..4).map(|cpu| (cpu, Core { socket: 0, core: cpu % (4 / threads) })));
        Policy { topology, reserved: "0".parse().unwrap(), full_pcpus_only }
    }

    fn pod(uid: &str, init: &[&str], apps: &[&str]) -> Pod {
        let container = |(at, cpu): (usize, &&str), kind: &str| {
            json!({"name": format!("{kind}{at}"), "resources": {"limits": {"cpu": cpu, "memory": "1Mi"},
                "requests": {"cpu": cpu, "memory": "1Mi"}}})
        };
        let list = |cpus: &[&str], kind: &str| -> Vec<Value> {
            cpus.iter().enumerate().map(|one| container(one, kind)).collect()
        };
        let spec = json!({"initContainers": list(init, "i"), "containers": list(apps, "a")});
        serde_json::from_value(json!({"metadata": {"uid": uid}, "spec": spec})).unwrap()
    }

    fn text(ledger: &Ledger) -> String {
        let own =
            ledger.held.iter().flat_map(|(uid, own)| own.iter().map(move |(name, set)| format!(" {uid}/{name}={set}")));
        format!("{}{}", ledger.shared, own.collect::<String>())
    }

    #[track_caller]
    fn check(ledger: &mut Ledger, policy: &Policy, pod: &Pod, want: &str) {
        let got = match ledger.allocate(policy, pod) {
            Ok(()) => text(ledger),
            Err(refusal) => format!("{}: {}", refusal.reason, refusal.message),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn whole_processors_of_guaranteed_pods_are_their_own() {
        let policy = policy(1, false);
        let mut ledger = Ledger::new(&policy);
        check(&mut ledger, &policy, &pod("u1", &[], &["1", "500m"]), "0,2-3 u1/a0=1");
        check(&mut ledger, &policy, &pod("u1", &[], &["1", "500m"]), "0,2-3 u1/a0=1");
        check(&mut ledger, &policy, &pod("u2", &[], &["1500m"]), "0,2-3 u1/a0=1");
        check(
            &mut ledger,
            &policy,
            &pod("u3", &[], &["2", "1"]),
            "UnexpectedAdmissionError: Pod was rejected: Allocate failed due to not enough cpus available to satisfy request: \
             requested=1, available=0, which is unexpected",
        );
        assert_eq!(text(&ledger), "0,2-3 u1/a0=1", "all or nothing");
        check(&mut ledger, &policy, &pod("u3", &[], &["2"]), "0 u1/a0=1 u3/a0=2-3");
        ledger.release("u1");
        assert_eq!(text(&ledger), "0-1 u3/a0=2-3");
        assert!(ledger.is_of(&policy));
    }

    #[test]
    fn what_init_containers_had_is_used_again() {
        let policy = policy(1, false);
        let mut ledger = Ledger::new(&policy);
        check(&mut ledger, &policy, &pod("u1", &["2", "1"], &["1", "1"]), "0,3 u1/a0=1 u1/a1=2 u1/i0=1-2 u1/i1=1");
        check(&mut ledger, &policy, &pod("u2", &[], &["1"]), "0 u1/a0=1 u1/a1=2 u1/i0=1-2 u1/i1=1 u2/a0=3");
    }

    #[test]
    fn only_whole_cores_where_that_is_the_rule() {
        let policy = policy(2, true);
        let mut ledger = Ledger::new(&policy);
        let why = "SMTAlignmentError: Pod was rejected: SMT Alignment Error: ";
        let odd = format!("{why}requested 1 cpus not multiple cpus per core = 2");
        check(&mut ledger, &policy, &pod("u1", &[], &["1"]), &odd);
        check(&mut ledger, &policy, &pod("u1", &[], &["2"]), "0,2 u1/a0=1,3");
        let none = format!(
            "{why}not enough free physical CPUs: available physical CPUs = 0, requested CPUs = 2, CPUs per core = 2"
        );
        check(&mut ledger, &policy, &pod("u2", &[], &["2"]), &none);
    }

    #[test]
    fn a_ledger_of_another_machine_is_not_believed() {
        let policy = policy(1, false);
        let ledger = |shared: &str, own: &str| Ledger {
            shared: shared.parse().unwrap(),
            held: [("u".to_owned(), [("c".to_owned(), own.parse().unwrap())].into())].into(),
        };
        for (shared, own, want) in [("0-2", "3", true), ("0-1", "3", false), ("0-3", "3", false), ("1-3", "0", false)] {
            assert_eq!(ledger(shared, own).is_of(&policy), want, "{shared} and {own}");
        }
    }
}
