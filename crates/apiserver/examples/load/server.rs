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
/// Memory has settled when it is the same after so long,
const PAUSE: Duration = Duration::from_secs(1);
/// which is waited for no more often than this.
const PAUSES: usize = 20;

impl Server {
    /// Processor time so far, in user space and in the kernel.
    pub(crate) fn cpu(self) -> Result<Duration, Error> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The second field is the program's name, which may hold anything but a closing parenthesis at its end.
        let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no such stat")?.1.split_whitespace().collect();
        let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_S))
    }

    /// Memory, of what it shares with others its share (PSS).
    pub(crate) fn memory_bytes(self) -> Result<u64, Error> {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid))?;
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB"));
        Ok(pss.ok_or("no such smaps_rollup")?.trim().parse::<u64>()? * 1_024)
    }

    /// The same once the server is done with what it was asked.
    pub(crate) async fn settled_memory_bytes(self) -> Result<u64, Error> {
        let mut last = self.memory_bytes()?;
        for _ in 0..PAUSES {
            tokio::time::sleep(PAUSE).await;
            let now = self.memory_bytes()?;
            if now == last {
                break;
            }
            last = now;
        }
        Ok(last)
    }
}
