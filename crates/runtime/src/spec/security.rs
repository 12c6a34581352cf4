//! Capabilities, system call policy and devices.

use oci_spec::runtime::{Capabilities, Capability, LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType, LinuxSeccomp};
use sampan_cri::v1::LinuxContainerSecurityContext;
use sampan_cri::v1::security_profile::ProfileType;

use super::{Error, Inputs, security_context};
use crate::seccomp::default_policy;

/// Character devices every program expects, by their numbers.
const EXPECTED_DEVICES: [(&str, (i64, i64)); 6] =
    [("null", (1, 3)), ("zero", (1, 5)), ("full", (1, 7)), ("random", (1, 8)), ("urandom", (1, 9)), ("tty", (5, 0))];

/// What a container has unless it says otherwise.
const DEFAULT: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

const ALL: [Capability; 41] = [
    Capability::AuditControl,
    Capability::AuditRead,
    Capability::AuditWrite,
    Capability::BlockSuspend,
    Capability::Bpf,
    Capability::CheckpointRestore,
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::Kill,
    Capability::Lease,
    Capability::LinuxImmutable,
    Capability::MacAdmin,
    Capability::MacOverride,
    Capability::Mknod,
    Capability::NetAdmin,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetRaw,
    Capability::Perfmon,
    Capability::Setgid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysChroot,
    Capability::SysModule,
    Capability::SysNice,
    Capability::SysPacct,
    Capability::SysPtrace,
    Capability::SysRawio,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Syslog,
    Capability::WakeAlarm,
];

/// The bounding set: the default, or all for the privileged, with what is dropped and then what is added.
pub(super) fn capabilities(security: &LinuxContainerSecurityContext) -> Result<Capabilities, Error> {
    if security.privileged {
        return Ok(ALL.into_iter().collect());
    }
    let changes = security.capabilities.clone().unwrap_or_default();
    let says_all = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
    let mut set: Capabilities = match (says_all(&changes.add_capabilities), says_all(&changes.drop_capabilities)) {
        (true, _) => ALL.into_iter().collect(),
        (false, true) => Capabilities::new(),
        (false, false) => DEFAULT.into_iter().collect(),
    };
    for capability in named(&changes.drop_capabilities)? {
        set.remove(&capability);
    }
    set.extend(named(&changes.add_capabilities)?);
    Ok(set)
}

/// What survives becoming another user.
pub(super) fn ambient(security: &LinuxContainerSecurityContext) -> Result<Capabilities, Error> {
    let names = security.capabilities.as_ref().map(|changes| &changes.add_ambient_capabilities[..]);
    Ok(named(names.unwrap_or_default())?.into_iter().collect())
}

fn named(names: &[String]) -> Result<Vec<Capability>, Error> {
    let names = names.iter().filter(|name| !name.eq_ignore_ascii_case("ALL"));
    let parse = |name: &String| {
        let upper = name.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        ALL.into_iter().find(|known| known.to_string() == short).ok_or_else(|| Error::Capability(name.clone()))
    };
    names.map(parse).collect()
}

/// The policy of a container with these capabilities; none for one that is privileged or asked for none.
pub(super) fn seccomp(inputs: &Inputs<'_>, capabilities: &Capabilities) -> Option<LinuxSeccomp> {
    let security = security_context(inputs.config);
    if security.privileged {
        return None;
    }
    match security.seccomp.as_ref().map_or(ProfileType::Unconfined, |profile| profile.profile_type()) {
        ProfileType::RuntimeDefault => Some(default_policy(capabilities)),
        ProfileType::Unconfined => None,
        ProfileType::Localhost => inputs.seccomp_file.clone(),
    }
}

/// The nodes in `/dev`: what every program expects, and what was asked for.
pub(super) fn devices(asked: &[(LinuxDevice, String)]) -> Vec<LinuxDevice> {
    let expected = |(name, minors): (&str, (i64, i64))| {
        let device = LinuxDeviceBuilder::default().path(format!("/dev/{name}")).typ(LinuxDeviceType::C);
        let device = device.major(minors.0).minor(minors.1).file_mode(0o666_u32);
        device.build().expect("invariant: a device has a path, a type and numbers")
    };
    let mut devices: Vec<_> = EXPECTED_DEVICES.into_iter().map(expected).collect();
    for (device, _) in asked {
        devices.retain(|known| known.path() != device.path());
        devices.push(device.clone());
    }
    devices
}
