//! The kernel killed a process because the whole machine was out of memory: an event of the node, as upstream tells it.
//! What a container's own limit kills is that container's affair.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Node;

/// The kernel's log; each read gives one record.
const FILE: &str = "/dev/kmsg";
/// The longest record.
const RECORD_BYTES: usize = 8192;

/// A process that was killed.
#[derive(Debug, PartialEq, Eq)]
struct Victim<'t> {
    name: &'t str,
    pid: u32,
}

/// Tells of kills for as long as it is let.
pub(crate) async fn tell_of_ooms(node: Arc<Node>) {
    let log = match open(Path::new(FILE)) {
        Ok(log) => log,
        Err(error) => {
            return tracing::info!(%error, "the kernel's log cannot be read: no events of a machine out of memory");
        }
    };
    let mut record = [0; RECORD_BYTES];
    loop {
        let Ok(mut ready) = log.readable().await else { return };
        match ready.try_io(|log| log.get_ref().read(&mut record)) {
            Ok(Ok(length)) => {
                let text = String::from_utf8_lossy(&record[..length]);
                if let Some(Victim { name, pid }) = victim(&text) {
                    let message = format!("System OOM encountered, victim process: {name}, pid: {pid}");
                    node.recorder.warning(&node.reference(), "SystemOOM", message);
                }
            }
            // Records were lost (EPIPE): the next read goes on with the oldest one there is.
            Ok(Err(error)) if error.raw_os_error() == Some(nix::libc::EPIPE) => {}
            Ok(Err(_)) => return,
            Err(_) => {}
        }
    }
}

/// The log from now on.
#[expect(deprecated, reason = "a File stays open while it is registered, which is all that the unsafe successor asks")]
fn open(path: &Path) -> std::io::Result<AsyncFd<std::fs::File>> {
    let mut file = std::fs::File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    file.seek(SeekFrom::End(0))?;
    AsyncFd::with_interest(file, Interest::READABLE)
}

/// The victim, if the record is about a machine that is out of memory:
/// `6,1,2,-;oom-kill:constraint=...,global_oom,task_memcg=/a,task=name,pid=1,uid=0`
fn victim(record: &str) -> Option<Victim<'_>> {
    let (_, message) = record.split_once(';')?;
    let facts = message.lines().next()?.strip_prefix("oom-kill:")?;
    let fact = |name: &str| facts.split(',').find_map(|fact| fact.strip_prefix(name)?.strip_prefix('='));
    if !facts.split(',').any(|fact| fact == "global_oom") {
        return None;
    }
    Some(Victim { name: fact("task")?, pid: fact("pid")?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_machine_counts() {
        let of = |scope: &str| {
            format!(
                "6,907,5149,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,{scope},task_memcg=/a,task=stress,pid=42,uid=0\n SUBSYSTEM=x"
            )
        };
        assert_eq!(victim(&of("global_oom")), Some(Victim { name: "stress", pid: 42 }));
        assert_eq!(victim(&of("oom_memcg=/kubepods/pod1")), None);
        assert_eq!(victim("6,1,2,-;Out of memory: Killed process 42 (stress)"), None);
    }

    #[tokio::test]
    async fn the_kernels_log_can_be_read() {
        // Not every machine that tests run on lets its log be read.
        if std::fs::File::open(FILE).is_ok() {
            open(Path::new(FILE)).unwrap();
        }
    }
}
