//! What a group uses, read from its control files.

use std::fs;
use std::path::PathBuf;

use super::{Group, Hierarchies};

/// A reading. What the host does not account is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu_ns: u64,
    pub(crate) memory_bytes: u64,
    /// Memory in use less the file cache that would be given up first.
    pub(crate) working_set_bytes: u64,
    pub(crate) rss_bytes: u64,
    pub(crate) page_faults: u64,
    pub(crate) major_page_faults: u64,
    /// 0 is "no limit".
    pub(crate) memory_limit_bytes: u64,
    pub(crate) swap_bytes: u64,
    /// Nothing is "no limit".
    pub(crate) swap_limit_bytes: Option<u64>,
    pub(crate) processes: u64,
}

/// Version 1's "no limit" is the largest page-aligned number; anything this large is none.
const NO_LIMIT: u64 = 1 << 60;

/// The words in which a version says the same thing.
struct Words {
    memory: &'static str,
    limit: &'static str,
    inactive_file: &'static str,
    rss: &'static str,
    faults: &'static str,
    major_faults: &'static str,
}

const V1: Words = Words {
    memory: "memory.usage_in_bytes",
    limit: "memory.limit_in_bytes",
    inactive_file: "total_inactive_file",
    rss: "total_rss",
    faults: "total_pgfault",
    major_faults: "total_pgmajfault",
};
const V2: Words = Words {
    memory: "memory.current",
    limit: "memory.max",
    inactive_file: "inactive_file",
    rss: "anon",
    faults: "pgfault",
    major_faults: "pgmajfault",
};

pub(super) fn read(group: &Group<'_>) -> Usage {
    let text = |controller: &str, file: &str| {
        let directory: Option<PathBuf> = group.directory(controller);
        directory.and_then(|directory| fs::read_to_string(directory.join(file)).ok()).unwrap_or_default()
    };
    let number = |controller: &str, file: &str| text(controller, file).trim().parse::<u64>().unwrap_or_default();
    let (words, cpu_ns, swap_bytes) = match group.hierarchies {
        Hierarchies::V1(_) => {
            (V1, number("cpuacct", "cpuacct.usage"), flat_value(&text("memory", "memory.stat"), "total_swap"))
        }
        Hierarchies::V2(_) => {
            (V2, flat_value(&text("cpu", "cpu.stat"), "usage_usec") * 1000, number("memory", "memory.swap.current"))
        }
    };
    let stat = text("memory", "memory.stat");
    let memory_bytes = number("memory", words.memory);
    Usage {
        cpu_ns,
        memory_bytes,
        working_set_bytes: memory_bytes.saturating_sub(flat_value(&stat, words.inactive_file)),
        rss_bytes: flat_value(&stat, words.rss),
        page_faults: flat_value(&stat, words.faults),
        major_page_faults: flat_value(&stat, words.major_faults),
        memory_limit_bytes: Some(number("memory", words.limit)).filter(|limit| *limit < NO_LIMIT).unwrap_or_default(),
        swap_bytes,
        swap_limit_bytes: match group.hierarchies {
            // Where memory is bounded, version 1 bounds both together by as much.
            Hierarchies::V1(_) => Some(0),
            Hierarchies::V2(_) => text("memory", "memory.swap.max").trim().parse().ok(),
        },
        processes: number("pids", "pids.current"),
    }
}

/// The number after `key` in a file of `key number` lines; 0 where there is none.
pub(crate) fn flat_value(text: &str, key: &str) -> u64 {
    let value = |line: &str| {
        line.split_once(' ').filter(|(name, _)| *name == key).and_then(|(_, value)| value.trim().parse().ok())
    };
    text.lines().find_map(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_files_are_read_by_whole_keys() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(flat_value(text, "oom_kill"), 3);
        assert_eq!(flat_value(text, "oom"), 0);
    }
}
