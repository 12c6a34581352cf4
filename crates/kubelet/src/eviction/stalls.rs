//! The kernel's own word that memory is short: processes stall while it looks for some (PSI). Where it does not give it,
//! only the timer is left.

use std::fs::File;
use std::io::Write;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The file of stalls for want of memory.
const FILE: &str = "/proc/pressure/memory";
/// Somebody waits 200 ms within two seconds: the shortest time that the kernel lets everybody choose.
const TRIGGER: &[u8] = b"some 200000 2000000\0";

/// Tells of stalls.
pub(super) struct Stalls(Option<AsyncFd<File>>);

impl Stalls {
    /// Asks the kernel to tell from now on.
    #[expect(
        deprecated,
        reason = "a File stays open while it is registered, which is all that the unsafe successor asks"
    )]
    pub(super) fn watch() -> Self {
        let open = || -> std::io::Result<AsyncFd<File>> {
            let mut file = File::options().read(true).write(true).open(FILE)?;
            file.write_all(TRIGGER)?;
            AsyncFd::with_interest(file, Interest::PRIORITY)
        };
        let watched = open();
        if let Err(error) = &watched {
            tracing::info!(%error, "the kernel does not tell of stalls of memory; it is looked at by time only");
        }
        Self(watched.ok())
    }

    /// Waits for the next stall.
    pub(super) async fn next(&self) {
        let Some(file) = &self.0 else { return std::future::pending().await };
        match file.ready(Interest::PRIORITY).await {
            Ok(mut ready) => ready.clear_ready(),
            Err(_) => std::future::pending().await,
        }
    }
}
