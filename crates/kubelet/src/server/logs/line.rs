//! Lines of the CRI log format, and what of them the client wants to see.
//!
//! ```text
//! 2016-10-06T00:17:09.669794202Z stdout F a whole line
//! 2016-10-06T00:17:09.669794203Z stderr P the beginning of a line
//! ```

use bytes::{BufMut, BytesMut};
use jiff::Timestamp;

/// Where a container wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Stdout,
    Stderr,
}

/// One line of a log file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    time: &'a str,
    output: Output,
    /// Whether the container's line goes on in the next one.
    pub(super) partial: bool,
    content: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads a line, with or without its newline; none if it is not of this format.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut fields = line.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(fields.next()?).ok()?;
        let output = match fields.next()? {
            b"stdout" => Output::Stdout,
            b"stderr" => Output::Stderr,
            _ => return None,
        };
        // Tags are separated by colons; the first says whether the line is whole.
        let partial = fields.next()?.split(|byte| *byte == b':').next() == Some(b"P");
        Some(Self { time, output, partial, content: fields.next()? })
    }
}

/// What of a log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// Only lines of this time and later.
    pub(super) since: Option<Timestamp>,
    /// Only what was written there.
    pub(super) only: Option<Output>,
    /// Whether each line begins with its time.
    pub(super) timestamps: bool,
    /// So many bytes more.
    pub(super) remaining: Option<u64>,
    /// Whether the line that was begun on stdout, and on stderr, goes on.
    pub(super) midline: [bool; 2],
}

impl Filter {
    /// Appends what the client sees of `line`.
    pub(super) fn push(&mut self, line: &Line<'_>, out: &mut BytesMut) {
        if self.only.is_some_and(|only| only != line.output) || self.is_too_old(line) {
            return;
        }
        let begun = std::mem::replace(&mut self.midline[line.output as usize], line.partial);
        if self.timestamps && !begun {
            self.put(line.time.as_bytes(), out);
            self.put(b" ", out);
        }
        self.put(line.content, out);
        if !line.partial {
            self.put(b"\n", out);
        }
    }

    /// Whether the client has got all the bytes it wanted.
    pub(super) fn is_full(&self) -> bool {
        self.remaining == Some(0)
    }

    fn is_too_old(&self, line: &Line<'_>) -> bool {
        self.since.is_some_and(|since| line.time.parse::<Timestamp>().is_ok_and(|time| time < since))
    }

    fn put(&mut self, bytes: &[u8], out: &mut BytesMut) {
        let room = self.remaining.map_or(bytes.len(), |limit| limit.min(bytes.len() as u64) as usize);
        out.put_slice(&bytes[..room]);
        if let Some(remaining) = &mut self.remaining {
            *remaining -= room as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-01T00:00:01.000000000Z stdout F one\n\
        2026-01-01T00:00:02.000000000Z stdout P tw\n\
        2026-01-01T00:00:02.500000000Z stderr F oops\n\
        2026-01-01T00:00:03.000000000Z stdout F o\n\
        no log line at all\n\
        2026-01-01T00:00:04.000000000+00:00 stdout F:x  three \n\
        2026-01-01T00:00:05.000000000Z stdout F \n";

    fn check(filter: Filter, want: &str) {
        let (mut filter, mut out) = (filter, BytesMut::new());
        for line in LOG.split_inclusive('\n').filter_map(|line| Line::parse(line.as_bytes())) {
            filter.push(&line, &mut out);
        }
        assert_eq!(String::from_utf8_lossy(&out), want);
    }

    #[test]
    fn what_the_client_sees() {
        let all = Filter::default();
        check(all.clone(), "one\ntwoops\no\n three \n\n");
        check(Filter { only: Some(Output::Stdout), ..all.clone() }, "one\ntwo\n three \n\n");
        check(Filter { only: Some(Output::Stderr), ..all.clone() }, "oops\n");
        check(Filter { since: "2026-01-01T00:00:04Z".parse().ok(), ..all.clone() }, " three \n\n");
        check(Filter { remaining: Some(6), ..all.clone() }, "one\ntw");
        check(Filter { remaining: Some(0), ..all.clone() }, "");
        check(
            Filter { timestamps: true, only: Some(Output::Stdout), remaining: Some(76), ..all },
            "2026-01-01T00:00:01.000000000Z one\n2026-01-01T00:00:02.000000000Z two\n2026-0",
        );
    }

    #[test]
    fn lines_that_are_none() {
        for line in ["", "\n", "x", "x stdout", "x stdin F y", "x stdout F", "\u{0} \u{0} \u{0}"] {
            assert_eq!(Line::parse(line.as_bytes()), None, "{line:?}");
        }
    }
}
