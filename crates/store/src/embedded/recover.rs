//! Opening: from the files of a directory to the index, and the repair of what a crash can leave behind.
//!
//! ```text
//! <revision>.snapshot  what is left of everything up to that revision      at most one counts: the newest
//! <revision>.log       the writes from that revision on                     no gaps; the last one is written to
//! *.tmp                one of these before it was durable                   removed
//! ```
//! A log may end in zeros, which were written ahead of its records. A crash tears only the end of the last log, and only
//! what was never acknowledged: that is cut off. Anything else that does not read back is damage, and refused.
//!
//! Renewals are acknowledged before they are durable, with revisions that were reserved durably before. When the last log
//! ends short of what it reserved, some of them may be lost: revisions then leap beyond them, and history begins anew.

use std::sync::Arc;

use super::active::{Active, Durable, Failure};
use super::disk::Disk;
use super::index::{Index, Version};
use super::record::{Flaw, Form, Header, Kind, Record, later_batch};
use super::segment::{Found, Location, Name, Reader, Segment, UNFINISHED_LOG, UNFINISHED_SNAPSHOT};
use crate::{Error, Revision};

/// Bytes on disk.
#[derive(Default)]
pub(super) struct Sizes {
    /// Of the snapshot.
    pub(super) snapshot: u64,
    /// Of each log that is no longer written to, by first revision.
    pub(super) sealed: Vec<(Revision, u64)>,
}

/// A store as found on disk.
pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) active: Active,
    pub(super) sizes: Sizes,
}

/// Reads everything and repairs what a crash left.
pub(super) fn recover(disk: &dyn Disk) -> Result<Recovered, Error> {
    let names: Vec<Name> = list(disk)?.iter().filter_map(|name| Name::parse(name)).collect();
    let mut recovery = Recovery { disk, index: Index::default(), sizes: Sizes::default(), reserved: 0 };
    if let Some(snapshot) = names.iter().filter(|name| matches!(name, Name::Snapshot(_))).max() {
        recovery.snapshot(*snapshot)?;
    }
    remove(disk, |name| name == UNFINISHED_LOG || name == UNFINISHED_SNAPSHOT)?;
    remove_superseded(disk, recovery.index.revision())?;
    let mut active = recovery.logs(names)?;
    recovery.leap(&mut active)?;
    if !recovery.index.is_whole() {
        return Err(active.segment.corrupt(0, "revisions are missing between the snapshot and the log"));
    }
    Ok(Recovered { index: recovery.index, active, sizes: recovery.sizes })
}

/// Removes what a snapshot through `through` makes superfluous.
pub(super) fn remove_superseded(disk: &dyn Disk, through: Revision) -> Result<(), Error> {
    remove(disk, |name| Name::parse(name).is_some_and(|name| name.superseded_by(through)))
}

fn remove(disk: &dyn Disk, doomed: impl Fn(&str) -> bool) -> Result<(), Error> {
    for name in list(disk)?.iter().filter(|name| doomed(name)) {
        disk.remove(name).map_err(Error::io(format!("remove {}", disk.path(name).display())))?;
    }
    Ok(())
}

fn list(disk: &dyn Disk) -> Result<Vec<String>, Error> {
    disk.list().map_err(Error::io("list the data directory"))
}

/// Makes the names of new logs durable.
pub(super) fn sync_names(disk: &dyn Disk) -> Result<(), Error> {
    disk.sync().map_err(Error::io("sync the data directory"))
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    index: Index,
    sizes: Sizes,
    /// What the log that is being read has reserved.
    reserved: Revision,
}

