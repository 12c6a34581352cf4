//! Tells followers of logs when something happens in a directory: one inotify instance for all of them.
#![allow(unsafe_code, reason = "registering a file descriptor with the reactor")]

use std::{collections::HashMap, io, mem::MaybeUninit, os::fd::OwnedFd, path::Path, sync::Arc};

use parking_lot::Mutex;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::{io::unix::AsyncFd, sync::watch};

/// Room for the events of one read; more wait in the kernel.
const EVENT_BYTES: usize = 4096;

/// The watched directories.
pub(in crate::server) struct Directories {
    notify: AsyncFd<OwnedFd>,
    /// By watch descriptor: one per directory, however many follow it.
    watched: Mutex<HashMap<i32, Directory>>,
}

struct Directory {
    changed: watch::Sender<u64>,
    followers: usize,
}

/// One follower's watch of a directory; it ends when this is dropped.
pub(super) struct Watch {
    directories: Arc<Directories>,
    descriptor: i32,
    changed: watch::Receiver<u64>,
}

impl Directories {
    /// Watches nothing yet.
    pub(in crate::server) fn open() -> io::Result<Self> {
        let notify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // SAFETY: an owned descriptor stays open, and the same, for as long as the `AsyncFd` that owns it.
        let notify = unsafe { AsyncFd::register(notify) }?;
        Ok(Self { notify, watched: Mutex::default() })
    }

    /// Passes the kernel's events on, for ever.
    pub(in crate::server) async fn run(self: Arc<Self>) {
        loop {
            let Ok(mut ready) = self.notify.readable().await else { return };
            let mut buffer = [MaybeUninit::uninit(); EVENT_BYTES];
            let mut reader = inotify::Reader::new(self.notify.get_ref(), &mut buffer);
            // Until the kernel says that there are no more.
            while let Ok(event) = reader.next() {
                let watched = self.watched.lock();
                // A queue that overflowed has lost events of anybody's directory.
                let lost = event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW);
                let told = watched.iter().filter(|(descriptor, _)| lost || **descriptor == event.wd());
                told.for_each(|(_, directory)| directory.changed.send_modify(|count| *count = count.wrapping_add(1)));
            }
            ready.clear_ready();
        }
    }

    /// Watches `path` for files that are written, made, moved or removed in it.
    pub(super) fn watch(self: &Arc<Self>, path: &Path) -> io::Result<Watch> {
        let flags =
            WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        // The lock is held over both, so that the last follower before does not take the watch away in between.
        let mut watched = self.watched.lock();
        let descriptor = inotify::add_watch(&self.notify, path, flags)?;
        let fresh = || Directory { changed: watch::Sender::new(0), followers: 0 };
        let directory = watched.entry(descriptor).or_insert_with(fresh);
        directory.followers += 1;
        Ok(Watch { directories: self.clone(), descriptor, changed: directory.changed.subscribe() })
    }
}

impl Watch {
    /// Returns when something happened since the last return, or since the watch began.
    pub(super) async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.directories.watched.lock();
        let Some(directory) = watched.get_mut(&self.descriptor) else { return };
        directory.followers -= 1;
        if directory.followers == 0 {
            watched.remove(&self.descriptor);
            // The directory itself may be gone, and its watch with it.
            let _ = inotify::remove_watch(&self.directories.notify, self.descriptor);
        }
    }
}
