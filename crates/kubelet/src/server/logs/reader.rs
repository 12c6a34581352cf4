//! A container's log as one stream: rotated files, then the current one, then what is written while it is followed.

use std::{
    collections::VecDeque,
    io::{self, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    fs::File,
    io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, BufReader, Take},
    sync::watch,
};

use super::{
    directories::Watch,
    files::LogFiles,
    line::{Filter, Line},
    query::LogQuery,
    tail::{self, MAX_LINE_BYTES, Start},
};

/// A chunk is handed on when it is at least as large, or when there is nothing more to read for now.
const CHUNK_BYTES: usize = 32 * 1024;

/// Reads a log chunk by chunk.
pub(super) struct Reader {
    files: LogFiles,
    /// Still to be read.
    starts: VecDeque<Start>,
    open: Option<Open>,
    filter: Filter,
    follow: Option<Follow>,
}

/// The file that is being read.
struct Open {
    file: BufReader<Take<File>>,
    inode: u64,
    /// The beginning of a line whose end is not yet there.
    line: Vec<u8>,
}

/// How a reader at the end of the current log learns whether there will be more.
pub(super) struct Follow {
    directory: Watch,
    pods: watch::Receiver<u64>,
    running: Box<dyn Fn() -> bool + Send + Sync>,
    phase: Phase,
}

/// What a follower found out at the end of the file. Each finding is followed by another look at the file, since the
/// container may have written between the first look and the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The container may write more.
    Writing,
    /// The container writes to a new file now.
    Rotated,
    /// The container writes no more.
    Ended,
}

impl Follow {
    /// Follows while `running` says so; it is asked whenever `pods` tick.
    pub(super) fn new(
        directory: Watch,
        pods: watch::Receiver<u64>,
        running: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { directory, pods, running: Box::new(running), phase: Phase::Writing }
    }

    /// Returns when the files or the container may have changed.
    async fn wait(&mut self) {
        tokio::select! {
            () = self.directory.changed() => {}
            told = self.pods.changed() => {
                // Whoever ran the Pods is gone: nobody would tell of the container's end.
                if told.is_err() {
                    self.phase = Phase::Ended;
                }
            }
        }
    }
}

impl Reader {
    /// A reader of what `query` asks for. It has its first file open: whoever asks is told of a log that cannot be read,
    /// before an answer has begun.
    pub(super) async fn open(files: LogFiles, query: &LogQuery, follow: Option<Follow>) -> io::Result<Self> {
        let starts = tail::starts(&files, query.tail).await?.into();
        let mut reader = Self { files, starts, open: None, filter: query.filter.clone(), follow };
        if let Some(first) = reader.starts.pop_front() {
            reader.open = reader.open_at(&first).await?;
        }
        Ok(reader)
    }

