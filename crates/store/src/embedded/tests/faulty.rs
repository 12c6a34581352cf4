//! A disk in memory that keeps a journal of everything done to it. From the journal's first operations a later disk can
//! be made: what a killed process or a lost supply of power would have left. It also fails on demand.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::embedded::disk::{Disk, File};

/// One operation. Files are known by number: a name can be given to another.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Create { name: String, file: usize },
    Rename { from: String, to: String },
    Remove { name: String },
    SyncNames,
    Write { file: usize, offset: u64, bytes: Vec<u8> },
    Truncate { file: usize, len: u64 },
    Sync { file: usize },
}

/// Names and contents.
#[derive(Clone, Default)]
struct State {
    names: BTreeMap<String, usize>,
    files: BTreeMap<usize, Vec<u8>>,
}

impl State {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Create { name, file } => {
                self.names.insert(name.clone(), *file);
                self.files.entry(*file).or_default();
            }
            Operation::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Operation::Remove { name } => {
                self.names.remove(name);
            }
            Operation::Write { file, offset, bytes } => {
                let content = self.files.entry(*file).or_default();
                let end = *offset as usize + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*offset as usize..end].copy_from_slice(bytes);
            }
            Operation::Truncate { file, len } => self.files.entry(*file).or_default().truncate(*len as usize),
            Operation::Sync { .. } | Operation::SyncNames => {}
        }
    }
}

/// What a crash does to operations that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing: the process was killed, the kernel lives on.
    Nothing,
    /// All of them: the power failed.
    Unsynced,
    /// Those of file contents whose bytes begin in an odd sector: the power failed in the midst of writing back.
    OddSectors,
}

const SECTOR_BYTES: u64 = 64;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Bytes of a write for which there is space; what exceeds them is torn off.
    pub(crate) space: Option<u64>,
    /// There is no space for another file.
    pub(crate) no_files: bool,
    /// Syncs fail.
    pub(crate) sync: bool,
}

#[derive(Default)]
struct Inner {
    base: State,
    state: State,
    journal: Vec<Operation>,
    fault: Fault,
}

/// The disk.
#[derive(Clone, Default)]
pub(crate) struct FaultyDisk(Arc<Mutex<Inner>>);

impl FaultyDisk {
    fn holding(state: State) -> Self {
        Self(Arc::new(Mutex::new(Inner { base: state.clone(), state, ..Inner::default() })))
    }

    /// Number of operations so far.
    pub(crate) fn operations(&self) -> usize {
        self.0.lock().journal.len()
    }

    /// The `at`th operation.
    pub(crate) fn operation(&self, at: usize) -> Option<Operation> {
        self.0.lock().journal.get(at).cloned()
    }

    /// What goes wrong from now on.
    pub(crate) fn set_fault(&self, fault: Fault) {
        self.0.lock().fault = fault;
    }

    /// The disk after a crash that came after `count` operations and `bytes` of the next, if that is a write.
    pub(crate) fn crashed(&self, count: usize, bytes: usize, loss: Loss) -> Self {
        let inner = self.0.lock();
        let mut done = inner.journal[..count].to_vec();
        if let Some(Operation::Write { file, offset, bytes: all }) = inner.journal.get(count) {
            done.push(Operation::Write { file: *file, offset: *offset, bytes: all[..bytes].to_vec() });
        }
        let mut state = inner.base.clone();
        for (at, operation) in done.iter().enumerate() {
            for operation in surviving(operation, &done[at..], loss) {
                state.apply(&operation);
            }
        }
        Self::holding(state)
    }

    /// Changes one byte of a file behind the engine's back.
    pub(crate) fn flip(&self, name: &str, offset: usize) {
        let inner = &mut *self.0.lock();
        let file = inner.state.names[name];
        inner.state.files.get_mut(&file).expect("exists")[offset] ^= 0x20;
    }

    /// The length of a file.
    pub(crate) fn len(&self, name: &str) -> usize {
        let inner = self.0.lock();
        inner.state.files[&inner.state.names[name]].len()
    }

    /// The length of a file without the zeros at its end.
    pub(crate) fn used(&self, name: &str) -> usize {
        let inner = self.0.lock();
        let bytes = &inner.state.files[&inner.state.names[name]];
        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
    }

    /// The names of all files.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().state.names.keys().cloned().collect()
    }

    /// Bytes of all files that have a name.
    pub(crate) fn total_bytes(&self) -> usize {
        let inner = self.0.lock();
        inner.state.names.values().map(|file| inner.state.files[file].len()).sum()
    }

    fn check_sync(&self) -> io::Result<()> {
        if self.0.lock().fault.sync { Err(io::Error::other("the device is gone")) } else { Ok(()) }
    }

    fn record(&self, operation: Operation) {
        self.0.lock().record(operation);
    }
}

impl Inner {
    fn record(&mut self, operation: Operation) {
        self.state.apply(&operation);
        self.journal.push(operation);
    }
}

/// What is left of the first of `rest` after all of them and a crash.
fn surviving(operation: &Operation, rest: &[Operation], loss: Loss) -> Vec<Operation> {
    let synced = match operation {
        Operation::Write { file, .. } | Operation::Truncate { file, .. } => {
            rest.iter().any(|later| matches!(later, Operation::Sync { file: other } if other == file))
        }
        _ => rest.iter().any(|later| matches!(later, Operation::SyncNames)),
    };
    match operation {
        _ if synced || loss == Loss::Nothing => vec![operation.clone()],
        Operation::Write { file, offset, bytes } if loss == Loss::OddSectors => even_sectors(*file, *offset, bytes),
        _ => Vec::new(),
    }
}

fn even_sectors(file: usize, offset: u64, bytes: &[u8]) -> Vec<Operation> {
    let kept = |at: u64| (at / SECTOR_BYTES).is_multiple_of(2);
    let bytes = bytes.iter().zip(offset..).filter(|(_, at)| kept(*at));
    bytes.map(|(byte, offset)| Operation::Write { file, offset, bytes: vec![*byte] }).collect()
}

impl Disk for FaultyDisk {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/faulty").join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        if self.0.lock().fault.no_files {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut inner = self.0.lock();
        // Chosen and taken at once: a log and a snapshot may be made at the same time.
        let file = inner.state.files.keys().next_back().map_or(0, |last| last + 1);
        inner.record(Operation::Create { name: name.to_owned(), file });
        drop(inner);
        Ok(Box::new(FaultyFile { disk: self.clone(), file }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = *self.0.lock().state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(FaultyFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.record(Operation::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.record(Operation::Remove { name: name.to_owned() });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.check_sync()?;
        self.record(Operation::SyncNames);
        Ok(())
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    file: usize,
}

impl File for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().state.files[&self.file].len() as u64)
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let inner = self.disk.0.lock();
        let bytes = inner.state.files[&self.file].get(offset as usize..offset as usize + into.len());
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let space = self.disk.0.lock().fault.space;
        let fits = space.map_or(bytes.len(), |space| bytes.len().min(space as usize));
        self.disk.record(Operation::Write { file: self.file, offset, bytes: bytes[..fits].to_vec() });
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.check_sync()?;
        self.disk.record(Operation::Sync { file: self.file });
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.record(Operation::Truncate { file: self.file, len });
        Ok(())
    }
}
