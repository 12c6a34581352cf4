//! The log that is written to: how a batch becomes durable at its end, and what a failure leaves behind.
//!
//! A file that grows with every write makes every sync wait for the file system's journal too, and so does the first
//! write to space that was only reserved. The log therefore runs into zeros that were written before: a sync is then
//! the data and nothing else. Zeros are no record, so the end of the log is where they begin.

use std::sync::Arc;

use super::disk::Disk;
use super::record::{Form, HEADER_BYTES, Header};
use super::segment::{Name, Segment, UNFINISHED_LOG};
use crate::{Error, Revision};

/// The log that is written to.
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    /// The first revision it may hold.
    pub(super) first: Revision,
    /// Where the next batch goes.
    pub(super) end: u64,
    /// From `end` up to here the file is zeros.
    pub(super) zeroed: u64,
    /// Up to here everything is durable. Renewals may lie between here and `end`.
    pub(super) synced: u64,
}

/// When appended bytes have to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durable {
    /// Before anyone hears of them.
    Now,
    /// With the next bytes that have to be.
    Later,
}

/// Why something did not become durable.
pub(super) enum Failure {
    /// The log is as it was before; the next attempt may succeed.
    Refused(Error),
    /// What is on disk is not known any more.
    Fatal(Error),
}

impl Active {
    /// Starts the log whose first revision is `first`. Its name is durable only after the disk's next sync; an error
    /// says that there is no such name.
    pub(super) fn create(disk: &dyn Disk, first: Revision) -> Result<Self, Error> {
        let name = Name::Log(first);
        let what = || Error::io(format!("create {}", disk.path(&name.to_string()).display()));
        let header = Header { form: Form::Log, revision: first, compacted: 0 };
        let file = disk.create(UNFINISHED_LOG).map_err(what())?;
        file.write(0, &header.encode()).map_err(what())?;
        file.sync().map_err(what())?;
        disk.rename(UNFINISHED_LOG, &name.to_string()).map_err(what())?;
        Ok(Self {
            segment: Segment::new(disk, name, file),
            first,
            end: HEADER_BYTES,
            zeroed: HEADER_BYTES,
            synced: HEADER_BYTES,
        })
    }

    /// Appends `bytes`. When they reach beyond the zeros, `ahead` bytes of new ones come with them.
    pub(super) fn append(&mut self, bytes: &[u8], ahead: usize, durable: Durable) -> Result<(), Failure> {
        let file = self.segment.file();
        if let Err(error) = file.write(self.end, bytes) {
            // Back to the old end, durably: a crash now must not bring back what is about to be refused.
            let undone = file.truncate(self.end).and_then(|()| file.sync());
            undone.map_err(|error| Failure::Fatal(self.segment.io("undo a failed write to")(error)))?;
            (self.zeroed, self.synced) = (self.end, self.end);
            return Err(Failure::Refused(self.segment.io("write to")(error)));
        }
        let end = self.end + bytes.len() as u64;
        let zeroed = if end > self.zeroed { self.write_ahead(end, ahead) } else { self.zeroed };
        (self.end, self.zeroed) = (end, zeroed);
        if durable == Durable::Now { self.sync() } else { Ok(()) }
    }

    /// Makes everything durable that is not.
    pub(super) fn sync(&mut self) -> Result<(), Failure> {
        if self.synced < self.end {
            // After a failed sync the kernel forgets which pages were dirty: a second one would lie.
            let synced = self.segment.file().sync();
            synced.map_err(|error| Failure::Fatal(self.segment.io("sync")(error)))?;
            self.synced = self.end;
        }
        Ok(())
    }

    /// Writes zeros from `end` on and says how far. On a full disk they are missing, which costs speed alone; what
    /// there is of them does no harm.
    fn write_ahead(&self, end: u64, ahead: usize) -> u64 {
        match self.segment.file().write(end, &vec![0; ahead]) {
            Ok(()) => end + ahead as u64,
            Err(_) => end,
        }
    }
}
