//! Files of the store by name, and places in them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::{Disk, File};
use super::record::{Flaw, HEADER_BYTES, Header, OVERHEAD_BYTES, Record};
use crate::{Entry, Error, Revision};

/// What a file is called, which says what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// Everything up to and with this revision.
    Snapshot(Revision),
    /// The writes from this revision on, up to the next log.
    Log(Revision),
}

/// A snapshot until it is durable. Never read: a crash leaves it behind, the next start removes it.
pub(super) const UNFINISHED_SNAPSHOT: &str = "snapshot.tmp";
/// A log until its header is durable.
pub(super) const UNFINISHED_LOG: &str = "log.tmp";

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Snapshot(through) => write!(f, "{through:020}.snapshot"),
            Name::Log(first) => write!(f, "{first:020}.log"),
        }
    }
}

impl Name {
    /// The reverse of `to_string`.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (number, kind) = name.split_once('.')?;
        let number = number.parse().ok()?;
        let parsed = match kind {
            "snapshot" => Name::Snapshot(number),
            "log" => Name::Log(number),
            _ => return None,
        };
        (parsed.to_string() == name).then_some(parsed)
    }

    /// Whether a snapshot through revision `through` makes this file superfluous. A snapshot always covers whole
    /// logs.
    pub(super) fn superseded_by(self, through: Revision) -> bool {
        match self {
            Name::Snapshot(other) => other < through,
            Name::Log(first) => first <= through,
        }
    }
}

/// An open file of the store. Stays readable after its name is removed, for as long as someone holds it.
pub(super) struct Segment {
    name: Name,
    path: std::path::PathBuf,
    file: Box<dyn File>,
}

impl Segment {
    pub(super) fn new(disk: &dyn Disk, name: Name, file: Box<dyn File>) -> Arc<Self> {
        Arc::new(Self { name, path: disk.path(&name.to_string()), file })
    }

    pub(super) fn name(&self) -> Name {
        self.name
    }

    pub(super) fn file(&self) -> &dyn File {
        &*self.file
    }

    /// For `map_err`: says which file it was.
    pub(super) fn io(&self, what: &str) -> impl FnOnce(std::io::Error) -> Error + use<> {
        Error::io(format!("{what} {}", self.path.display()))
    }

    pub(super) fn corrupt(&self, offset: u64, why: impl fmt::Display) -> Error {
        Error::Corrupt { path: self.path.clone(), offset, why: why.to_string() }
    }

    /// The header, or `None` if there is none that is whole.
    pub(super) fn header(&self) -> Result<Option<Header>, Error> {
        let mut bytes = [0; HEADER_BYTES as usize];
        if self.file.len().map_err(self.io("measure"))? < HEADER_BYTES {
            return Ok(None);
        }
        self.file.read(0, &mut bytes).map_err(self.io("read"))?;
        Ok(Header::decode(&bytes))
    }
}

/// Where a record is.
#[derive(Clone)]
pub(super) struct Location {
    pub(super) segment: Arc<Segment>,
    pub(super) offset: u64,
    pub(super) len: u32,
}

impl Location {
    /// The record's bytes as they are on disk.
    pub(super) fn read(&self) -> Result<Bytes, Error> {
        let mut bytes = vec![0; self.len as usize];
        self.segment.file.read(self.offset, &mut bytes).map_err(self.segment.io("read"))?;
        Ok(bytes.into())
    }

    /// The record in `bytes`, which came from [`Location::read`].
    pub(super) fn decode<'a>(&self, bytes: &'a [u8]) -> Result<Record<'a>, Error> {
        Record::decode(bytes, self.offset).map_err(|flaw| self.segment.corrupt(self.offset, flaw))
    }

    /// The entry that was put here. Checked: a disk that changed its mind is noticed.
    pub(super) fn load(&self) -> Result<Entry, Error> {
        let bytes = self.read()?;
        let record = self.decode(&bytes)?;
        Ok(Entry {
            key: bytes.slice_ref(record.key),
            value: bytes.slice_ref(record.value),
            created: record.created,
            modified: record.revision,
        })
    }
}

/// Reads a file's records one after the other through a bounded window.
pub(super) struct Reader {
    segment: Arc<Segment>,
    len: u64,
    offset: u64,
    window: Vec<u8>,
    window_offset: u64,
}

/// Bytes read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// What stands at a place of a file.
pub(super) enum Found<'a> {
    /// A whole record of this length.
    Record(Record<'a>, u32),
    /// Something else.
    Flaw(Flaw),
    /// Nothing: the file ends here.
    End,
}

impl Reader {
    pub(super) fn new(segment: Arc<Segment>) -> Result<Self, Error> {
        let len = segment.file.len().map_err(segment.io("measure"))?;
        Ok(Self { segment, len, offset: HEADER_BYTES, window: Vec::new(), window_offset: 0 })
    }

    /// Where the next record begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// What stands at [`Reader::offset`]. Moves past it if it is a record.
    pub(super) fn next(&mut self) -> Result<Found<'_>, Error> {
        if self.offset >= self.len {
            return Ok(Found::End);
        }
        let len = match Record::frame(self.window(OVERHEAD_BYTES)?) {
            Ok(len) => len,
            Err(flaw) => return Ok(Found::Flaw(flaw)),
        };
        let offset = self.offset;
        self.window(len)?;
        let start = (offset - self.window_offset) as usize;
        match Record::decode(&self.window[start..], offset) {
            Ok(record) => {
                self.offset += len as u64;
                Ok(Found::Record(record, len as u32))
            }
            Err(flaw) => Ok(Found::Flaw(flaw)),
        }
    }

    /// At least `want` bytes from the offset on, or all there are.
    fn window(&mut self, want: usize) -> Result<&[u8], Error> {
        let end = self.window_offset + self.window.len() as u64;
        let wanted_end = self.len.min(self.offset + want as u64);
        if self.offset < self.window_offset || wanted_end > end {
            let size = (self.len - self.offset).min(want.max(WINDOW_BYTES) as u64);
            self.window.resize(size as usize, 0);
            self.window_offset = self.offset;
            self.segment.file.read(self.offset, &mut self.window).map_err(self.segment.io("read"))?;
        }
        Ok(&self.window[(self.offset - self.window_offset) as usize..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_sort_by_revision() {
        for name in [Name::Snapshot(0), Name::Log(1), Name::Log(u64::MAX)] {
            assert_eq!(Name::parse(&name.to_string()), Some(name));
        }
        for other in
            ["lock", UNFINISHED_LOG, UNFINISHED_SNAPSHOT, "1.log", "00000000000000000001.log.bak", "x.snapshot"]
        {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_snapshot_supersedes_what_it_covers() {
        assert!(Name::Log(10).superseded_by(10));
        assert!(!Name::Log(11).superseded_by(10));
        assert!(Name::Snapshot(9).superseded_by(10));
        assert!(!Name::Snapshot(10).superseded_by(10));
    }
}
