//! What the kernel says the server takes.

use std::time::Duration;

use crate::Error;

/// The server's process.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    /// Its id.
    pub(crate) pid: u32,
}

/// Ticks of processor time per second, as Linux tells them to programs.
const TICKS_PER_S: u64 = 100;
const PAGE_BYTES: u64 = 4_096;

impl Server {
    /// Processor time so far, in user space and in the kernel.
    pub(crate) fn cpu(self) -> Result<Duration, Error> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The second field is the program's name, which may hold anything but a closing parenthesis at its end.
        let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no such stat")?.1.split_whitespace().collect();
        let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_S))
    }

    /// Resident memory.
    pub(crate) fn memory_bytes(self) -> Result<u64, Error> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid))?;
        Ok(statm.split(' ').nth(1).ok_or("no such statm")?.parse::<u64>()? * PAGE_BYTES)
    }
}
