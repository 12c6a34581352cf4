//! A container's output: read once, written to its log and to whoever has attached.
//!
//! Nobody who reads slowly can hold the container up: an attached reader that falls more than
//! [`MAX_PENDING_BYTES`] behind is let go.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use jiff::Timestamp;
use rustix::io::{Errno, read, write};

use super::logs::{Lines, Log};
use super::wire::Stream;

const READ_BYTES: usize = 64 * 1024;
const MAX_PENDING_BYTES: usize = 1024 * 1024;
/// Bounds what is read after the end: what a container has left in its pipe, not what a stranger keeps writing to it.
const MAX_DRAIN_READS: usize = 64;

/// One stream of a container.
pub(super) struct Output {
    stream: Stream,
    /// `None` once it has ended.
    source: Option<OwnedFd>,
    lines: Lines,
    readers: Vec<Reader>,
}

/// Somebody attached.
struct Reader {
    fd: OwnedFd,
    pending: Vec<u8>,
}

impl Output {
    /// Reads from `source`, which has to be non-blocking.
    pub(super) fn new(stream: Stream, source: OwnedFd) -> Self {
        Self { stream, source: Some(source), lines: Lines::new(stream), readers: Vec::new() }
    }

    pub(super) fn stream(&self) -> Stream {
        self.stream
    }

    /// What to wait on for more output.
    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.source.as_ref().map(AsFd::as_fd)
    }

    /// What to wait on for room at readers that have fallen behind.
    pub(super) fn waiting(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.readers.iter().filter(|reader| !reader.pending.is_empty()).map(|reader| reader.fd.as_fd())
    }

    /// Copies output to `fd` (non-blocking) from now on.
    pub(super) fn attach(&mut self, fd: OwnedFd) {
        self.readers.push(Reader { fd, pending: Vec::new() });
    }

    /// Takes what there is; false when there is nothing more for now, or ever.
    pub(super) fn pump(&mut self, log: Option<&mut Log>, now: Timestamp) -> bool {
        let Some(source) = &self.source else { return false };
        let mut buffer = [0_u8; READ_BYTES];
        match read(source, &mut buffer) {
            Ok(0) => self.end(log, now),
            Ok(length) => {
                self.spread(&buffer[..length], log, now);
                return true;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A terminal says EIO when its last user has gone.
            Err(_) => self.end(log, now),
        }
        false
    }

    /// The container is gone: takes what it has left behind, then ends.
    pub(super) fn drain(&mut self, mut log: Option<&mut Log>, now: Timestamp) {
        for _ in 0..MAX_DRAIN_READS {
            if !self.pump(log.as_deref_mut(), now) {
                break;
            }
        }
        self.end(log, now);
    }

    /// Gives readers that were behind what they still lack.
    pub(super) fn flush(&mut self) {
        self.readers.retain_mut(|reader| reader.flush());
    }

    fn spread(&mut self, bytes: &[u8], log: Option<&mut Log>, now: Timestamp) {
        if let Some(log) = log {
            let mut entries = Vec::with_capacity(bytes.len() + bytes.len() / 4 + 64);
            self.lines.push(bytes, now, &mut entries);
            log.write(&entries);
        }
        self.readers.retain_mut(|reader| reader.take(bytes));
    }

    fn end(&mut self, log: Option<&mut Log>, now: Timestamp) {
        let mut entries = Vec::new();
        self.lines.finish(now, &mut entries);
        if let Some(log) = log {
            log.write(&entries);
        }
        self.source = None;
        self.readers.clear();
    }
}

impl Reader {
    /// Whether the reader is still worth keeping.
    fn take(&mut self, bytes: &[u8]) -> bool {
        self.pending.extend_from_slice(bytes);
        self.flush() && self.pending.len() <= MAX_PENDING_BYTES
    }

    fn flush(&mut self) -> bool {
        while !self.pending.is_empty() {
            match write(&self.fd, &self.pending) {
                Ok(written) => drop(self.pending.drain(..written)),
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        true
    }
}
