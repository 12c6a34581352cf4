//! Finding the last lines of a log from its end, without reading the rest.

use std::{
    io::{self, SeekFrom},
    path::PathBuf,
};

use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::{files::LogFiles, line::Line};

/// Read at a time, from the end.
const BLOCK_BYTES: u64 = 64 * 1024;
/// Runtimes cut lines at 16 KiB; a longer one than this is no line of theirs and is skipped.
pub(super) const MAX_LINE_BYTES: usize = 1024 * 1024;

/// A file, and from where on it is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) path: PathBuf,
    pub(super) offset: u64,
    /// Where it ended when its lines were counted: what is written afterwards is none of the last lines.
    pub(super) end: Option<u64>,
}

/// Where to start reading which files, oldest first, so that the last `lines` lines are read; all without a number.
pub(super) async fn starts(files: &LogFiles, lines: Option<u64>) -> io::Result<Vec<Start>> {
    let all = files.all();
    let Some(mut missing) = lines else {
        return Ok(all.into_iter().map(|path| Start { path, offset: 0, end: None }).collect());
    };
    let mut starts = Vec::new();
    for path in all.into_iter().rev() {
        let (offset, end, found) = match files.open(&path) {
            Ok(file) => {
                let end = file.metadata()?.len();
                let (offset, found) = tail_start(&mut file.into(), end, missing).await?;
                (offset, Some(end), found)
            }
            // A rotated file may be deleted at any time; the current one may be about to be made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => (0, None, 0),
            Err(error) => return Err(error),
        };
        starts.push(Start { path, offset, end });
        missing -= found;
        if missing == 0 {
            break;
        }
    }
    starts.reverse();
    Ok(starts)
}

/// The offset where the last `lines` lines before `end` begin, and how many there are. The pieces of a cut line
/// count as one; what is not yet ended by a newline does not count.
async fn tail_start(file: &mut tokio::fs::File, mut end: u64, lines: u64) -> io::Result<(u64, u64)> {
    // The part at or after `end` of the line that began before it.
    let mut rest = Vec::new();
    let mut counter = Counter { lines, found: 0, aligned: false };
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES);
        let mut buffer = vec![0; (end - start) as usize];
        file.seek(SeekFrom::Start(start)).await?;
        file.read_exact(&mut buffer).await?;
        buffer.append(&mut rest);
        match counter.count(&buffer, start == 0) {
            Counted::All(offset) => return Ok((start + offset as u64, counter.found)),
            Counted::Before(offset) => buffer.truncate(offset),
        }
        if buffer.len() > MAX_LINE_BYTES {
            buffer.clear();
            counter.aligned = false;
        }
        (rest, end) = (buffer, start);
    }
    Ok((0, counter.found))
}

/// Counts lines from the end of a file towards its beginning, block by block.
struct Counter {
    lines: u64,
    found: u64,
    /// Whether the next block ends where a line does.
    aligned: bool,
}

enum Counted {
    /// The wanted lines begin at this offset of the block.
    All(usize),
    /// All lines from this offset on were counted; more are wanted.
    Before(usize),
}

impl Counter {
    fn count(&mut self, block: &[u8], at_beginning: bool) -> Counted {
        let newline_before = |offset: usize| block[..offset].iter().rposition(|byte| *byte == b'\n');
        let mut end = block.len();
        if !self.aligned {
            let Some(newline) = newline_before(end) else { return Counted::Before(end) };
            self.aligned = true;
            end = newline + 1;
        }
        while end > 0 {
            let start = match newline_before(end - 1) {
                Some(newline) => newline + 1,
                None if at_beginning => 0,
                None => break,
            };
            let is_piece = Line::parse(&block[start..end]).is_some_and(|line| line.partial);
            if !is_piece && self.found == self.lines {
                return Counted::All(end);
            }
            self.found += u64::from(!is_piece);
            end = start;
        }
        Counted::Before(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` lines of some `bytes` bytes; every third is cut into two.
    fn log(count: usize, bytes: usize) -> String {
        let line = |n: usize| {
            let text = format!("{n}{}", "x".repeat(bytes));
            match n % 3 {
                2 => format!("2026-01-01T00:00:00Z stdout P {text}\n2026-01-01T00:00:00Z stdout F {n}\n"),
                _ => format!("2026-01-01T00:00:00Z stdout F {text}\n"),
            }
        };
        (0..count).map(line).collect()
    }

    async fn tail(text: &str, lines: u64) -> (String, u64) {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("log");
        std::fs::write(&path, text).expect("write");
        let mut file = tokio::fs::File::open(&path).await.expect("open");
        let (offset, found) = tail_start(&mut file, text.len() as u64, lines).await.expect("tail");
        (text[offset as usize..].to_owned(), found)
    }

    #[tokio::test]
    async fn the_last_lines() {
        let all = log(10, 5);
        assert_eq!(tail(&all, 1).await, ("2026-01-01T00:00:00Z stdout F 9xxxxx\n".to_owned(), 1));
        let two = "2026-01-01T00:00:00Z stdout P 8xxxxx\n2026-01-01T00:00:00Z stdout F 8\n".to_owned();
        assert_eq!(tail(&all, 2).await, (two + "2026-01-01T00:00:00Z stdout F 9xxxxx\n", 2));
        assert_eq!(tail(&all, 10).await, (all.clone(), 10));
        assert_eq!(tail(&all, 11).await, (all.clone(), 10));
        assert_eq!(tail(&all, 0).await, (String::new(), 0));
        assert_eq!(tail("", 3).await, (String::new(), 0));
        let unfinished = "2026-01-01T00:00:00Z stdout F unfin";
        assert_eq!(tail(&(all + unfinished), 0).await, (unfinished.to_owned(), 0));
    }

    #[tokio::test]
    async fn lines_across_blocks() {
        for bytes in [1, 100, 9_999, 70_000] {
            let all = log(30, bytes);
            let line = |n: usize| all.match_indices(&format!(" {n}x")).next().expect("line").0;
            for lines in [1, 7, 29] {
                let want = all[..line(30 - lines)].rfind('\n').map_or(0, |newline| newline + 1);
                assert_eq!(tail(&all, lines as u64).await, (all[want..].to_owned(), lines as u64), "{bytes} {lines}");
            }
        }
    }
}
