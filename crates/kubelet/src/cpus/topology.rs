//! Which processors are threads of which core, in which socket.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::CpuSet;
use crate::Error;

/// Where a processor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Core {
    pub(super) socket: u32,
    pub(super) core: u32,
}

/// The processors of the machine that are in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Topology(BTreeMap<u32, Core>);

impl Topology {
    /// Reads what the kernel tells below `directory` (`/sys/devices/system/cpu`). Where it tells nothing of sockets and
    /// cores, every processor is a core of its own.
    pub(super) fn read(directory: &Path) -> Result<Self, Error> {
        let online = directory.join("online");
        let text = std::fs::read_to_string(&online).map_err(Error::io("reading", &online))?;
        let cpus: CpuSet = text.parse().map_err(Error::Config)?;
        let number = |cpu: u32, file: &str| -> Option<u32> {
            let path = directory.join(format!("cpu{cpu}/topology/{file}"));
            std::fs::read_to_string(path).ok()?.trim().parse().ok()
        };
        let place = |cpu: u32| Core {
            socket: number(cpu, "physical_package_id").unwrap_or(0),
            core: number(cpu, "core_id").unwrap_or(cpu),
        };
        Ok(Self(cpus.iter().map(|cpu| (cpu, place(cpu))).collect()))
    }

    #[cfg(test)]
    pub(super) fn of(cpus: impl IntoIterator<Item = (u32, Core)>) -> Self {
        Self(cpus.into_iter().collect())
    }

    /// Every processor.
    pub(super) fn all(&self) -> CpuSet {
        self.0.keys().copied().collect()
    }

    /// The processors of each core.
    pub(super) fn cores(&self) -> BTreeMap<Core, CpuSet> {
        let cores: BTreeSet<Core> = self.0.values().copied().collect();
        let threads = |core: Core| self.0.iter().filter(move |(_, at)| **at == core).map(|(cpu, _)| *cpu).collect();
        cores.into_iter().map(|core| (core, threads(core))).collect()
    }

    /// How many threads the machine's cores have.
    pub(super) fn threads_per_core(&self) -> usize {
        let cores = self.0.values().collect::<BTreeSet<_>>().len();
        self.0.len().checked_div(cores).unwrap_or(1).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_sockets_and_cores() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("online"), "0-2\n").unwrap();
        for (cpu, socket, core) in [(0, 0, 0), (1, 0, 0), (2, 1, 0)] {
            let topology = dir.path().join(format!("cpu{cpu}/topology"));
            std::fs::create_dir_all(&topology).unwrap();
            std::fs::write(topology.join("physical_package_id"), format!("{socket}\n")).unwrap();
            std::fs::write(topology.join("core_id"), format!("{core}\n")).unwrap();
        }
        let topology = Topology::read(dir.path()).unwrap();
        let cores: Vec<String> = topology.cores().into_values().map(|threads| threads.to_string()).collect();
        assert_eq!((cores, topology.all().to_string()), (vec!["0-1".to_owned(), "2".to_owned()], "0-2".to_owned()));
        std::fs::remove_dir_all(dir.path().join("cpu0")).unwrap();
        std::fs::remove_dir_all(dir.path().join("cpu1")).unwrap();
        assert_eq!(Topology::read(dir.path()).unwrap().cores().len(), 3, "what is not told is a core of its own");
    }
}
