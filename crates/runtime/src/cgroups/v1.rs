//! Version 1: which files say what.

use std::fs;
use std::io;
use std::path::Path;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxResources};

use super::Setting;
use super::hosts::Mount;

/// Makes the group `path` in one hierarchy.
pub(super) fn create(mount: &Mount, path: &str) -> io::Result<()> {
    if !mount.has("cpuset") {
        let directory = mount.root.join(path);
        return fs::create_dir_all(&directory).map_err(|error| uncreated(error, &directory));
    }
    // A new cpuset group is empty and admits nobody: it takes its parent's.
    let mut directory = mount.root.clone();
    for part in path.split('/') {
        let parent = directory.clone();
        directory.push(part);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(uncreated(error, &directory)),
            _ => {}
        }
        inherit(&parent, &directory, "cpuset.cpus")?;
        inherit(&parent, &directory, "cpuset.mems")?;
    }
    Ok(())
}

fn uncreated(error: io::Error, directory: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("creating {}: {error}", directory.display()))
}

fn inherit(parent: &Path, child: &Path, file: &str) -> io::Result<()> {
    if fs::read_to_string(child.join(file))?.trim().is_empty() {
        fs::write(child.join(file), fs::read_to_string(parent.join(file))?)?;
    }
    Ok(())
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
