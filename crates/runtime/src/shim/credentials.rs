//! Who a container's process is: user, groups, capabilities, limits, filter. Applied last, just before its
//! program; but for the profile, see [`confine`].

use std::io;

use oci_spec::runtime::{Capabilities, LinuxCapabilities, PosixRlimit, PosixRlimitType, Process, User};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use super::rootfs::Result;
use crate::kernel;

/// Capabilities are numbered without gaps; the kernel says which is the last.
const LAST_CAPABILITY: &str = "/proc/sys/kernel/cap_last_cap";
const LAST_KNOWN_CAPABILITY: u32 = 40;

/// Keeps other processes from looking into this one, which still holds the node's descriptors and root.
pub(super) fn hide() -> Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| format!("hiding the process: {error}"))
}

/// The highest capability of this kernel; read while the node's `/proc` is in sight.
pub(super) fn last_capability() -> u32 {
    let text = std::fs::read_to_string(LAST_CAPABILITY).unwrap_or_default();
    text.trim().parse().unwrap_or(LAST_KNOWN_CAPABILITY)
}

/// Sets the resource limits of `process`.
pub(super) fn limit(process: &Process) -> Result<()> {
    for limit in process.rlimits().iter().flatten() {
        apply_limit(limit).map_err(|error| format!("setting {}: {error}", limit.typ()))?;
    }
    Ok(())
}

/// Becomes the user of `process`, with its capabilities, and under `filter`.
pub(super) fn apply(process: &Process, last_capability: u32, filter: Option<&[libc::sock_filter]>) -> Result<()> {
    let none = LinuxCapabilities::default();
    let capabilities = process.capabilities().as_ref().unwrap_or(&none);
    let no_new_privileges = process.no_new_privileges().unwrap_or(false);
    drop_bounding(capabilities, last_capability).map_err(|error| format!("dropping capabilities: {error}"))?;
    // Without the promise not to gain privileges, the kernel takes a filter from a privileged process only.
    if !no_new_privileges {
        install(filter)?;
    }
    become_user(process.user()).map_err(|error| format!("becoming user {}: {error}", process.user().uid()))?;
    keep(capabilities).map_err(|error| format!("setting capabilities: {error}"))?;
    if no_new_privileges {
        set_no_new_privs(true).map_err(|error| format!("giving up new privileges: {error}"))?;
        install(filter)?;
    }
    Ok(())
}

/// Has the next program that this process, or a child of it, runs confined by the AppArmor profile that `process` names.
/// For this the node's `/proc` has to be in sight: what is there in a container may only look like it.
pub(super) fn confine(process: &Process) -> Result<()> {
    let Some(profile) = process.apparmor_profile() else { return Ok(()) };
    // Where several modules share the place, each has a directory of its own.
    let write = |file| std::fs::write(file, format!("exec {profile}"));
    write("/proc/self/attr/apparmor/exec")
        .or_else(|_| write("/proc/self/attr/exec"))
        .map_err(|error| format!("applying AppArmor profile {profile:?}: {error}"))
}

fn install(filter: Option<&[libc::sock_filter]>) -> Result<()> {
    let Some(filter) = filter else { return Ok(()) };
    kernel::install_seccomp(filter, 0).map_err(|error| format!("installing the system call filter: {error}"))
}

fn drop_bounding(capabilities: &LinuxCapabilities, last: u32) -> rustix::io::Result<()> {
    let bounding = bits(capabilities.bounding().as_ref());
    for number in 0..=last {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if !bounding.contains(one) {
            remove_capability_from_bounding_set(one)?;
        }
    }
    Ok(())
}

fn become_user(user: &User) -> io::Result<()> {
    set_keep_capabilities(true)?;
    let groups: Vec<_> = user.additional_gids().iter().flatten().map(|gid| Gid::from_raw(*gid)).collect();
    set_thread_groups(&groups)?;
    let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    set_keep_capabilities(false)?;
    Ok(())
}

fn keep(capabilities: &LinuxCapabilities) -> rustix::io::Result<()> {
    clear_ambient_capability_set()?;
    // Nobody can keep what sampan itself was not given.
    let own = rustix::thread::capabilities(None)?.permitted;
    set_capabilities(
        None,
        CapabilitySets {
            effective: bits(capabilities.effective().as_ref()) & own,
            permitted: bits(capabilities.permitted().as_ref()) & own,
            inheritable: bits(capabilities.inheritable().as_ref()) & own,
        },
    )?;
    for one in (bits(capabilities.ambient().as_ref()) & own).iter() {
        configure_capability_in_ambient_set(one, true)?;
    }
    Ok(())
}

/// Names to bits. Names this kernel does not know are dropped by it.
fn bits(capabilities: Option<&Capabilities>) -> CapabilitySet {
    let flag = |name: String| CapabilitySet::from_name(&name);
    capabilities.into_iter().flatten().filter_map(|capability| flag(capability.to_string())).collect()
}

fn apply_limit(limit: &PosixRlimit) -> io::Result<()> {
    use PosixRlimitType as Kind;
    let resource = match limit.typ() {
        Kind::RlimitCpu => Resource::Cpu,
        Kind::RlimitFsize => Resource::Fsize,
        Kind::RlimitData => Resource::Data,
        Kind::RlimitStack => Resource::Stack,
        Kind::RlimitCore => Resource::Core,
        Kind::RlimitRss => Resource::Rss,
        Kind::RlimitNproc => Resource::Nproc,
        Kind::RlimitNofile => Resource::Nofile,
        Kind::RlimitMemlock => Resource::Memlock,
        Kind::RlimitAs => Resource::As,
        Kind::RlimitLocks => Resource::Locks,
        Kind::RlimitSigpending => Resource::Sigpending,
        Kind::RlimitMsgqueue => Resource::Msgqueue,
        Kind::RlimitNice => Resource::Nice,
        Kind::RlimitRtprio => Resource::Rtprio,
        Kind::RlimitRttime => Resource::Rttime,
    };
    let value = |value: u64| (value != u64::MAX).then_some(value);
    Ok(setrlimit(resource, Rlimit { current: value(limit.soft()), maximum: value(limit.hard()) })?)
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Capability;

    use super::*;

    #[test]
    fn capability_names_become_bits() {
        let set = [Capability::Chown, Capability::SysAdmin, Capability::NetBindService].into_iter().collect();
        let want = CapabilitySet::CHOWN | CapabilitySet::SYS_ADMIN | CapabilitySet::NET_BIND_SERVICE;
        assert_eq!(bits(Some(&set)), want);
        assert_eq!(bits(None), CapabilitySet::empty());
    }
}
