//! The default profile: which calls a container may make, as the published default of the common runtimes has it.
//!
//! Most calls are allowed to everybody; some come with a capability, some only with harmless arguments, and all
//! others fail with EPERM (`clone3` with ENOSYS, so that C libraries fall back to `clone`, whose flags a filter can see).

use oci_spec::runtime::{
    Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompBuilder, LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

use super::syscalls;

/// `clone` flags that make namespaces: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACE_FLAGS: u64 = 0x7E02_0000;
const NAMESPACE_FLAGS_ARGUMENT: usize = if cfg!(target_arch = "s390x") { 1 } else { 0 };
/// Execution domains: Linux, 32-bit Linux, either with UNAME26, and "tell me".
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

/// What each capability adds.
const WITH_CAPABILITY: &[(Capability, &[&str])] = &[
    (Capability::DacReadSearch, &["open_by_handle_at"]),
    (
        Capability::SysAdmin,
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount2",
            "unshare",
        ],
    ),
    (Capability::SysBoot, &["reboot"]),
    (Capability::SysChroot, &["chroot"]),
    (Capability::SysModule, &["delete_module", "init_module", "finit_module"]),
    (Capability::SysPacct, &["acct"]),
    (Capability::SysPtrace, &["kcmp", "pidfd_getfd", "process_madvise"]),
    (Capability::SysRawio, &["iopl", "ioperm"]),
    (Capability::SysTime, &["settimeofday", "clock_settime"]),
    (Capability::SysTtyConfig, &["vhangup"]),
    (Capability::SysNice, &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    (Capability::Syslog, &["syslog"]),
    (Capability::Bpf, &["bpf"]),
    (Capability::Perfmon, &["perf_event_open"]),
];

/// The default profile for a container whose bounding set is `capabilities`.
pub(crate) fn default_policy(capabilities: &Capabilities) -> LinuxSeccomp {
    let mut rules = vec![
        allow(syscalls::ALLOWED.iter().copied(), None),
        allow(["socket"], Some(condition(0, LinuxSeccompOperator::ScmpCmpNe, libc::AF_VSOCK as u64, None))),
    ];
    let personality = |value| Some(condition(0, LinuxSeccompOperator::ScmpCmpEq, value, None));
    rules.extend(PERSONALITIES.iter().map(|value| allow(["personality"], personality(*value))));
    for (_, names) in WITH_CAPABILITY.iter().filter(|(capability, _)| capabilities.contains(capability)) {
        rules.push(allow(names.iter().copied(), None));
    }
    if !capabilities.contains(&Capability::SysAdmin) {
        let harmless =
            condition(NAMESPACE_FLAGS_ARGUMENT, LinuxSeccompOperator::ScmpCmpMaskedEq, NAMESPACE_FLAGS, Some(0));
        rules.push(allow(["clone"], Some(harmless)));
        rules.push(rule(["clone3"], LinuxSeccompAction::ScmpActErrno, Some(libc::ENOSYS as u32), None));
    }
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(libc::EPERM as u32)
        .syscalls(rules)
        .build()
        .expect("invariant: every required field of a seccomp policy is set above")
}

fn allow<'a>(names: impl IntoIterator<Item = &'a str>, only_if: Option<LinuxSeccompArg>) -> LinuxSyscall {
    rule(names, LinuxSeccompAction::ScmpActAllow, None, only_if)
}

fn rule<'a>(
    names: impl IntoIterator<Item = &'a str>,
    action: LinuxSeccompAction,
    errno: Option<u32>,
    only_if: Option<LinuxSeccompArg>,
) -> LinuxSyscall {
    let mut rule = LinuxSyscallBuilder::default()
        .names(names.into_iter().map(str::to_owned).collect::<Vec<_>>())
        .action(action)
        .args(only_if.into_iter().collect::<Vec<_>>());
    if let Some(errno) = errno {
        rule = rule.errno_ret(errno);
    }
    rule.build().expect("invariant: every required field of a seccomp rule is set above")
}

fn condition(index: usize, op: LinuxSeccompOperator, value: u64, two: Option<u64>) -> LinuxSeccompArg {
    let mut arg = LinuxSeccompArgBuilder::default().index(index).op(op).value(value);
    if let Some(two) = two {
        arg = arg.value_two(two);
    }
    arg.build().expect("invariant: every required field of a seccomp condition is set above")
}
