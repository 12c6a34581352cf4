//! The entries of a tar that somebody made, with a bound on what describes one: its names and attributes stand in entries
//! of their own before it, and are held in memory as a whole, however long they are said to be.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// Room for the names and the attributes of one entry.
const MAX_DESCRIPTION_BYTES: u64 = 1 << 20;

/// A tar.
pub(super) struct Archive<R: Read> {
    tar: tar::Archive<Metered<R>>,
    meter: Rc<Meter>,
}

/// How much of it has been read, and how far it may be.
#[derive(Default)]
struct Meter {
    read: Cell<u64>,
    allowed: Cell<u64>,
}

/// A reader that stops where the meter says.
pub(super) struct Metered<R> {
    inner: R,
    meter: Rc<Meter>,
}

impl<R: Read> Archive<R> {
    pub(super) fn new(reader: R) -> Self {
        let meter = Rc::<Meter>::default();
        Self { tar: tar::Archive::new(Metered { inner: reader, meter: meter.clone() }), meter }
    }

    /// Its entries, in their order. What is not read of one is passed over.
    pub(super) fn entries(&mut self) -> io::Result<Entries<'_, R>> {
        Ok(Entries { inner: self.tar.entries()?, meter: self.meter.clone(), end: 0 })
    }
}

/// See [`Archive::entries`].
pub(super) struct Entries<'a, R: Read> {
    inner: tar::Entries<'a, Metered<R>>,
    meter: Rc<Meter>,
    /// Where the content of the entry that was given out ends.
    end: u64,
}

impl<'a, R: Read> Iterator for Entries<'a, R> {
    type Item = io::Result<tar::Entry<'a, Metered<R>>>;

    fn next(&mut self) -> Option<Self::Item> {
        let begin = self.end.max(self.meter.read.get());
        self.meter.allowed.set(begin.saturating_add(MAX_DESCRIPTION_BYTES));
        let entry = self.inner.next()?;
        if let Ok(entry) = &entry {
            // Of a file with holes, the size says how long it is with them.
            let stored = match entry.header().entry_type() {
                tar::EntryType::GNUSparse => entry.header().entry_size().unwrap_or_default(),
                _ => entry.size(),
            };
            self.end = self.meter.read.get().saturating_add(stored);
            self.meter.allowed.set(u64::MAX);
        }
        Some(entry)
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.meter.read.get();
        let room = usize::try_from(self.meter.allowed.get().saturating_sub(read)).unwrap_or(usize::MAX);
        if room == 0 && !buffer.is_empty() {
            let reason = format!("names and attributes of more than {MAX_DESCRIPTION_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let length = buffer.len().min(room);
        let length = self.inner.read(&mut buffer[..length])?;
        self.meter.read.set(read + length as u64);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: tar::EntryType, size: u64) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..4].copy_from_slice(b"name");
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    /// Reads a tar whose entries have these kinds and sizes to its end: how many files were in it.
    fn walk(entries: &[(tar::EntryType, u64)]) -> io::Result<usize> {
        let end: Box<dyn Read> = Box::new(io::repeat(0).take(1024));
        let whole = entries.iter().rev().fold(end, |rest, (kind, size)| {
            let content = io::repeat(b'x').take(size.next_multiple_of(512));
            Box::new(io::Cursor::new(header(*kind, *size)).chain(content).chain(rest))
        });
        let mut archive = Archive::new(whole);
        archive.entries()?.try_fold(0, |passed, entry| entry.map(|_| passed + 1))
    }

    #[test]
    fn files_are_as_large_as_they_like_and_names_are_not() {
        use tar::EntryType::{GNULongLink, GNULongName, Regular, XHeader};
        const LARGE: u64 = 64 << 20;
        let check = |entries: &[(tar::EntryType, u64)], want: Option<usize>| {
            assert_eq!(walk(entries).ok(), want, "{entries:?}");
        };
        check(&[(Regular, LARGE), (Regular, LARGE), (Regular, 0)], Some(3));
        check(&[(GNULongName, 5000), (Regular, LARGE), (GNULongName, 5000), (Regular, 1)], Some(2));
        check(&[(GNULongName, LARGE), (Regular, 0)], None);
        check(&[(Regular, 2 * LARGE), (GNULongLink, LARGE), (Regular, 0)], None);
        check(&[(XHeader, LARGE), (Regular, 0)], None);
    }
}
