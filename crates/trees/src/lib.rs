//! Trees of directories that containers have filled: how large they are, and their end.
//!
//! Whoever fills a tree may nest directories as deeply as the disk allows, far beyond the longest path there is, and may
//! put links anywhere. So nothing here recurses, nothing goes by long paths, and no link is followed: a tree of any depth
//! takes a handful of open files and a bounded stack. Reading and deleting block; callers are threads that may.

mod measure;
mod remove;

pub use measure::Tree;
pub use remove::{remove, remove_at};

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::path::Arg;

/// Opens a directory to be read; a link to one is none.
fn open(parent: impl AsFd, name: impl Arg) -> rustix::io::Result<OwnedFd> {
    openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Whether a directory's entry is the directory itself or the one above.
fn is_dots(name: &std::ffi::CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory in a directory, so often; returns the innermost.
    pub(crate) fn nest(top: &std::path::Path, depth: usize) -> OwnedFd {
        let mut inner = open(rustix::fs::CWD, top).unwrap();
        for _ in 0..depth {
            rustix::fs::mkdirat(&inner, "d", Mode::RWXU).unwrap();
            inner = open(&inner, "d").unwrap();
        }
        inner
    }

    /// A thread with as small a stack as any that this runs on.
    pub(crate) fn on_a_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::Builder::new().stack_size(64 * 1024).spawn(work).unwrap().join().unwrap()
    }
}
