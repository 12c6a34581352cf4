//! Pods' own control groups: the runtime makes them as parents of its containers' groups; the kubelet gives them their
//! weight and bounds, and removes them when the Pod is gone. Works on cgroup v1, hybrid and v2 mounts alike.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::config::resources::cgroup_parents;
use crate::seen::Limits;

const CPU_PERIOD_US: i64 = 100_000;

/// Where control groups are mounted on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mounts {
    all: Vec<PathBuf>,
    /// The hierarchy that counts processes.
    pids: Option<PathBuf>,
    /// Where processor time is shared out, and where memory is counted.
    cpu: Option<Hierarchy>,
    memory: Option<Hierarchy>,
}

/// A mounted hierarchy of control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    point: PathBuf,
    /// Of version 2.
    unified: bool,
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
            let unified = kind == Some("cgroup2");
            let has = |controller: &str| match kind {
                Some("cgroup") => options.split(',').any(|option| option == controller),
                _ => point.join("cgroup.subtree_control").exists() && hands_down(&point, controller),
            };
            if !unified && kind != Some("cgroup") {
                continue;
            }
            let hierarchy = Hierarchy { point: point.clone(), unified };
            if has("pids") {
                mounts.pids = Some(point.clone());
            }
            if has("cpu") {
                mounts.cpu = Some(hierarchy.clone());
            }
            if has("memory") {
                mounts.memory = Some(hierarchy);
            }
            mounts.all.push(point);
        }
        mounts
    }

    /// Whether memory is counted in the one hierarchy of version 2.
    pub(crate) fn is_unified(&self) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.unified)
    }

    /// Whether groups of version 2 count memory, and the swap space of `group` apart from it: some kernels do not.
    pub(crate) fn bounds_swap(&self, group: &str) -> bool {
        let file = |point: &Path| point.join(group.trim_matches('/')).join("memory.swap.max");
        self.memory.as_ref().is_some_and(|hierarchy| hierarchy.unified && file(&hierarchy.point).exists())
    }

    /// How much memory the group `path` has, in bytes; nothing if nobody counts it, or there is no such group.
    pub(crate) fn memory_in_use(&self, path: &str) -> Option<i64> {
        let Hierarchy { point, unified } = self.memory.as_ref()?;
        let file = if *unified { "memory.current" } else { "memory.usage_in_bytes" };
        std::fs::read_to_string(point.join(path.trim_matches('/')).join(file)).ok()?.trim().parse().ok()
    }

    /// Bounds how many processes the group `parent` may have, making it if the runtime has not yet.
    pub(crate) fn limit_pids(&self, parent: &str, limit: u64) -> Result<(), Error> {
        let Some(pids) = &self.pids else { return Ok(()) };
        let file = make(pids, parent, "pids")?.join("pids.max");
        std::fs::write(&file, limit.to_string()).map_err(Error::io("limiting processes in", &file))
    }

    /// Gives the group `parent` its weight and its limits, making it if the runtime has not yet.
    pub(crate) fn limit(&self, parent: &str, limits: &Limits) -> Result<(), Error> {
        for (hierarchy, controller) in [(&self.cpu, "cpu"), (&self.memory, "memory")] {
            let Some(Hierarchy { point, unified }) = hierarchy else { continue };
            let settings = settings(controller, *unified, limits);
            if settings.is_empty() {
                continue;
            }
            let group = make(point, parent, controller)?;
            for (file, value) in settings {
                let file = group.join(file);
                std::fs::write(&file, value).map_err(Error::io("limiting the Pod's control group in", &file))?;
            }
        }
        Ok(())
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

    /// Removes the groups at `root`, from which every process must be gone.
    pub(crate) fn remove_all(&self, root: &str) -> Result<(), Error> {
        self.all.iter().try_for_each(|mount| remove(&mount.join(root.trim_matches('/'))))
    }
}

/// Makes the group `path` of the hierarchy mounted at `point`, with `controller` in it.
fn make(point: &Path, path: &str, controller: &str) -> Result<PathBuf, Error> {
    let mut group = point.to_path_buf();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        hand_down(&group, controller)?;
        group.push(name);
        std::fs::create_dir_all(&group).map_err(Error::io("making the control group", &group))?;
    }
    Ok(group)
}

/// Files of a group and what is written into them.
fn settings(controller: &str, unified: bool, limits: &Limits) -> Vec<(&'static str, String)> {
    let Limits { cpu_shares, cpu_quota_us, memory_bytes } = *limits;
    let all = match (controller, unified) {
        ("cpu", false) => vec![
            (cpu_shares, "cpu.shares", cpu_shares.to_string()),
            (cpu_quota_us, "cpu.cfs_quota_us", cpu_quota_us.to_string()),
        ],
        ("cpu", true) => vec![
            (cpu_shares, "cpu.weight", weight(cpu_shares).to_string()),
            (cpu_quota_us, "cpu.max", format!("{cpu_quota_us} {CPU_PERIOD_US}")),
        ],
        (_, false) => vec![(memory_bytes, "memory.limit_in_bytes", memory_bytes.to_string())],
        (_, true) => vec![(memory_bytes, "memory.max", memory_bytes.to_string())],
    };
    all.into_iter().filter(|(amount, ..)| *amount > 0).map(|(_, file, value)| (file, value)).collect()
}

/// Shares (2..262144) as version 2's weight (1..10000).
fn weight(shares: i64) -> i64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

/// In cgroup v2 a group has a controller only if the one above it hands that down.
fn hand_down(group: &Path, controller: &str) -> Result<(), Error> {
    let file = group.join("cgroup.subtree_control");
    match std::fs::read_to_string(&file) {
        Ok(handed) if !handed.split_whitespace().any(|known| known == controller) => {
            std::fs::write(&file, format!("+{controller}")).map_err(Error::io("handing down a controller in", &file))
        }
        _ => Ok(()),
    }
}

fn hands_down(point: &Path, controller: &str) -> bool {
    let controllers = std::fs::read_to_string(point.join("cgroup.controllers")).unwrap_or_default();
    controllers.split_whitespace().any(|known| known == controller)
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
        let memory = Hierarchy { point: "/sys/fs/cgroup/memory".into(), unified: false };
        assert_eq!((mounts.memory, mounts.cpu), (Some(memory), None));
    }

    #[test]
    fn a_pods_bounds_are_written_in_both_versions() {
        let check = |controller: &str, unified: bool, limits: (i64, i64, i64), want: &str| {
            let (cpu_shares, cpu_quota_us, memory_bytes) = limits;
            let lines = settings(controller, unified, &Limits { cpu_shares, cpu_quota_us, memory_bytes });
            let lines: Vec<String> = lines.into_iter().map(|(file, value)| format!("{file}={value}")).collect();
            assert_eq!(lines.join(", "), want);
        };
        check("cpu", false, (512, 20_000, 0), "cpu.shares=512, cpu.cfs_quota_us=20000");
        check("cpu", true, (512, 20_000, 0), "cpu.weight=20, cpu.max=20000 100000");
        check("cpu", true, (2, 0, 0), "cpu.weight=1");
        check("memory", false, (2, 0, 4096), "memory.limit_in_bytes=4096");
        check("memory", true, (2, 0, 4096), "memory.max=4096");
        check("memory", true, (2, 0, 0), "");
    }
}
