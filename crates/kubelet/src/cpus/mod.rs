//! Processors of one's own: the static policy gives whole ones to containers of Guaranteed Pods that ask for whole ones;
//! all others share what is left.
//!
//! ```text
//!   Pod is taken: Ledger chooses -> written down         container is made: its set goes into its configuration
//!   Pod is over: its processors are shared again         shared set changes: running containers are told (`shared`)
//! ```
//! Without the policy nothing here does anything. What is chosen is decided by [`ledger`] and [`choose`], which are pure;
//! it is kept in a file, so that another kubelet of this node knows what running containers have. Start at [`Cpus`].

mod checkpoint;
mod choose;
mod ledger;
mod set;
mod shared;
mod topology;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};
use parking_lot::Mutex;
use sampan_cri::v1::LinuxContainerResources;
use tokio::sync::watch;

pub(crate) use ledger::Refusal;
pub use set::CpuSet;
pub(crate) use shared::keep as keep_shared;

use self::ledger::{Ledger, Policy};
use self::topology::Topology;
use crate::config::resources::NO_QUOTA;
use crate::{Error, Options, quantity, spec};

/// Where the kernel tells of processors.
const MACHINE: &str = "/sys/devices/system/cpu";

/// Who gets processors of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CpuPolicy {
    /// Nobody.
    #[default]
    None,
    /// Containers of Guaranteed Pods that ask for whole ones.
    Static {
        /// Only whole cores, with all their threads.
        full_pcpus_only: bool,
    },
}

/// The processors of this node, as they are given out.
pub(crate) struct Cpus {
    policy: Option<Policy>,
    file: PathBuf,
    ledger: Mutex<Ledger>,
    /// Ticks when the shared set has changed.
    changes: watch::Sender<u64>,
}

/// The processors of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) cpus: CpuSet,
    pub(crate) exclusive: bool,
}

impl Given {
    /// Has the container run on them.
    pub(crate) fn apply(&self, linux: &mut LinuxContainerResources) {
        linux.cpuset_cpus = self.cpus.to_string();
        if self.exclusive {
            linux.cpu_quota = NO_QUOTA;
        }
    }
}

impl Cpus {
    /// Reads what the machine has and what containers were given. An error if the policy cannot be followed.
    pub(crate) fn open(options: &Options) -> Result<Self, Error> {
        let file = options.root_dir.join(checkpoint::FILE);
        let (changes, known) = (watch::Sender::new(0), checkpoint::read(&file));
        let CpuPolicy::Static { full_pcpus_only } = options.cpu_policy else {
            if known.is_some() {
                return Err(Error::Config(left_over(&file)));
            }
            return Ok(Self { policy: None, file, ledger: Mutex::default(), changes });
        };
        let topology = Topology::read(Path::new(MACHINE))?;
        let reserved = reserved(options, &topology)?;
        let policy = Policy { topology, reserved, full_pcpus_only };
        let ledger = known.filter(|ledger| ledger.is_of(&policy)).unwrap_or_else(|| Ledger::new(&policy));
        Ok(Self { policy: Some(policy), file, ledger: Mutex::new(ledger), changes })
    }

    /// Whether containers can have processors of their own here.
    pub(crate) fn are_given(&self) -> bool {
        self.policy.is_some()
    }

    /// Gives the containers of `pod` what they ask for; an error says why that cannot be, and then the Pod has nothing.
    pub(crate) fn allocate(&self, pod: &Pod) -> Result<(), Refusal> {
        let Some(policy) = &self.policy else { return Ok(()) };
        self.change(|ledger| ledger.allocate(policy, pod))
    }

    /// Whatever the Pod `uid` had is shared again.
    pub(crate) fn release(&self, uid: &str) {
        self.change(|ledger| ledger.release(uid));
    }

    /// The processors of the container `name` of the Pod `uid`; nothing where all have all.
    pub(crate) fn of_container(&self, uid: &str, name: &str) -> Option<Given> {
        self.policy.as_ref()?;
        let ledger = self.ledger.lock();
        Some(match ledger.held(uid, name) {
            Some(own) => Given { cpus: own.clone(), exclusive: true },
            None => Given { cpus: ledger.shared.clone(), exclusive: false },
        })
    }

