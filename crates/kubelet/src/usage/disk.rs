//! Space and inodes of whole file systems, as the kernel counts them.

use std::path::Path;

use crate::Error;

/// A file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) capacity_bytes: u64,
    pub(crate) available_bytes: u64,
    pub(crate) inodes: u64,
    pub(crate) inodes_free: u64,
}

impl Space {
    /// The file system that `path` is on.
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let disk = rustix::fs::statvfs(path).map_err(Error::io("reading the space of", path))?;
        Ok(Self {
            capacity_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
            available_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
            inodes: disk.f_files,
            inodes_free: disk.f_favail,
        })
    }
}
