//! Giving dead bytes back: copies what is still needed into a snapshot, then removes the logs it came from.
//!
//! Runs beside the writer, on files that nobody writes to any more. A crash at any step leaves either the old files or
//! the whole snapshot: it is written under another name, synced, and renamed; the old files go last.

use std::iter::repeat;
use std::sync::Arc;

use bytes::Bytes;

use super::Shared;
use super::disk::{Disk, File};
use super::index::Version;
use super::record::{Form, HEADER_BYTES, Header, Kind, Record};
use super::recover::remove_superseded;
use super::segment::{Location, Name, Segment, UNFINISHED_SNAPSHOT};
use super::writer::Done;
use crate::{Error, Revision};

/// Keys copied between two looks at the index.
const PORTION_KEYS: usize = 256;
/// Records whose new place is noted under one lock of the index.
const MOVES_PER_LOCK: usize = 1_024;
/// Bytes written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// One compaction.
pub(super) struct Compaction {
    pub(super) shared: Arc<Shared>,
    pub(super) disk: Arc<dyn Disk>,
    /// Everything up to here lies in files that are no longer written to.
    pub(super) through: Revision,
    /// What was forgotten when the compaction began. What is forgotten meanwhile says the active log.
    pub(super) compacted: Revision,
}

/// A record's new place.
struct Move {
    key: Bytes,
    revision: Revision,
    offset: u64,
    len: u32,
}

/// A snapshot that is durable but not yet in its place.
struct Written {
    file: Box<dyn File>,
    bytes: u64,
    moves: Vec<Move>,
}

impl Compaction {
    pub(super) fn run(self) -> Result<Done, Error> {
        let Written { file, bytes, moves } = self.write().inspect_err(|_| self.clean_up())?;
        let name = Name::Snapshot(self.through);
        let what = || format!("put in place {}", self.disk.path(&name.to_string()).display());
        self.disk.rename(UNFINISHED_SNAPSHOT, &name.to_string()).map_err(Error::io(what()))?;
        self.disk.sync().map_err(Error::io(what()))?;
        self.relocate(&Segment::new(&*self.disk, name, file), moves);
        remove_superseded(&*self.disk, self.through)?;
        Ok(Done { through: self.through, bytes })
    }

    /// Gives the space back at once, which may be what is lacking. If that fails too, the next start does it.
    fn clean_up(&self) {
        let _left_over = self.disk.remove(UNFINISHED_SNAPSHOT);
    }

    fn write(&self) -> Result<Written, Error> {
        let what = || Error::io(format!("write {}", self.disk.path(UNFINISHED_SNAPSHOT).display()));
        let mut output = Output::new(self.disk.create(UNFINISHED_SNAPSHOT).map_err(what())?);
        output.header(&Header { form: Form::Snapshot, revision: self.through, compacted: self.compacted });
        let mut moves = Vec::new();
        let mut after = None;
        loop {
            self.shared.check()?;
            let portion = self.shared.index.read().portion(after.as_ref(), self.through, PORTION_KEYS);
            let Some((last, _)) = portion.last() else { break };
            after = Some(last.clone());
            for (key, version) in portion.into_iter().flat_map(|(key, versions)| repeat(key).zip(versions)) {
                let (offset, len) = output.copy(&version)?;
                moves.push(Move { key, revision: version.revision, offset, len });
                output.flush_if(BUFFER_BYTES).map_err(what())?;
            }
        }
        let bytes = output.finish(self.through).map_err(what())?;
        Ok(Written { file: output.file, bytes, moves })
    }

    fn relocate(&self, segment: &Arc<Segment>, moves: Vec<Move>) {
        for moves in moves.chunks(MOVES_PER_LOCK) {
            let mut index = self.shared.index.write();
            for Move { key, revision, offset, len } in moves {
                let location = Location { segment: segment.clone(), offset: *offset, len: *len };
                index.relocate(key, *revision, location);
            }
        }
    }
}

/// A snapshot being written.
struct Output {
    file: Box<dyn File>,
    /// Bytes already in the file.
    written: u64,
    buffer: Vec<u8>,
    records: u64,
}

impl Output {
    fn new(file: Box<dyn File>) -> Self {
        Self { file, written: 0, buffer: Vec::new(), records: 0 }
    }

    fn header(&mut self, header: &Header) {
        self.buffer.extend_from_slice(&header.encode());
        debug_assert_eq!(self.offset(), HEADER_BYTES);
    }

    fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Adds the record of a version as it will stand here.
    fn copy(&mut self, version: &Version) -> Result<(u64, u32), Error> {
        let bytes = version.location.read()?;
        let record = version.location.decode(&bytes)?;
        let offset = self.offset();
        record.encode(offset, &mut self.buffer);
        self.records += 1;
        Ok((offset, record.len() as u32))
    }

    fn flush_if(&mut self, bytes: usize) -> std::io::Result<()> {
        if self.buffer.len() >= bytes {
            self.file.write(self.written, &self.buffer)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    fn finish(&mut self, through: Revision) -> std::io::Result<u64> {
        let end = Record { kind: Kind::End, revision: through, created: self.records, batch: 0, key: &[], value: &[] };
        end.encode(self.offset(), &mut self.buffer);
        self.flush_if(0)?;
        self.file.sync()?;
        Ok(self.written)
    }
}
