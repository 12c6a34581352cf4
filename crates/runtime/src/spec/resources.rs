//! Limits: CRI's numbers as OCI's, and which devices may be used.

use oci_spec::runtime::{
    LinuxCpuBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxHugepageLimitBuilder,
    LinuxMemoryBuilder, LinuxResources, LinuxResourcesBuilder,
};
use sampan_cri::v1::LinuxContainerResources;

use super::{Inputs, security_context};

/// Devices every container may use, made here or by the kernel: null, zero, full, random, urandom, tty, console, the
/// terminal multiplexer, terminals, tun. Any device may be *made*, not opened.
const ALLOWED: [(LinuxDeviceType, i64, i64, &str); 12] = [
    (LinuxDeviceType::C, -1, -1, "m"),
    (LinuxDeviceType::B, -1, -1, "m"),
    (LinuxDeviceType::C, 1, 3, "rwm"),
    (LinuxDeviceType::C, 1, 5, "rwm"),
    (LinuxDeviceType::C, 1, 7, "rwm"),
    (LinuxDeviceType::C, 1, 8, "rwm"),
    (LinuxDeviceType::C, 1, 9, "rwm"),
    (LinuxDeviceType::C, 5, 0, "rwm"),
    (LinuxDeviceType::C, 5, 1, "rwm"),
    (LinuxDeviceType::C, 5, 2, "rwm"),
    (LinuxDeviceType::C, 136, -1, "rwm"),
    (LinuxDeviceType::C, 10, 200, "rwm"),
];

pub(super) fn of(inputs: &Inputs<'_>) -> LinuxResources {
    let asked = inputs.config.linux.as_ref().and_then(|linux| linux.resources.clone()).unwrap_or_default();
    let mut resources = limits(&asked);
    let rules = if security_context(inputs.config).privileged {
        vec![rule(true, (LinuxDeviceType::A, -1, -1, "rwm"))]
    } else {
        let asked =
            inputs.devices.iter().map(|(device, rights)| (device.typ(), device.major(), device.minor(), &rights[..]));
        let allowed = ALLOWED.into_iter().chain(asked).map(|device| rule(true, device));
        std::iter::once(rule(false, (LinuxDeviceType::A, -1, -1, "rwm"))).chain(allowed).collect()
    };
    resources.set_devices(Some(rules));
    resources
}

/// The limits that `asked` sets; 0 sets none.
pub(crate) fn limits(asked: &LinuxContainerResources) -> LinuxResources {
    let mut cpu = LinuxCpuBuilder::default();
    if let Some(shares) = positive(asked.cpu_shares) {
        cpu = cpu.shares(shares as u64);
    }
    if let Some(period) = positive(asked.cpu_period) {
        cpu = cpu.period(period as u64);
    }
    if asked.cpu_quota != 0 {
        cpu = cpu.quota(asked.cpu_quota);
    }
    if !asked.cpuset_cpus.is_empty() {
        cpu = cpu.cpus(&asked.cpuset_cpus);
    }
    if !asked.cpuset_mems.is_empty() {
        cpu = cpu.mems(&asked.cpuset_mems);
    }
    let mut memory = LinuxMemoryBuilder::default();
    if let Some(limit) = positive(asked.memory_limit_in_bytes) {
        // Without a word about swap a container gets none: its limit is then what it says.
        let swap = positive(asked.memory_swap_limit_in_bytes).unwrap_or(limit);
        memory = memory.limit(limit).swap(swap);
    }
    let pages = asked.hugepage_limits.iter().map(|page| {
        let limit = LinuxHugepageLimitBuilder::default().page_size(&page.page_size).limit(page.limit as i64);
        limit.build().expect("invariant: a huge page limit has both its fields")
    });
    LinuxResourcesBuilder::default()
        .cpu(cpu.build().expect("invariant: no CPU limit is required"))
        .memory(memory.build().expect("invariant: no memory limit is required"))
        .hugepage_limits(pages.collect::<Vec<_>>())
        .unified(asked.unified.clone())
        .devices(Vec::new())
        .build()
        .expect("invariant: no resource is required")
}

/// `known` with what `update` sets: an update names only what it changes.
pub(crate) fn merged(known: &LinuxContainerResources, update: &LinuxContainerResources) -> LinuxContainerResources {
    let number = |known: i64, update: i64| if update == 0 { known } else { update };
    let text = |known: &String, update: &String| if update.is_empty() { known.clone() } else { update.clone() };
    let mut unified = known.unified.clone();
    unified.extend(update.unified.clone());
    let pages = if update.hugepage_limits.is_empty() { &known.hugepage_limits } else { &update.hugepage_limits };
    LinuxContainerResources {
        cpu_period: number(known.cpu_period, update.cpu_period),
        cpu_quota: number(known.cpu_quota, update.cpu_quota),
        cpu_shares: number(known.cpu_shares, update.cpu_shares),
        memory_limit_in_bytes: number(known.memory_limit_in_bytes, update.memory_limit_in_bytes),
        oom_score_adj: number(known.oom_score_adj, update.oom_score_adj),
        cpuset_cpus: text(&known.cpuset_cpus, &update.cpuset_cpus),
        cpuset_mems: text(&known.cpuset_mems, &update.cpuset_mems),
        hugepage_limits: pages.clone(),
        unified,
        memory_swap_limit_in_bytes: number(known.memory_swap_limit_in_bytes, update.memory_swap_limit_in_bytes),
    }
}

fn rule(allow: bool, (kind, major, minor, access): (LinuxDeviceType, i64, i64, &str)) -> LinuxDeviceCgroup {
    let rule = LinuxDeviceCgroupBuilder::default().allow(allow).typ(kind).major(major).minor(minor).access(access);
    rule.build().expect("invariant: every field of a device rule is set")
}

fn positive(number: i64) -> Option<i64> {
    Some(number).filter(|number| *number > 0)
}
