//! The namespaces of a Pod: the shim moves into new ones, and everything it starts is born there.

use nix::sched::{CloneFlags, unshare};

use super::users::UserSpace;
use super::wire::Setup;

/// Moves the calling process into the namespaces that `setup` asks for, and sets them up. The Pod's user namespace, if it
/// has one, owns them.
pub(super) fn enter(setup: &Setup) -> Result<Option<UserSpace>, String> {
    let mut flags = CloneFlags::empty();
    flags.set(CloneFlags::CLONE_NEWNET, setup.new_network);
    flags.set(CloneFlags::CLONE_NEWIPC, setup.new_ipc);
    flags.set(CloneFlags::CLONE_NEWUTS, setup.new_uts);
    let users = match setup.users {
        Some(users) => Some(UserSpace::make(users, flags.bits())?),
        None => {
            unshare(flags).map_err(|error| format!("making the Pod's namespaces: {error}"))?;
            None
        }
    };
    if setup.new_uts && !setup.hostname.is_empty() {
        rustix::system::sethostname(setup.hostname.as_bytes())
            .map_err(|error| format!("setting the host name {:?}: {error}", setup.hostname))?;
    }
    setup.sysctls.iter().try_for_each(|(name, value)| set(setup, name, value))?;
    Ok(users)
}

/// Sets a parameter, if it is one that belongs to a namespace of this Pod's own.
fn set(setup: &Setup, name: &str, value: &str) -> Result<(), String> {
    if !is_own(setup, name) {
        return Err(format!("sysctl {name:?} is not in a namespace of the Pod's own: it would change the node"));
    }
    let path = std::path::Path::new("/proc/sys").join(path(name));
    std::fs::write(&path, value).map_err(|error| format!("setting sysctl {name:?} to {value:?}: {error}"))
}

/// Dots separate, or slashes do, and then a dot is a part of a name (`net/ipv4/conf/eth0.1/...`).
fn path(name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { name.replace('.', "/") }
}

fn is_own(setup: &Setup, name: &str) -> bool {
    const IPC: [&str; 8] = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];
    let path = path(name);
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return false;
    }
    match path.split_once('/') {
        Some(("net", _)) => setup.new_network,
        Some(("kernel", rest)) => setup.new_ipc && IPC.contains(&rest),
        Some(("fs", rest)) => setup.new_ipc && rest.starts_with("mqueue/"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parameters_of_own_namespaces() {
        let own = Setup { new_network: true, new_ipc: true, ..Setup::default() };
        let check = |setup: &Setup, name: &str, want: bool| assert_eq!(is_own(setup, name), want, "{name}");
        check(&own, "net.ipv4.tcp_syncookies", true);
        check(&own, "net/ipv4/conf/eth0.1/forwarding", true);
        check(&own, "kernel.shm_rmid_forced", true);
        check(&own, "fs.mqueue.msg_max", true);
        check(&own, "kernel.core_pattern", false);
        check(&own, "vm.swappiness", false);
        check(&own, "net/../kernel/core_pattern", false);
        check(&own, "net..kernel.core_pattern", false);
        check(&Setup::default(), "net.ipv4.tcp_syncookies", false);
    }
}
