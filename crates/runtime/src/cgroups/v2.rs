//! Version 2: which files say what.

use std::fs;
use std::io;
use std::path::Path;

use oci_spec::runtime::LinuxResources;

use super::Setting;

/// What is handed down to the groups below, as far as the host has it.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"];
const DEFAULT_PERIOD_US: u64 = 100_000;

/// Makes the group `path`, with every controller enabled on the way down.
pub(super) fn create(root: &Path, path: &str) -> io::Result<()> {
    let mut directory = root.to_path_buf();
    for part in path.split('/') {
        let available = fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
        for controller in CONTROLLERS.iter().filter(|own| available.split_whitespace().any(|name| name == **own)) {
            // One at a time: a controller that cannot be handed down must not keep the others.
            let _ = fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        directory.push(part);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("creating {}: {error}", directory.display())));
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Every limit but the quota.
pub(super) fn settings(resources: &LinuxResources) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(memory) = resources.memory() {
        settings.extend(memory.limit().map(|limit| Setting::new("memory", "memory.max", or_max(limit))));
        // Here swap is counted apart from memory; the OCI limit is the sum.
        if let (Some(limit), Some(swap)) = (memory.limit(), memory.swap()) {
            let own = if swap < 0 { -1 } else { (swap - limit).max(0) };
            settings.push(Setting::new(
                "memory",
                "memory.swap.max",
                if own < 0 { "max".into() } else { own.to_string() },
            ));
        }
    }
    if let Some(cpu) = resources.cpu() {
        let shares = cpu.shares().filter(|shares| *shares > 0);
        settings.extend(shares.map(|shares| Setting::new("cpu", "cpu.weight", weight(shares))));
        settings.extend(cpu.cpus().iter().map(|cpus| Setting::new("cpuset", "cpuset.cpus", cpus)));
        settings.extend(cpu.mems().iter().map(|mems| Setting::new("cpuset", "cpuset.mems", mems)));
    }
    if let Some(pids) = resources.pids() {
        settings.push(Setting::new("pids", "pids.max", or_max(pids.limit())));
    }
    for page in resources.hugepage_limits().iter().flatten() {
        settings.push(Setting::new("hugetlb", format!("hugetlb.{}.max", page.page_size()), page.limit()));
    }
    let own = |file: &&String| !file.contains('/');
    let mut unified: Vec<_> = resources.unified().iter().flatten().filter(|(file, _)| own(file)).collect();
    unified.sort();
    settings.extend(unified.into_iter().map(|(file, value)| Setting::new("", file, value)));
    settings
}

/// The quota alone.
pub(super) fn quota(resources: &LinuxResources) -> Vec<Setting> {
    let Some(cpu) = resources.cpu() else { return Vec::new() };
    let Some(quota) = cpu.quota() else { return Vec::new() };
    let period = cpu.period().unwrap_or(DEFAULT_PERIOD_US);
    vec![Setting::new("cpu", "cpu.max", format!("{} {period}", or_max(quota)))]
}

/// CPU shares (2..262144) as a weight (1..10000).
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

/// The kernel's word for "no limit" is `max`; OCI's is anything not positive.
pub(super) fn or_max(limit: i64) -> String {
    if limit > 0 { limit.to_string() } else { "max".to_owned() }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResourcesBuilder};

    use super::*;
    use crate::cgroups::v1;

    fn resources() -> LinuxResources {
        LinuxResourcesBuilder::default()
            .devices(Vec::new())
            .memory(LinuxMemoryBuilder::default().limit(64 << 20).swap(64 << 20).build().unwrap())
            .cpu(LinuxCpuBuilder::default().shares(512_u64).quota(20_000).period(100_000_u64).build().unwrap())
            .pids(LinuxPidsBuilder::default().limit(0).build().unwrap())
            .build()
            .unwrap()
    }

    fn lines(settings: &[Setting]) -> Vec<String> {
        settings.iter().map(|setting| format!("{}={}", setting.file, setting.value)).collect()
    }

    #[test]
    fn limits_in_both_versions() {
        assert_eq!(
            lines(&settings(&resources())),
            ["memory.max=67108864", "memory.swap.max=0", "cpu.weight=20", "pids.max=max"]
        );
        assert_eq!(lines(&quota(&resources())), ["cpu.max=20000 100000"]);
        assert_eq!(
            lines(&v1::settings(&resources())),
            [
                "memory.limit_in_bytes=67108864",
                "memory.memsw.limit_in_bytes=67108864",
                "cpu.shares=512",
                "pids.max=max"
            ]
        );
        assert_eq!(lines(&v1::quota(&resources())), ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=20000"]);
    }

    #[test]
    fn weights_span_the_whole_range() {
        assert_eq!([weight(0), weight(2), weight(1024), weight(262_144)], [1, 1, 39, 10_000]);
    }
}
