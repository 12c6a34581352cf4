//! A container's log, in CRI's format: `<time> <stream> <F|P> <line>`.
//!
//! [`Lines`] is pure: bytes in, formatted lines out. [`Log`] is the file. A line longer than [`MAX_LINE_BYTES`] is
//! written in parts, all but the last marked `P`; so is what a stream ends with when no line's end comes after it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::wire::Stream;

/// The most of one line in one entry, as containerd has it.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// One stream being cut into lines.
pub(super) struct Lines {
    stream: Stream,
    pending: Vec<u8>,
}

impl Lines {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, pending: Vec::new() }
    }

    /// Takes `bytes` that came at `now` and appends the entries they complete to `out`.
    pub(super) fn push(&mut self, mut bytes: &[u8], now: Timestamp, out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let room = MAX_LINE_BYTES - self.pending.len();
            match bytes.iter().take(room + 1).position(|byte| *byte == b'\n') {
                Some(end) => {
                    self.pending.extend_from_slice(&bytes[..end]);
                    self.entry('F', now, out);
                    bytes = &bytes[end + 1..];
                }
                None if bytes.len() > room => {
                    self.pending.extend_from_slice(&bytes[..room]);
                    self.entry('P', now, out);
                    bytes = &bytes[room..];
                }
                None => {
                    self.pending.extend_from_slice(bytes);
                    return;
                }
            }
        }
    }

    /// The stream is over: what is left is a line without its end.
    pub(super) fn finish(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            self.entry('P', now, out);
        }
    }

    fn entry(&mut self, tag: char, now: Timestamp, out: &mut Vec<u8>) {
        let stream = match self.stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        out.extend_from_slice(format!("{now:.9} {stream} {tag} ").as_bytes());
        out.append(&mut self.pending);
        out.push(b'\n');
    }
}

/// The file that a container's output goes to.
pub(super) struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Opens or creates the file at `path`; a symbolic link in its place is refused.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path)
            .map_err(|error| io::Error::new(error.kind(), format!("opening log {}: {error}", path.display())))?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Goes on in a new file of the same name, after the old one has been renamed.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        *self = Self::open(&self.path)?;
        Ok(())
    }

    /// Appends entries. A full disk loses log lines; it must not stop the container.
    pub(super) fn write(&mut self, entries: &[u8]) {
        let _ = self.file.write_all(entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(chunks: &[&[u8]], want: &[(char, usize)]) {
        let mut lines = Lines::new(Stream::Stdout);
        let mut out = Vec::new();
        let now = Timestamp::UNIX_EPOCH;
        chunks.iter().for_each(|chunk| lines.push(chunk, now, &mut out));
        lines.finish(now, &mut out);
        let text = String::from_utf8(out).unwrap();
        let seen: Vec<_> = text
            .lines()
            .map(|line| {
                let rest = line.strip_prefix("1970-01-01T00:00:00.000000000Z stdout ").unwrap();
                (rest.chars().next().unwrap(), rest.len() - 2)
            })
            .collect();
        assert_eq!(seen, want);
    }

    #[test]
    fn lines_are_cut_where_they_end() {
        check(&[b"one\ntwo\n"], &[('F', 3), ('F', 3)]);
        check(&[b"on", b"e", b"\n\n"], &[('F', 3), ('F', 0)]);
        check(&[b"no end"], &[('P', 6)]);
        check(&[], &[]);
    }

    #[test]
    fn long_lines_come_in_parts() {
        let long = vec![b'x'; MAX_LINE_BYTES];
        check(&[&long, b"\n"], &[('F', MAX_LINE_BYTES)]);
        check(&[&long, b"yy\n"], &[('P', MAX_LINE_BYTES), ('F', 2)]);
        check(&[&long, &long, b"z"], &[('P', MAX_LINE_BYTES), ('P', MAX_LINE_BYTES), ('P', 1)]);
    }
}