impl Recovery<'_> {
    fn open(&self, name: Name) -> Result<Arc<Segment>, Error> {
        let path = name.to_string();
        let file = self.disk.open(&path).map_err(Error::io(format!("open {}", self.disk.path(&path).display())))?;
        Ok(Segment::new(self.disk, name, file))
    }

    fn snapshot(&mut self, name: Name) -> Result<(), Error> {
        let segment = self.open(name)?;
        let header = header(&segment)?;
        self.index.begin_snapshot(header.compacted, header.revision);
        let mut reader = Reader::new(segment.clone())?;
        for count in 0.. {
            let offset = reader.offset();
            match reader.next()? {
                Found::Record(record, _) if record.kind == Kind::End && record.created == count => break,
                Found::Record(record, len) if matches!(record.kind, Kind::Put | Kind::Delete) => {
                    insert(&mut self.index, &record, Location { segment: segment.clone(), offset, len });
                }
                Found::Record(..) => return Err(segment.corrupt(offset, "records are missing before the end")),
                Found::Flaw(flaw) => return Err(segment.corrupt(offset, flaw)),
                Found::End => return Err(segment.corrupt(offset, Flaw::Short)),
            }
        }
        self.index.end_snapshot();
        self.sizes.snapshot = reader.offset();
        Ok(())
    }

    fn logs(&mut self, names: Vec<Name>) -> Result<Active, Error> {
        let through = self.index.revision();
        let mut logs: Vec<Name> = names.into_iter().filter(|name| matches!(name, Name::Log(_))).collect();
        logs.retain(|name| !name.superseded_by(through));
        logs.sort();
        let Some(last) = logs.pop() else { return self.first_log() };
        for name in logs {
            let segment = self.open_next(name)?;
            header(&segment)?;
            let (end, remains) = self.replay(&segment)?;
            if let Some(Remains { flaw, .. }) = remains {
                return Err(segment.corrupt(end, flaw));
            }
            if let Name::Log(first) = name {
                self.sizes.sealed.push((first, end));
            }
        }
        self.last_log(last)
    }

    fn first_log(&self) -> Result<Active, Error> {
        let active = Active::create(self.disk, self.index.revision() + 1)?;
        sync_names(self.disk)?;
        Ok(active)
    }

    /// Opens a log that must hold the next revision.
    fn open_next(&self, name: Name) -> Result<Arc<Segment>, Error> {
        let segment = self.open(name)?;
        let next = self.index.revision() + 1;
        if name != Name::Log(next) {
            return Err(segment.corrupt(0, format_args!("the log from revision {next} on is missing before it")));
        }
        Ok(segment)
    }

    fn last_log(&mut self, name: Name) -> Result<Active, Error> {
        let segment = self.open_next(name)?;
        let first = self.index.revision() + 1;
        header(&segment)?;
        let (end, remains) = self.replay(&segment)?;
        if let Some(remains) = remains {
            cut_tail(&segment, end, &remains)?;
        }
        // What a killed process wrote is readable before it is durable; it must not be shown before it is.
        segment.file().sync().map_err(segment.io("sync"))?;
        sync_names(self.disk)?;
        let zeroed = segment.file().len().map_err(segment.io("measure"))?;
        Ok(Active { segment, first, end, zeroed, synced: end })
    }

    /// Goes on beyond revisions that may have been given out and are not here.
    fn leap(&mut self, active: &mut Active) -> Result<(), Error> {
        if self.reserved <= self.index.revision() {
            return Ok(());
        }
        let revision = self.reserved + 1;
        let mut bytes = Vec::new();
        let record = Record { kind: Kind::Leap, revision, created: 0, batch: active.synced, key: &[], value: &[] };
        record.encode(active.end, &mut bytes);
        match active.append(&bytes, 0, Durable::Now) {
            Ok(()) => self.begin_anew(revision),
            Err(Failure::Refused(error) | Failure::Fatal(error)) => return Err(error),
        }
        Ok(())
    }

    fn begin_anew(&mut self, revision: Revision) {
        self.index.advance(revision);
        self.index.forget(revision);
        self.reserved = 0;
    }

    /// Takes in all records, and says where they end and what stands there but zeros.
    fn replay(&mut self, segment: &Arc<Segment>) -> Result<(u64, Option<Remains>), Error> {
        self.reserved = 0;
        let mut reader = Reader::new(segment.clone())?;
        loop {
            let offset = reader.offset();
            let (record, len) = match reader.next()? {
                Found::Record(record, len) => (record, len),
                Found::Flaw(flaw) => return Ok((offset, Remains::of(segment, offset, flaw)?)),
                Found::End => return Ok((offset, None)),
            };
            match record.kind {
                Kind::Put | Kind::Delete if record.revision == self.index.revision() + 1 => {
                    insert(&mut self.index, &record, Location { segment: segment.clone(), offset, len });
                    self.index.advance(record.revision);
                }
                Kind::Reserve if record.revision >= self.index.revision() => self.reserved = record.revision,
                Kind::Leap if record.revision == self.reserved + 1 => self.begin_anew(record.revision),
                Kind::Compact if record.revision <= self.index.revision() => self.index.forget(record.revision),
                _ => return Err(segment.corrupt(offset, "a record is out of order")),
            }
        }
    }
}

fn insert(index: &mut Index, record: &Record<'_>, location: Location) {
    let deleted = record.kind == Kind::Delete;
    let version = Version { revision: record.revision, created: record.created, deleted, location };
    index.insert(record.key, version);
}

/// The header, which must be the one its name promises.
fn header(segment: &Segment) -> Result<Header, Error> {
    let header = segment.header()?;
    let name = header.as_ref().map(|header| match header.form {
        Form::Log => Name::Log(header.revision),
        Form::Snapshot => Name::Snapshot(header.revision),
    });
    match header {
        Some(header) if name == Some(segment.name()) => Ok(header),
        _ => Err(segment.corrupt(0, "the header is damaged, or of a newer version of sampan")),
    }
}

/// What stands behind the last record of a log, when it is not just zeros.
struct Remains {
    flaw: Flaw,
    bytes: Vec<u8>,
}

impl Remains {
    fn of(segment: &Segment, end: u64, flaw: Flaw) -> Result<Option<Self>, Error> {
        let len = segment.file().len().map_err(segment.io("measure"))?;
        let mut bytes = vec![0; (len - end) as usize];
        segment.file().read(end, &mut bytes).map_err(segment.io("read"))?;
        let zeros = bytes.iter().all(|byte| *byte == 0);
        Ok((!zeros).then_some(Self { flaw, bytes }))
    }
}

/// Cuts off what a crash left after `end`, unless it was once acknowledged. All of it: a later crash must not find
/// the rest of this one behind new records.
fn cut_tail(segment: &Segment, end: u64, remains: &Remains) -> Result<(), Error> {
    if later_batch(&remains.bytes, end) {
        return Err(segment.corrupt(end, remains.flaw));
    }
    tracing::info!(bytes = remains.bytes.len(), "cut off a write that a crash interrupted");
    segment.file().truncate(end).map_err(segment.io("truncate"))
}
