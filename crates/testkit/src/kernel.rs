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
    // The network namespace is the cluster's own: whatever stands in it is the cluster's. Whether a link is up right now is
    // no part of that: a bridge says so late.
    let link = |line: &str| line.split(['@', ' ']).next().unwrap_or(line).to_owned();
    let route = |line: &str| line.trim_end().trim_end_matches(" linkdown").to_owned();
    let listed = |program: &str, args: &[&str]| printed(cluster.command(program).args(args));
    found.extend(listed("ip", &["-br", "link"]).lines().map(|line| format!("link {}", link(line))));
    found.extend(listed("ip", &["-br", "route"]).lines().map(|line| format!("route {}", route(line))));
    found.extend(listed("nft", &["list", "tables"]).lines().map(|line| format!("table {line}")));
    directories(Path::new("/sys/fs/cgroup"), instance, &mut found);
    found
}

/// Every file and directory of `cluster`'s node: what Pods may leave behind on the disk.
pub fn remains(cluster: &Cluster) -> BTreeSet<String> {
    let data = cluster.data_dir();
    let mut found = BTreeSet::new();
    for dir in [data.join("kubelet"), data.join("logs"), data.join("runtime"), cluster.state_dir()] {
        files(&dir, &mut found);
    }
    found
}

fn files(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        found.insert(format!("file {}", entry.path().display()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(&entry.path(), found);
        }
    }
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
        // Number, hierarchy and path: a hierarchy may bear the instance's name, and everyone is somewhere in it.
        let in_group = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|path| path.contains(instance));
        (line.contains(instance) || in_group).then_some(format!("process {}", line.trim()))
    };
    entries.filter_map(command).collect()
}

fn directories(dir: &Path, instance: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = entry.path();
            if path.to_string_lossy().contains(instance) {
                found.insert(format!("cgroup {}", path.display()));
            }
            directories(&path, instance, found);
        }
    }
}
