//! What this machine must offer before a node can run on it: each lack with its remedy, all of them at once.

use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use crate::config::Config;

/// Something missing, and how to mend it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lack {
    what: String,
    remedy: String,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    remedy: {}", self.what, self.remedy)
    }
}

fn lack(what: impl Into<String>, remedy: impl Into<String>) -> Option<Lack> {
    Some(Lack { what: what.into(), remedy: remedy.into() })
}

/// Everything that keeps a server from starting here.
pub(crate) fn check(config: &Config) -> Vec<Lack> {
    if let Some(root) = root() {
        return vec![root];
    }
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let mut lacks: Vec<Lack> = [
        filesystem(&filesystems, "overlay"),
        namespaces(),
        cgroups(Path::new("/sys/fs/cgroup")),
        program("nft", "nftables"),
        nftables(),
        inside_each_other(config),
    ]
    .into_iter()
    .flatten()
    .collect();
    let listeners =
        [(config.bind_address, config.port, "port"), (config.bind_address, config.kubelet_port, "kubelet-port")];
    lacks.extend(listeners.into_iter().filter_map(|(ip, port, flag)| port_taken(SocketAddr::new(ip, port), flag)));
    lacks
}

/// Whether we may do what a node does.
pub(crate) fn root() -> Option<Lack> {
    if nix::unistd::geteuid().is_root() {
        return None;
    }
    lack(
        "sampan makes namespaces, mounts and network links, which only root may do",
        "run the same command as root, for example with sudo",
    )
}

fn filesystem(known: &str, name: &str) -> Option<Lack> {
    let listed = |known: &str| known.lines().any(|line| line.split_whitespace().last() == Some(name));
    if listed(known) {
        return None;
    }
    // The kernel loads a module when asked, not before.
    let _ = Command::new("modprobe").arg(name).output();
    if listed(&fs::read_to_string("/proc/filesystems").unwrap_or_default()) {
        return None;
    }
    lack(
        format!("the kernel has no {name} file system"),
        format!("load it with `modprobe {name}`, or use a kernel built with it"),
    )
}

fn namespaces() -> Option<Lack> {
    let missing: Vec<&str> = ["pid", "net", "mnt", "ipc", "uts"]
        .into_iter()
        .filter(|ns| !Path::new("/proc/self/ns").join(ns).exists())
        .collect();
    if missing.is_empty() {
        return None;
    }
    lack(
        format!("the kernel has no {} namespaces", missing.join(", ")),
        "use a kernel built with CONFIG_NAMESPACES and its parts",
    )
}

fn cgroups(root: &Path) -> Option<Lack> {
    let unified = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    let has = |name: &str| unified.split_whitespace().any(|c| c == name) || root.join(name).is_dir();
    let missing: Vec<&str> = ["cpu", "memory", "pids"].into_iter().filter(|name| !has(name)).collect();
    if missing.is_empty() {
        return None;
    }
    lack(
        format!("no {} cgroup controller is mounted under {}", missing.join(", "), root.display()),
        "mount cgroup v2 with `mount -t cgroup2 none /sys/fs/cgroup`, or boot without cgroup_disable=",
    )
}

fn program(name: &str, package: &str) -> Option<Lack> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).chain([Path::new("/usr/sbin").into()]).any(|dir| dir.join(name).is_file());
    if found {
        None
    } else {
        lack(format!("the program {name} is not on the PATH"), format!("install it: apt-get install {package}"))
    }
}

fn nftables() -> Option<Lack> {
    let listed = Command::new("nft").args(["list", "tables"]).output().ok()?;
    if listed.status.success() {
        return None;
    }
    let said = String::from_utf8_lossy(&listed.stderr).trim().to_owned();
    lack(
        format!("nftables does not work here: {said}"),
        "load it with `modprobe nf_tables`, or use a kernel built with CONFIG_NF_TABLES",
    )
}

fn inside_each_other(config: &Config) -> Option<Lack> {
    let (pods, services) = (config.cluster_cidr, config.service_cidr);
    if pods.contains(&services.network()) || services.contains(&pods.network()) {
        return lack(
            format!("the Pod network {pods} and the Service network {services} overlap"),
            "give --cluster-cidr and --service-cidr networks apart from each other",
        );
    }
    None
}

fn port_taken(address: SocketAddr, flag: &str) -> Option<Lack> {
    match TcpListener::bind(address) {
        Ok(_) => None,
        Err(e) => lack(
            format!("cannot listen on {address}: {e}"),
            format!(
                "end what uses it (`ss -ltnp 'sport = :{}'` names it), or choose another with --{flag}",
                address.port()
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let lack = port_taken(taken.local_addr().unwrap(), "port").unwrap().to_string();
        assert!(lack.contains("--port") && lack.contains("in use"), "{lack}");
    }

    #[test]
    fn a_kernel_without_controllers_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let what = cgroups(dir.path()).unwrap().what;
        assert!(what.contains("cpu, memory, pids"), "{what}");
        fs::write(dir.path().join("cgroup.controllers"), "cpu memory").unwrap();
        fs::create_dir(dir.path().join("pids")).unwrap();
        assert_eq!(cgroups(dir.path()), None, "v1, v2 and a mix of them will do");
    }
}