    /// The containers of the Pod `uid` that have processors of their own.
    pub(crate) fn owners(&self, uid: &str) -> BTreeSet<String> {
        self.ledger.lock().held.get(uid).into_iter().flat_map(|own| own.keys().cloned()).collect()
    }

    /// The processors that a container has for itself; none for most.
    pub(crate) fn exclusive(&self, uid: &str, name: &str) -> CpuSet {
        self.ledger.lock().held(uid, name).cloned().unwrap_or_default()
    }

    /// The processors that can be given to containers.
    pub(crate) fn allocatable(&self) -> CpuSet {
        match &self.policy {
            Some(policy) => policy.allocatable(),
            None => Topology::read(Path::new(MACHINE)).map(|topology| topology.all()).unwrap_or_default(),
        }
    }

    /// Ticks when [`Cpus::of_container`] may answer differently.
    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A container may have been made with what was shared before.
    pub(crate) fn look_again(&self) {
        self.changes.send_modify(|tick| *tick = tick.wrapping_add(1));
    }

    /// Changes the ledger, and if that is another one then, writes it down and tells of it.
    fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut ledger = self.ledger.lock();
        let before = ledger.clone();
        let result = change(&mut ledger);
        if *ledger != before {
            // Written while locked: files follow in the order of changes. It is small, and seldom.
            if let Err(error) = checkpoint::write(&self.file, &ledger) {
                tracing::error!(%error, "who has which processors was not written down");
            }
            self.look_again();
        }
        result
    }
}

/// How many processors of its own the container has to get: whole ones, in a Guaranteed Pod whose containers say for
/// themselves what they need.
pub(crate) fn wanted(pod: &Pod, container: &Container) -> Option<usize> {
    if spec::qos_class(pod) != "Guaranteed" || spec::of(pod).resources.is_some() {
        return None;
    }
    let resources = container.resources.as_ref()?;
    let amounts = resources.requests.as_ref().filter(|amounts| amounts.contains_key("cpu"));
    let milli = quantity::milli(amounts.or(resources.limits.as_ref())?.get("cpu")?)?;
    let whole = milli > 0 && milli % 1000 == 0;
    usize::try_from(milli / 1000).ok().filter(|_| whole)
}

/// The processors that are never given away: those that are named, else as many as are reserved.
fn reserved(options: &Options, topology: &Topology) -> Result<CpuSet, Error> {
    if let Some(named) = &options.reserved_cpus {
        let unknown = named.minus(&topology.all());
        if !unknown.is_empty() {
            return Err(Error::Config(format!("reserved-cpus: this machine has no processor {unknown}")));
        }
        return Ok(named.clone());
    }
    let milli = options.reserved.get("cpu").and_then(|amount| quantity::milli(&quantity::of(amount))).unwrap_or(0);
    let count = usize::try_from((milli + 999) / 1000).unwrap_or(0);
    let chosen = choose::choose(topology, &topology.all(), count).filter(|chosen| !chosen.is_empty());
    chosen.ok_or_else(|| {
        Error::Config(
            "the static policy requires a cpu reservation > 0: give one with --reserved-cpus, --kube-reserved or --system-reserved"
                .to_owned(),
        )
    })
}

fn left_over(file: &Path) -> String {
    format!(
        "could not restore state from checkpoint: configured policy \"none\" differs from state checkpoint policy \"static\", \
         please drain this node and delete the CPU manager checkpoint file {:?} before restarting Kubelet",
        file.display().to_string()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processors_of_ones_own_have_no_quota() {
        for (exclusive, want) in [(true, NO_QUOTA), (false, 200_000)] {
            let mut linux = LinuxContainerResources { cpu_quota: 200_000, ..LinuxContainerResources::default() };
            Given { cpus: "1-2".parse().unwrap(), exclusive }.apply(&mut linux);
            assert_eq!((linux.cpuset_cpus.as_str(), linux.cpu_quota), ("1-2", want));
        }
    }
}