    /// The next chunk, as soon as there is one; none at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut chunk = BytesMut::new();
        loop {
            self.read(&mut chunk).await?;
            if !chunk.is_empty() {
                return Ok(Some(chunk.freeze()));
            }
            if self.filter.is_full() || !self.advance().await? {
                return Ok(None);
            }
        }
    }

    /// Reads the open file until the chunk is large, or to the file's end.
    async fn read(&mut self, chunk: &mut BytesMut) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        while chunk.len() < CHUNK_BYTES && !self.filter.is_full() {
            let room = MAX_LINE_BYTES.saturating_sub(open.line.len()) as u64;
            if (&mut open.file).take(room).read_until(b'\n', &mut open.line).await? == 0 && room > 0 {
                return Ok(());
            }
            if open.line.ends_with(b"\n") {
                if let Some(line) = Line::parse(&open.line) {
                    self.filter.push(&line, chunk);
                }
                open.line.clear();
            } else if open.line.len() >= MAX_LINE_BYTES {
                // No runtime writes such a line. What follows its newline is read again.
                open.line.clear();
            }
        }
        Ok(())
    }

    /// At the end of a file: goes on to the next one, or waits for more. False at the end of the log.
    async fn advance(&mut self) -> io::Result<bool> {
        if let Some(start) = self.starts.pop_front() {
            self.open = self.open_at(&start).await?;
            return Ok(true);
        }
        let replaced = self.is_replaced();
        let Some(follow) = &mut self.follow else { return Ok(false) };
        match follow.phase {
            Phase::Ended => return Ok(false),
            Phase::Rotated => {
                follow.phase = Phase::Writing;
                let path = self.successor();
                self.starts.push_back(Start { path, offset: 0, end: None });
            }
            Phase::Writing if replaced => follow.phase = Phase::Rotated,
            Phase::Writing if !(follow.running)() => follow.phase = Phase::Ended,
            Phase::Writing => follow.wait().await,
        }
        Ok(true)
    }

    /// Whether there is a current log, and it is another file than the open one.
    fn is_replaced(&self) -> bool {
        let open = self.open.as_ref().map(|open| open.inode);
        self.files.current_inode().is_some_and(|inode| open != Some(inode))
    }

    /// The file that was begun after the open one: the current one, unless there have been more rotations.
    fn successor(&self) -> PathBuf {
        let files = self.files.all();
        let inode = |path: &Path| path.symlink_metadata().ok().map(|metadata| metadata.ino());
        let next = self.open.as_ref().and_then(|open| {
            let place = files.iter().position(|path| inode(path) == Some(open.inode));
            // One that was removed was the oldest.
            files.get(place.map_or(0, |place| place + 1))
        });
        next.map_or_else(|| self.files.current().to_path_buf(), PathBuf::clone)
    }

    /// Opens a file; none if it is gone by now, or not there yet.
    async fn open_at(&self, start: &Start) -> io::Result<Option<Open>> {
        let file = match self.files.open(&start.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let inode = file.metadata()?.ino();
        let mut file = File::from_std(file);
        file.seek(SeekFrom::Start(start.offset)).await?;
        let end = start.end.filter(|_| self.follow.is_none()).unwrap_or(u64::MAX);
        let file = BufReader::new(file.take(end.saturating_sub(start.offset)));
        Ok(Some(Open { file, inode, line: Vec::new() }))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        time::Duration,
    };

    use super::*;
    use crate::server::logs::directories::Directories;

    /// A container's log that a test writes.
    struct Log {
        dir: tempfile::TempDir,
    }

    impl Log {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().expect("dir") }
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("0.log")
        }

        fn files(&self) -> LogFiles {
            LogFiles::new(self.dir.path().to_path_buf(), self.path()).expect("inside")
        }

        fn write(&self, path: &Path, text: &str) {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("open");
            for line in text.split_inclusive('\n') {
                file.write_all(format!("2026-01-01T00:00:00Z stdout F {line}").as_bytes()).expect("write");
            }
        }

        fn rotate(&self, stamp: &str) -> PathBuf {
            let aside = self.dir.path().join(format!("0.log.{stamp}"));
            std::fs::rename(self.path(), &aside).expect("rename");
            aside
        }
    }

    async fn next(reader: &mut Reader) -> Option<String> {
        let chunk = tokio::time::timeout(Duration::from_secs(10), reader.next()).await.expect("in time").expect("read");
        chunk.map(|bytes| String::from_utf8(bytes.to_vec()).expect("text"))
    }

    async fn read_all(log: &Log, tail: Option<u64>) -> String {
        let query = LogQuery { tail, ..LogQuery::default() };
        let mut reader = Reader::open(log.files(), &query, None).await.expect("open");
        let mut all = String::new();
        while let Some(chunk) = next(&mut reader).await {
            all.push_str(&chunk);
        }
        all
    }

    #[tokio::test]
    async fn rotated_files_and_the_current_one() {
        let log = Log::new();
        assert_eq!(read_all(&log, None).await, "");
        log.write(&log.path(), "1\n2\n");
        log.rotate("20260101-000000");
        log.write(&log.path(), "3\n4\n");
        log.rotate("20260102-000000");
        assert_eq!(read_all(&log, None).await, "1\n2\n3\n4\n");
        log.write(&log.path(), "5\nunfinished");
        assert_eq!(read_all(&log, None).await, "1\n2\n3\n4\n5\n");
        assert_eq!(read_all(&log, Some(2)).await, "4\n5\n");
        assert_eq!(read_all(&log, Some(4)).await, "2\n3\n4\n5\n");
        assert_eq!(read_all(&log, Some(99)).await, "1\n2\n3\n4\n5\n");
        assert_eq!(read_all(&log, Some(0)).await, "");
    }

    #[tokio::test]
    async fn the_last_lines_are_those_of_the_moment_they_were_asked_for() {
        let log = Log::new();
        log.write(&log.path(), "1\n2\n");
        let query = LogQuery { tail: Some(1), ..LogQuery::default() };
        let mut reader = Reader::open(log.files(), &query, None).await.expect("open");
        log.write(&log.path(), "3\n");
        assert_eq!(next(&mut reader).await.as_deref(), Some("2\n"));
        assert_eq!(next(&mut reader).await, None);
    }

    #[tokio::test]
    async fn following_through_a_rotation_to_the_end() {
        let log = Log::new();
        log.write(&log.path(), "1\n2\n");
        let directories = Arc::new(Directories::open().expect("inotify"));
        let events = tokio::spawn(directories.clone().run());
        let running = Arc::new(AtomicBool::new(true));
        let (ticks, pods) = watch::channel(0);
        let alive = running.clone();
        let watch = directories.watch(log.dir.path()).expect("watch");
        let follow = Follow::new(watch, pods, move || alive.load(Ordering::SeqCst));
        let query = LogQuery { tail: Some(1), ..LogQuery::default() };
        let mut reader = Reader::open(log.files(), &query, Some(follow)).await.expect("open");
        assert_eq!(next(&mut reader).await.as_deref(), Some("2\n"));

        let (waiting, ()) = tokio::join!(next(&mut reader), async { log.write(&log.path(), "3\n") });
        assert_eq!(waiting.as_deref(), Some("3\n"));

        // The runtime writes on to the moved file until it reopens its log.
        let aside = log.rotate("20260101-000000");
        log.write(&aside, "4\n");
        assert_eq!(next(&mut reader).await.as_deref(), Some("4\n"));
        log.write(&aside, "5\n");
        log.write(&log.path(), "6\n");
        let mut rest = String::new();
        while rest.len() < 4 {
            rest.push_str(&next(&mut reader).await.expect("more"));
        }
        assert_eq!(rest, "5\n6\n");

        // What was written before the end is read, and then it ends.
        log.write(&log.path(), "7\n");
        running.store(false, Ordering::SeqCst);
        ticks.send_replace(1);
        assert_eq!(next(&mut reader).await.as_deref(), Some("7\n"));
        assert_eq!(next(&mut reader).await, None);
        events.abort();
    }

    #[tokio::test]
    async fn a_follower_that_is_slow_reads_every_file() {
        let log = Log::new();
        log.write(&log.path(), "1\n");
        let directories = Arc::new(Directories::open().expect("inotify"));
        let (_ticks, pods) = watch::channel(0);
        let follow = Follow::new(directories.watch(log.dir.path()).expect("watch"), pods, || true);
        let query = LogQuery { tail: Some(1), ..LogQuery::default() };
        let mut reader = Reader::open(log.files(), &query, Some(follow)).await.expect("open");
        assert_eq!(next(&mut reader).await.as_deref(), Some("1\n"));
        for (line, stamp) in [("2\n", "20260101-000000"), ("3\n", "20260102-000000"), ("4\n", "20260103-000000")] {
            log.rotate(stamp);
            log.write(&log.path(), line);
        }
        let mut rest = String::new();
        while rest.len() < 6 {
            rest.push_str(&next(&mut reader).await.expect("more"));
        }
        assert_eq!(rest, "2\n3\n4\n");

        // The open file may be the oldest, and removed.
        let open = log.rotate("20260104-000000");
        std::fs::remove_file(open).expect("remove");
        for old in ["20260101-000000", "20260102-000000", "20260103-000000"] {
            let _ = std::fs::remove_file(log.dir.path().join(format!("0.log.{old}")));
        }
        log.write(&log.path(), "5\n");
        log.rotate("20260105-000000");
        log.write(&log.path(), "6\n");
        let mut rest = String::new();
        while rest.len() < 4 {
            rest.push_str(&next(&mut reader).await.expect("more"));
        }
        assert_eq!(rest, "5\n6\n");
    }

    #[tokio::test]
    async fn an_endless_line_is_skipped_in_bounded_memory() {
        let log = Log::new();
        log.write(&log.path(), &format!("before\n{}\nafter\n", "x".repeat(3 * MAX_LINE_BYTES)));
        assert_eq!(read_all(&log, None).await, "before\nafter\n");
    }
}
