//! Which control group hierarchies this host has, from the mount table.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The controllers a container is put under where they are mounted (version 1).
const CONTROLLERS: [&str; 9] = ["cpu", "cpuacct", "cpuset", "memory", "pids", "devices", "freezer", "blkio", "hugetlb"];
/// The hierarchy by which systemd knows what belongs to a service: entered, so that a container is not taken for a
/// part of whatever service started it.
const SYSTEMD: &str = "name=systemd";

/// One mounted version 1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mount {
    pub(crate) root: PathBuf,
    pub(crate) controllers: Vec<String>,
}

impl Mount {
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|own| own == controller)
    }
}

/// What the host has. A hybrid host counts as version 1: its controllers are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Hierarchies {
    V1(Vec<Mount>),
    V2(PathBuf),
}

impl Default for Hierarchies {
    /// None: what a shim knows of before it is told.
    fn default() -> Self {
        Self::V1(Vec::new())
    }
}

impl Hierarchies {
    /// Reads the mount table.
    pub(crate) fn detect() -> io::Result<Self> {
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        Self::from_mounts(&table).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "no control groups are mounted: mount cgroup2 on /sys/fs/cgroup")
        })
    }

    /// What a mount table in the form of `/proc/self/mountinfo` tells.
    fn from_mounts(table: &str) -> Option<Self> {
        let mut v1 = Vec::<Mount>::new();
        let mut v2 = None;
        for line in table.lines() {
            let Some((mount, filesystem)) = line.split_once(" - ") else { continue };
            let (root, mut rest) = (mount.split(' ').nth(4)?, filesystem.split(' '));
            match (rest.next(), rest.nth(1)) {
                (Some("cgroup2"), _) if v2.is_none() => v2 = Some(PathBuf::from(root)),
                (Some("cgroup"), Some(options)) => {
                    let ours = |option: &&str| CONTROLLERS.contains(option) || *option == SYSTEMD;
                    let controllers: Vec<_> = options.split(',').filter(ours).map(str::to_owned).collect();
                    let known = v1.iter().any(|mount: &Mount| mount.controllers == controllers);
                    if !controllers.is_empty() && !known {
                        v1.push(Mount { root: root.into(), controllers });
                    }
                }
                _ => {}
            }
        }
        if v1.iter().any(|mount| mount.has("memory") || mount.has("cpu")) {
            Some(Self::V1(v1))
        } else {
            v2.map(Self::V2)
        }
    }

    /// The version 1 mounts as (name below /sys/fs/cgroup, mount options); empty on version 2.
    pub(crate) fn views(&self) -> Vec<(String, Vec<String>)> {
        let Self::V1(mounts) = self else { return Vec::new() };
        let name = |mount: &Mount| mount.root.file_name().map(|name| name.to_string_lossy().into_owned());
        mounts.iter().filter_map(|mount| Some((name(mount)?, mount.controllers.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
43 31 0:39 / /run/x rw,relatime - cgroup none rw,favordynmods,name=sampan
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn hybrid_host_counts_as_version_1() {
        let Some(Hierarchies::V1(mounts)) = Hierarchies::from_mounts(HYBRID) else { panic!("not version 1") };
        assert_eq!(mounts.len(), 3);
        assert!(mounts[0].has("cpuacct") && mounts[1].has("memory") && mounts[2].has("name=systemd"));
    }

    #[test]
    fn unified_host_is_version_2() {
        let table = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        assert_eq!(Hierarchies::from_mounts(table), Some(Hierarchies::V2("/sys/fs/cgroup".into())));
        assert_eq!(Hierarchies::from_mounts("22 27 0:21 / /proc rw - proc proc rw"), None);
    }
}
