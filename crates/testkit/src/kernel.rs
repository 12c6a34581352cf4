//! What the kernel holds of sampan's: to be compared before and after.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Cluster;

/// Processes, mounts, links, nftables tables, cgroups and directories that belong to `cluster`.
pub fn holdings(cluster: &Cluster) -> BTreeSet<String> {
    let instance = cluster.instance();
    let mut found = BTreeSet::new();
    found.extend(processes(instance));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    found.extend(mounts.lines().filter(|line| line.contains(instance)).map(|line| format!("mount {line}")));
    // The network namespace is the cluster's own: whatever stands in it is the cluster's.
    for (kind, program, args) in
        [("link", "ip", ["-br", "link"]), ("route", "ip", ["-br", "route"]), ("table", "nft", ["list", "tables"])]
    {
        let text = printed(cluster.command(program).args(args));
        found.extend(
            text.lines().map(|line| format!("{kind} {}", line.split(['@', '\t']).next().unwrap_or(line).trim())),
        );
    }
    directories(Path::new("/sys/fs/cgroup"), instance, &mut found);
    found
}

fn printed(command: &mut Command) -> String {
    command.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// Processes that were started with the instance's name: its server and its shims, and with them its containers.
fn processes(instance: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let command = |entry: fs::DirEntry| {
        let line = fs::read_to_string(entry.path().join("cmdline")).ok()?.replace('\0', " ");
        let groups = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        (line.contains(instance) || groups.contains(instance)).then_some(format!("process {}", line.trim()))
    };
    entries.filter_map(command).collect()
}

fn directories(dir: &Path, instance: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy().contains(instance) {
                found.insert(format!("cgroup {}", entry.path().display()));
            }
            directories(&entry.path(), instance, found);
        }
    }
}
