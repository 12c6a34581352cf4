//! What the process takes, by what the kernel says of it, under the names that every Prometheus client library uses.

use super::text::{Form, Text};

/// Ticks of processor time per second, as Linux tells them to programs.
const TICKS_PER_S: f64 = 100.0;
const PAGE_BYTES: u64 = 4096;

/// Writes what can be known.
pub(super) fn write(text: &mut Text) {
    let Some(seen) = read() else { return };
    text.single(
        Form::Counter,
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        seen.cpu_ticks as f64 / TICKS_PER_S,
    );
    if let Some(limit) = max_fds() {
        text.single(Form::Gauge, "process_max_fds", "Maximum number of open file descriptors.", limit);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        text.single(Form::Gauge, "process_open_fds", "Number of open file descriptors.", open.count());
    }
    let memory = [
        ("process_resident_memory_bytes", "Resident memory size in bytes.", seen.resident_pages * PAGE_BYTES),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", seen.virtual_bytes),
    ];
    for (name, help, bytes) in memory {
        text.single(Form::Gauge, name, help, bytes);
    }
    if let Some(booted_s) = booted_s() {
        let started_s = booted_s + seen.started_ticks as f64 / TICKS_PER_S;
        let help = "Start time of the process since unix epoch in seconds.";
        text.single(Form::Gauge, "process_start_time_seconds", help, started_s);
    }
}

/// Fields of `/proc/self/stat`.
struct Stat {
    cpu_ticks: u64,
    started_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

fn read() -> Option<Stat> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name, which may hold anything but a closing parenthesis at its end.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        cpu_ticks: field(11)? + field(12)?,
        started_ticks: field(19)?,
        virtual_bytes: field(20)?,
        resident_pages: field(21)?,
    })
}

fn max_fds() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok())
}

fn booted_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}
