//! Version 1: which files say what.

use std::fs;
use std::io;
use std::path::Path;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxResources};

use super::Setting;
use super::hosts::Mount;

/// Makes the group `path` in one hierarchy. A new cpuset group is empty and admits nobody: it takes what the one above
/// has.
pub(super) fn create(mount: &Mount, path: &str) -> io::Result<()> {
    let directory = mount.root.join(path);
    fs::create_dir_all(&directory)
        .map_err(|error| io::Error::new(error.kind(), format!("creating {}: {error}", directory.display())))?;
    if mount.has("cpuset") {
        inherit(&mount.root, &directory, "cpuset.cpus")?;
        inherit(&mount.root, &directory, "cpuset.mems")?;
    }
    Ok(())
}

/// What the group at `directory` has in `file`, or now has from the nearest group above that has something.
fn inherit(root: &Path, directory: &Path, file: &str) -> io::Result<String> {
    let own = fs::read_to_string(directory.join(file))?;
    match directory.parent() {
        Some(above) if own.trim().is_empty() && directory != root => {
            let inherited = inherit(root, above, file)?;
            fs::write(directory.join(file), &inherited)?;
            Ok(inherited)
        }
        _ => Ok(own),
    }
}

/// Every limit but the quota.
pub(super) fn settings(resources: &LinuxResources) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(memory) = resources.memory() {
        // Swap counts memory too, so this is the order when both shrink. When they grow, the kernel refuses the first until
        // the second is there: whatever is refused is written once more after the rest.
        settings.extend(memory.limit().map(|limit| Setting::new("memory", "memory.limit_in_bytes", limit)));
        settings.extend(memory.swap().map(|limit| Setting::new("memory", "memory.memsw.limit_in_bytes", limit)));
    }
    if let Some(cpu) = resources.cpu() {
        settings.extend(cpu.shares().map(|shares| Setting::new("cpu", "cpu.shares", shares)));
        settings.extend(cpu.cpus().iter().map(|cpus| Setting::new("cpuset", "cpuset.cpus", cpus)));
        settings.extend(cpu.mems().iter().map(|mems| Setting::new("cpuset", "cpuset.mems", mems)));
    }
    if let Some(pids) = resources.pids() {
        settings.push(Setting::new("pids", "pids.max", super::v2::or_max(pids.limit())));
    }
    for page in resources.hugepage_limits().iter().flatten() {
        let file = format!("hugetlb.{}.limit_in_bytes", page.page_size());
        settings.push(Setting::new("hugetlb", file, page.limit()));
    }
    settings.extend(resources.devices().iter().flatten().map(device));
    settings
}

/// The quota alone.
pub(super) fn quota(resources: &LinuxResources) -> Vec<Setting> {
    let Some(cpu) = resources.cpu() else { return Vec::new() };
    let period = cpu.period().map(|period| Setting::new("cpu", "cpu.cfs_period_us", period));
    let quota = cpu.quota().map(|quota| Setting::new("cpu", "cpu.cfs_quota_us", quota));
    period.into_iter().chain(quota).collect()
}

fn device(rule: &LinuxDeviceCgroup) -> Setting {
    let number = |number: Option<i64>| number.filter(|n| *n >= 0).map_or_else(|| "*".to_owned(), |n| n.to_string());
    let kind = rule.typ().unwrap_or_default();
    let access = rule.access().as_deref().unwrap_or("rwm");
    let file = if rule.allow() { "devices.allow" } else { "devices.deny" };
    Setting::new(
        "devices",
        file,
        format!("{} {}:{} {access}", kind.as_str(), number(rule.major()), number(rule.minor())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_cpuset_groups_have_what_is_above_them() {
        let root = std::env::temp_dir().join(format!("sampan-cpuset-{}", crate::sandboxes::new_id()));
        let check = |path: &str, made: &[(&str, &str)], want: &str| {
            for (group, cpus) in made {
                fs::create_dir_all(root.join(group)).unwrap();
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    fs::write(root.join(group).join(file), cpus).unwrap();
                }
            }
            let mount = Mount { root: root.clone(), controllers: vec!["cpuset".to_owned()] };
            create(&mount, path).unwrap();
            assert_eq!(fs::read_to_string(root.join(path).join("cpuset.mems")).unwrap(), want);
        };
        check("a", &[("", "0-7\n"), ("a", "\n")], "0-7\n");
        check("a/b/c", &[("a", "0-1\n"), ("a/b", ""), ("a/b/c", "")], "0-1\n");
        assert_eq!(fs::read_to_string(root.join("a/b/cpuset.cpus")).unwrap(), "0-1\n");
        check("a/b/c", &[("a", "5\n")], "0-1\n");
        fs::remove_dir_all(root).unwrap();
    }
}
