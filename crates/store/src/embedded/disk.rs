//! The seam between the engine and the disk: one directory of flat files.
//!
//! Everything the engine does to a disk passes here, so that tests can tear writes, fill the disk, fail a sync and
//! lose what was not synced. No buffering and no retry: callers decide what an error means.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::Error;

/// A directory of files. Changes to its names last only after [`Disk::sync`].
pub(super) trait Disk: Send + Sync + 'static {
    /// Where `name` is, for messages.
    fn path(&self, name: &str) -> PathBuf;
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// An empty file, replacing one of that name.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;
    /// An existing file.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;
    /// Moves `from` over `to` atomically.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync(&self) -> io::Result<()>;
}

/// An open file. Changes last only after [`File::sync`].
pub(super) trait File: Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills `into` from `offset`; too few bytes are an error.
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`. After an error any part of them may be there.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the content durable.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
}

/// A directory of the file system, held exclusively by its `lock` file for as long as the value lives.
pub(super) struct Directory {
    path: PathBuf,
    _lock: fs::File,
}

const LOCK: &str = "lock";

impl Directory {
    /// Makes the directory if it is missing, readable by its owner alone (the store holds secrets), and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let about = |what: &str| Error::io(format!("{what} {}", path.display()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(about("create the data directory"))?;
        let lock = owned(OpenOptions::new().create(true), &path.join(LOCK)).map_err(about("lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::InUse { path: path.to_owned() }),
            Err(error) => Err(about("lock")(error.into())),
        }
    }
}

fn owned(options: &mut OpenOptions, path: &Path) -> io::Result<fs::File> {
    options.read(true).write(true).mode(0o600).open(path)
}

impl Disk for Directory {
    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(owned(OpenOptions::new().create(true).truncate(true), &self.path(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(owned(&mut OpenOptions::new(), &self.path(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }
}

impl File for fs::File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, offset)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}
