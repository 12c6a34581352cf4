//! The whole machine.

use procfs::{Current, CurrentSI, KernelStats, Meminfo};
use sampan_cri::v1::PsiStats;

use super::{Pressure, Usage};
use crate::Error;
use crate::node::process_ids;

/// The whole machine, since it was started.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeUsage {
    pub(crate) usage: Usage,
    /// When it was started, in seconds since 1970.
    pub(crate) started_s: u64,
    /// Process ids: how many there can be, and how many are taken.
    pub(crate) pids: Option<(i64, i64)>,
}

impl NodeUsage {
    /// Reads it from `/proc`.
    pub(super) fn read() -> Result<Self, Error> {
        let wrong = |what| move |error: procfs::ProcError| Error::Config(format!("reading {what}: {error}"));
        let memory = Meminfo::current().map_err(wrong("/proc/meminfo"))?;
        let stats = KernelStats::current().map_err(wrong("/proc/stat"))?;
        let cpu = &stats.total;
        let busy_ticks = cpu.user + cpu.nice + cpu.system + cpu.irq.unwrap_or(0) + cpu.softirq.unwrap_or(0);
        let available = memory.mem_available.unwrap_or(memory.mem_free);
        let usage = Usage {
            time_ns: i64::try_from(sampan_clock::now().as_nanosecond()).unwrap_or(i64::MAX),
            cpu_ns: Some(busy_ticks.saturating_mul(1_000_000_000 / procfs::ticks_per_second())),
            working_set_bytes: Some(memory.mem_total.saturating_sub(available)),
            memory_bytes: Some(memory.mem_total.saturating_sub(memory.mem_free)),
            rss_bytes: memory.anon_pages,
            available_bytes: Some(available),
            swap_bytes: Some(memory.swap_total.saturating_sub(memory.swap_free)),
            swap_available_bytes: Some(memory.swap_free),
            pressure: Pressure { cpu: pressure("cpu"), memory: pressure("memory"), io: pressure("io") },
            ..Usage::default()
        };
        Ok(Self { usage, started_s: stats.btime, pids: process_ids() })
    }
}

/// Nothing where the kernel does not tell.
fn pressure(resource: &str) -> Option<PsiStats> {
    PsiStats::parse(&std::fs::read_to_string(format!("/proc/pressure/{resource}")).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_has_memory_and_has_used_cpu() {
        let node = NodeUsage::read().expect("proc");
        assert!(node.usage.working_set_bytes > Some(0) && node.usage.cpu_ns > Some(0), "{node:?}");
        assert!(node.started_s > 0 && node.pids.is_some_and(|(most, used)| most > used && used > 0), "{node:?}");
    }
}
