//! A directory that is watched: the kernel tells when something in it changes.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

use crate::Error;

/// The watch on one directory.
pub(crate) struct Watch {
    directory: PathBuf,
    notify: AsyncFd<OwnedFd>,
}

impl Watch {
    /// Watches `directory` for `changes` from now on.
    pub(crate) fn of(directory: &Path, changes: WatchFlags) -> Result<Self, Error> {
        let notify = notify(directory, changes).map_err(Error::io("watching", directory))?;
        Ok(Self { directory: directory.to_path_buf(), notify })
    }

    /// Waits until the kernel tells of a change, and takes all that it tells.
    pub(crate) async fn changed(&self) -> Result<(), Error> {
        let mut ready = self.notify.readable().await.map_err(Error::io("watching", &self.directory))?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.notify.get_ref(), &mut buffer);
        while reader.next().is_ok() {}
        ready.clear_ready();
        Ok(())
    }
}

#[expect(
    deprecated,
    reason = "an OwnedFd stays open while it is registered, which is all that the unsafe successor asks"
)]
fn notify(directory: &Path, changes: WatchFlags) -> std::io::Result<AsyncFd<OwnedFd>> {
    let notify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    inotify::add_watch(&notify, directory, changes)?;
    AsyncFd::new(notify)
}
