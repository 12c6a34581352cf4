//! The file that audit events go to, one JSON line each, in turn with older ones kept beside it.
//!
//! One thread writes. Requests hand their events over through a bounded queue and never wait: what does not fit is
//! counted and told in the server's own log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

/// Events that may wait for the disk.
const QUEUE: usize = 8192;
/// One in this many lost events is told of.
const TELL_EVERY: u64 = 1000;

/// Where the log is kept, and how much of it.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The file; `-` is the standard output.
    pub path: PathBuf,
    /// Bytes after which a new file is begun.
    pub max_bytes: u64,
    /// How many full files are kept; 0 for all.
    pub max_backups: usize,
    /// How long full files are kept.
    pub max_age: Option<SignedDuration>,
}

/// The log.
pub(super) struct Log {
    queue: Mutex<Option<SyncSender<String>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    lost: AtomicU64,
}

impl Log {
    /// Opens the file.
    pub(super) fn open(options: LogOptions) -> io::Result<Self> {
        let sink = Sink::open(options)?;
        let (sender, receiver) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new().name("audit-log".to_owned()).spawn(move || write(sink, &receiver))?;
        Ok(Self { queue: Mutex::new(Some(sender)), writer: Mutex::new(Some(writer)), lost: AtomicU64::new(0) })
    }

    /// Hands a line over, if there is room for it.
    pub(super) fn put(&self, line: String) {
        let taken = self.queue.lock().as_ref().is_some_and(|queue| queue.try_send(line).is_ok());
        if taken {
            return;
        }
        let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
        if lost % TELL_EVERY == 1 {
            tracing::error!(lost, "audit events were lost: the disk does not keep up");
        }
    }

    /// Writes what has been handed over, and ends.
    pub(super) async fn shutdown(&self) {
        drop(self.queue.lock().take());
        let Some(writer) = self.writer.lock().take() else { return };
        let _ = tokio::task::spawn_blocking(move || writer.join()).await;
    }
}

fn write(mut sink: Sink, lines: &Receiver<String>) {
    while let Ok(line) = lines.recv() {
        if let Err(error) = sink.write(&line) {
            tracing::error!(%error, path = %sink.options.path.display(), "an audit event could not be written");
        }
    }
}

struct Sink {
    options: LogOptions,
    /// The file and its length; `None` for the standard output.
    file: Option<(File, u64)>,
}

impl Sink {
    fn open(options: LogOptions) -> io::Result<Self> {
        let file = if options.path == Path::new("-") { None } else { Some(open(&options.path)?) };
        Ok(Self { options, file })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let Some((file, length)) = &mut self.file else { return io::stdout().write_all(line.as_bytes()) };
        file.write_all(line.as_bytes())?;
        *length += line.len() as u64;
        if *length >= self.options.max_bytes {
            self.turn()?;
        }
        Ok(())
    }

    /// Puts the full file beside the others, and begins a new one.
    fn turn(&mut self) -> io::Result<()> {
        let now = sampan_clock::now();
        fs::rename(&self.options.path, backup(&self.options.path, now))?;
        self.file = Some(open(&self.options.path)?);
        for old in outdated(&backups(&self.options.path)?, &self.options, now) {
            fs::remove_file(old)?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// The form of the time in a full file's name.
const STAMP: &str = "%Y-%m-%dT%H-%M-%S%.6f";

/// `audit.log` becomes `audit-2026-01-31T10-00-00.000000.log`.
fn backup(path: &Path, now: Timestamp) -> PathBuf {
    let (stem, suffix) = parts(path);
    path.with_file_name(format!("{stem}-{}{suffix}", now.strftime(STAMP)))
}

fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    (text(path.file_stem()).unwrap_or_default(), text(path.extension()).map(|e| format!(".{e}")).unwrap_or_default())
}

/// The full files, oldest first, each with the time in its name.
fn backups(path: &Path) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let (stem, suffix) = parts(path);
    let mut found = Vec::new();
    for entry in fs::read_dir(path.parent().unwrap_or(Path::new(".")))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let stamp = name.strip_prefix(&format!("{stem}-")).and_then(|rest| rest.strip_suffix(&suffix));
        let time = stamp.and_then(|stamp| jiff::civil::DateTime::strptime(STAMP, stamp).ok());
        if let Some(time) = time.and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC).ok()) {
            found.push((time.timestamp(), path));
        }
    }
    found.sort();
    Ok(found)
}

/// Of the full files, those that are too many or too old.
fn outdated<'f>(files: &'f [(Timestamp, PathBuf)], options: &LogOptions, now: Timestamp) -> Vec<&'f PathBuf> {
    let surplus = if options.max_backups == 0 { 0 } else { files.len().saturating_sub(options.max_backups) };
    let too_old = |at: &Timestamp| options.max_age.is_some_and(|age| *at < now - age);
    let gone = files.iter().enumerate().filter(|(index, (at, _))| *index < surplus || too_old(at));
    gone.map(|(_, (_, path))| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn full_files_are_put_aside_and_only_the_newest_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let options = LogOptions { path: path.clone(), max_bytes: 10, max_backups: 2, max_age: None };
        let mut sink = Sink::open(options).unwrap();
        for n in 0..5 {
            sink.write(&format!("line number {n}\n")).unwrap();
        }
        sink.write("rest\n").unwrap();
        let kept = backups(&path).unwrap();
        let texts: Vec<String> = kept.iter().map(|(_, path)| fs::read_to_string(path).unwrap()).collect();
        assert_eq!(texts, ["line number 3\n", "line number 4\n"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "rest\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn old_files_go() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let file = |text: &str| (text.parse().unwrap(), PathBuf::from(text));
        let files = [file("2026-01-01T00:00:00Z"), file("2026-01-09T00:00:00Z")];
        let options = LogOptions {
            path: "audit.log".into(),
            max_bytes: 1,
            max_backups: 0,
            max_age: Some(SignedDuration::from_hours(48)),
        };
        assert_eq!(outdated(&files, &options, now), [&files[0].1]);
    }
}
