//! Pods' own control groups: the runtime makes them as parents of its containers' groups; the kubelet bounds their
//! processes and removes them when the Pod is gone. Works on cgroup v1, hybrid and v2 mounts alike.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::config::resources::cgroup_parents;

/// Where control groups are mounted on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mounts {
    all: Vec<PathBuf>,
    /// The hierarchy that counts processes.
    pids: Option<PathBuf>,
}

impl Mounts {
    /// Reads the mount table.
    pub(crate) fn read() -> Result<Self, Error> {
        let table = Path::new("/proc/self/mountinfo");
        let text = std::fs::read_to_string(table).map_err(Error::io("reading", table))?;
        Ok(Self::parse(&text))
    }

    fn parse(mountinfo: &str) -> Self {
        let mut mounts = Self::default();
        for line in mountinfo.lines() {
            let Some((mount, file_system)) = line.split_once(" - ") else { continue };
            let (kind, options) = (file_system.split(' ').next(), file_system.rsplit(' ').next().unwrap_or_default());
            let Some(point) = mount.split(' ').nth(4).map(PathBuf::from) else { continue };
            let counts = match kind {
                Some("cgroup") => options.split(',').any(|option| option == "pids"),
                Some("cgroup2") => point.join("cgroup.subtree_control").exists() && has_pids(&point),
                _ => continue,
            };
            if counts {
                mounts.pids = Some(point.clone());
            }
            mounts.all.push(point);
        }
        mounts
    }

    /// Bounds how many processes the group `parent` may have, making it if the runtime has not yet.
    pub(crate) fn limit_pids(&self, parent: &str, limit: u64) -> Result<(), Error> {
        let Some(pids) = &self.pids else { return Ok(()) };
        let mut group = pids.clone();
        for name in parent.split('/').filter(|name| !name.is_empty()) {
            delegate_pids(&group)?;
            group.push(name);
            std::fs::create_dir_all(&group).map_err(Error::io("making the control group", &group))?;
        }
        let file = group.join("pids.max");
        std::fs::write(&file, limit.to_string()).map_err(Error::io("limiting processes in", &file))
    }

    /// Removes the groups of the Pod `uid` below `root`, in whatever class it was.
    pub(crate) fn remove_pod(&self, root: &str, uid: &str) -> Result<(), Error> {
        for parent in cgroup_parents(root, uid) {
            for mount in &self.all {
                remove(&mount.join(parent.trim_start_matches('/')))?;
            }
        }
        Ok(())
    }
}

/// In cgroup v2 a group counts processes only if the one above it hands that down.
fn delegate_pids(group: &Path) -> Result<(), Error> {
    let file = group.join("cgroup.subtree_control");
    match std::fs::read_to_string(&file) {
        Ok(handed) if !handed.split_whitespace().any(|controller| controller == "pids") => {
            std::fs::write(&file, "+pids").map_err(Error::io("handing down the counting of processes in", &file))
        }
        _ => Ok(()),
    }
}

fn has_pids(point: &Path) -> bool {
    let controllers = std::fs::read_to_string(point.join("cgroup.controllers")).unwrap_or_default();
    controllers.split_whitespace().any(|controller| controller == "pids")
}

/// Removes an empty group and the groups below it.
fn remove(group: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path())?;
        }
    }
    match std::fs::remove_dir(group) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("removing", group)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_in_the_mount_table() {
        let mounts = Mounts::parse(
            "30 29 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             31 29 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
             22 1 254:0 / / rw - ext4 /dev/vda rw\n\
             32 29 0:28 / /nonexistent/unified rw - cgroup2 none rw\n",
        );
        assert_eq!(mounts.pids, Some(PathBuf::from("/sys/fs/cgroup/pids")));
        assert_eq!(mounts.all.len(), 3);
    }
}
