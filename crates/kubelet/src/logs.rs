//! Rotation of containers' logs: a file that has become large is moved aside and the runtime opens a new one; a few are
//! kept.
//!
//! Nothing is polled: the kernel tells of the next write to a log (a one-shot inotify watch), its size is looked at a
//! while later, and the watch is set again. How long that while is follows from how fast the log grew: an idle container
//! costs nothing, a chatty one a look every few seconds, and one that writes as fast as it can is caught in time. The
//! runtime writes logs itself, so this needs its `ReopenContainerLog` and nothing else. A container whose runtime takes
//! its time with that holds up no other one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use sampan_client::Tasks;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::time::DelayQueue;

use crate::cri::Runtime;
use crate::seen::Seen;
use crate::{Error, quantity};

/// How large logs become, and how many files of each are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// A log is rotated when it is larger.
    pub(crate) max_bytes: u64,
    /// Files kept for a container, the current one included.
    pub(crate) max_files: usize,
}

impl Default for LogLimits {
    /// Upstream's.
    fn default() -> Self {
        Self { max_bytes: 10 * 1024 * 1024, max_files: 5 }
    }
}

impl LogLimits {
    /// What is said, as `50Mi` and a number of files, and the defaults for the rest; an error names the flag.
    pub fn parse(max_size: Option<&str>, max_files: Option<usize>) -> Result<Self, String> {
        let defaults = Self::default();
        // Less than nothing turns rotation off.
        let bytes = |text: &str| {
            let bytes = quantity::value(&quantity::of(text))?;
            Some(if bytes < 0 { u64::MAX } else { bytes.try_into().ok()? })
        };
        let max_bytes = match max_size {
            None => defaults.max_bytes,
            Some(text) => bytes(text)
                .filter(|bytes| *bytes > 0)
                .ok_or_else(|| format!("container-log-max-size: {text:?} is no amount such as 50Mi"))?,
        };
        match max_files.unwrap_or(defaults.max_files) {
            few @ 0..=1 => Err(format!("container-log-max-files: {few} must be greater than 1")),
            max_files => Ok(Self { max_bytes, max_files }),
        }
    }
}

/// Logs that are looked at, and rotated, at the same time; further ones wait.
const AT_ONCE: usize = 64;
/// How soon after a write a log is looked at: at the soonest, when it grows fast or nothing is known of it yet, and at
/// the latest.
const SOONEST: Duration = Duration::from_millis(50);
const LATEST: Duration = Duration::from_secs(2);
/// Changes of the set of logs that wait to be taken.
const QUEUE: usize = 4096;

/// The logs of running containers.
#[derive(Clone)]
pub(crate) struct Logs {
    changes: mpsc::Sender<Change>,
}

/// The running containers of one Pod, with their logs.
struct Change {
    uid: String,
    files: Vec<File>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    /// The container's CRI id.
    id: String,
    path: PathBuf,
}

impl Logs {
    /// Starts to rotate logs of `runtime`.
    #[expect(
        deprecated,
        reason = "an OwnedFd stays open while it is registered, which is all that the unsafe successor asks"
    )]
    pub(crate) fn start(runtime: &Runtime, limits: LogLimits, tasks: &Tasks) -> Result<Self, Error> {
        let wrong = Error::io("watching", Path::new("logs"));
        let notify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(std::io::Error::from);
        let notify = notify.and_then(AsyncFd::new).map_err(wrong)?;
        let (changes, received) = mpsc::channel(QUEUE);
        let rotator = Rotator {
            runtime: runtime.clone(),
            limits,
            notify,
            watched: HashMap::new(),
            of_pods: HashMap::new(),
            paces: HashMap::new(),
            paused: DelayQueue::new(),
            due: VecDeque::new(),
            looked_at: HashSet::new(),
            looks: FuturesUnordered::new(),
        };
        tasks.spawn(rotator.run(received));
        Ok(Self { changes })
    }

    /// Follows the logs of the Pod's running containers from now on, and no others of it.
    pub(crate) fn follow(&self, uid: &str, seen: &Seen) {
        let running = seen.containers.iter().filter(|container| container.running() && !container.log_path.is_empty());
        let files = running.map(|container| File { id: container.id.clone(), path: container.log_path.clone().into() });
        let change = Change { uid: uid.to_owned(), files: files.collect() };
        if self.changes.try_send(change).is_err() {
            tracing::warn!(uid, "logs of a Pod are not followed for now: too many changes are waiting");
        }
    }

    /// Removes a log and its rotated files, if it is below `logs`.
    pub(crate) async fn remove(&self, logs: &Path, log: &Path) {
        if !log.starts_with(logs) {
            return;
        }
        for file in rotated(log).into_iter().chain([log.to_path_buf()]) {
            let _ = tokio::fs::remove_file(file).await;
        }
    }
}

struct Rotator {
    runtime: Runtime,
    limits: LogLimits,
    notify: AsyncFd<OwnedFd>,
    /// By watch descriptor.
    watched: HashMap<i32, File>,
    of_pods: HashMap<String, Vec<File>>,
    /// How fast logs grow, by container id.
    paces: HashMap<String, Pace>,
    /// Logs that are looked at again later.
    paused: DelayQueue<File>,
    /// Logs to look at as soon as others have been; no more than there are containers.
    due: VecDeque<File>,
    /// Whose logs are being looked at, by container id: each by one look.
    looked_at: HashSet<String>,
    looks: FuturesUnordered<BoxFuture<'static, Look>>,
}

/// What a look at a log came to.
struct Look {
    file: File,
    len_bytes: u64,
    /// What is left of that after the rotation, if there was one.
    kept_bytes: u64,
}

/// What the last look at a log told.
#[derive(Clone, Copy)]
struct Pace {
    len_bytes: u64,
    at: Instant,
    /// How long after the next write it is looked at again.
    pause: Duration,
}

impl Pace {
    /// After `look`, at a log of at most `max_bytes`.
    fn after(before: Option<Self>, at: Instant, look: &Look, max_bytes: u64) -> Self {
        let grown =
            before.map(|before| (look.len_bytes.saturating_sub(before.len_bytes), at.duration_since(before.at)));
        Self { len_bytes: look.kept_bytes, at, pause: pause(grown, max_bytes.saturating_sub(look.kept_bytes)) }
    }
}

/// How long a log with room for `left_bytes` may be left alone: half the time it takes to fill at the pace at which it
/// grew.
fn pause(grown: Option<(u64, Duration)>, left_bytes: u64) -> Duration {
    match grown {
        None => SOONEST,
        Some((0, _)) => LATEST,
        Some((bytes, during)) => {
            let seconds = during.as_secs_f64() * left_bytes as f64 / bytes as f64 / 2.0;
            Duration::from_secs_f64(seconds.min(LATEST.as_secs_f64())).max(SOONEST)
        }
    }
}

impl Rotator {
    async fn run(mut self, mut changes: mpsc::Receiver<Change>) {
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Some(change) => {
                        let fresh = self.take(change);
                        self.due.extend(fresh);
                    }
                    None => return,
                },
                Some(due) = self.paused.next() => self.due.push_back(due.into_inner()),
                Some(look) = self.looks.next() => self.note(look),
                written = Self::written(&self.notify, &mut self.watched) => {
                    for file in written {
                        // Of a log that was quiet for long, the pace says nothing any more.
                        let pace = self.paces.get(&file.id).filter(|pace| pace.at.elapsed() < LATEST * 2);
                        let pause = pace.map_or(SOONEST, |pace| pace.pause);
                        self.paused.insert(file, pause);
                    }
                }
            }
            self.begin_looks();
        }
    }

    /// Notes the logs of a Pod; those that are new.
    fn take(&mut self, change: Change) -> Vec<File> {
        let known = self.of_pods.remove(&change.uid).unwrap_or_default();
        for gone in known.iter().filter(|file| !change.files.contains(file)) {
            self.paces.remove(&gone.id);
        }
        let fresh = change.files.iter().filter(|file| !known.contains(file)).cloned().collect();
        if !change.files.is_empty() {
            self.of_pods.insert(change.uid, change.files);
        }
        fresh
    }

    fn followed(&self, file: &File) -> bool {
        self.of_pods.values().flatten().any(|known| known == file)
    }

    fn begin_looks(&mut self) {
        while self.looks.len() < AT_ONCE
            && let Some(file) = self.due.pop_front()
        {
            if !self.followed(&file) {
                self.paces.remove(&file.id);
            } else if self.looked_at.insert(file.id.clone()) {
                self.looks.push(Box::pin(look(self.runtime.clone(), self.limits, file)));
            }
        }
    }

    /// Takes what a look came to, and has the kernel tell of the next write to the log.
    fn note(&mut self, look: Look) {
        self.looked_at.remove(&look.file.id);
        let before = self.paces.remove(&look.file.id);
        if !self.followed(&look.file) {
            return;
        }
        let pace = Pace::after(before, Instant::now(), &look, self.limits.max_bytes);
        let file = look.file;
        self.paces.insert(file.id.clone(), pace);
        match inotify::add_watch(&self.notify, &file.path, WatchFlags::MODIFY | WatchFlags::ONESHOT) {
            Ok(watch) => drop(self.watched.insert(watch, file)),
            Err(error) => tracing::debug!(log = %file.path.display(), %error, "log not watched"),
        }
    }

    /// Waits for writes; the logs that were written to.
    async fn written(notify: &AsyncFd<OwnedFd>, watched: &mut HashMap<i32, File>) -> Vec<File> {
        let Ok(mut ready) = notify.readable().await else { return std::future::pending().await };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(notify.get_ref(), &mut buffer);
        let mut files = Vec::new();
        while let Ok(event) = reader.next() {
            files.extend(watched.remove(&event.wd()));
        }
        ready.clear_ready();
        files
    }
}

/// Looks how large a log is, and rotates it if it is too large.
async fn look(runtime: Runtime, limits: LogLimits, file: File) -> Look {
    let len_bytes = tokio::fs::metadata(&file.path).await.map_or(0, |metadata| metadata.len());
    let mut kept_bytes = len_bytes;
    if len_bytes > limits.max_bytes {
        match rotate(&runtime, &file, limits.max_files).await {
            Ok(()) => kept_bytes = 0,
            Err(error) => tracing::warn!(log = %file.path.display(), %error, "log not rotated"),
        }
    }
    Look { file, len_bytes, kept_bytes }
}

/// Moves the log aside, has the runtime open a new one, and drops the oldest.
async fn rotate(runtime: &Runtime, file: &File, max_files: usize) -> Result<(), Error> {
    let aside = aside(&file.path, sampan_clock::now());
    tokio::fs::rename(&file.path, &aside).await.map_err(Error::io("moving aside", &file.path))?;
    if let Err(error) = runtime.reopen_log(&file.id).await {
        let _ = tokio::fs::rename(&aside, &file.path).await;
        return Err(error);
    }
    let old = rotated(&file.path);
    for superfluous in old.iter().take((old.len() + 1).saturating_sub(max_files)) {
        let _ = tokio::fs::remove_file(superfluous).await;
    }
    Ok(())
}

/// The name of a log that is moved aside at `now`. Names sort as the times do, and a container may fill more than one log
/// in a second.
fn aside(log: &Path, now: Timestamp) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(now.strftime(".%Y%m%d-%H%M%S%.6f").to_string());
    name.into()
}

/// The rotated files of a log, oldest first.
fn rotated(log: &Path) -> Vec<PathBuf> {
    let Some((parent, name)) = log.parent().zip(log.file_name()) else { return Vec::new() };
    let prefix = format!("{}.", name.to_string_lossy());
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    let of_log = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    let mut files: Vec<PathBuf> = entries.filter(of_log).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotated_logs_sort_as_they_were_rotated() {
        let name = |time: &str| aside(Path::new("/c/0.log"), time.parse().unwrap()).display().to_string();
        let times =
            ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.25Z", "2026-01-02T03:04:05.3Z", "2026-01-02T03:04:06Z"];
        let names = times.map(name);
        assert_eq!(names[1], "/c/0.log.20260102-030405.250000");
        assert!(names.is_sorted_by(|one, other| one < other), "{names:?}");
        assert!("/c/0.log.20260102-030405" < names[0].as_str(), "what earlier versions have left is older");
    }

    #[test]
    fn a_log_is_looked_at_before_it_is_full() {
        const MAX_BYTES: u64 = 10 << 20;
        let second = Duration::from_secs(1);
        for (grown, left_bytes, want_ms) in [
            (None, MAX_BYTES, 50),
            (Some((0, second)), MAX_BYTES, 2000),
            // A line a second; ten megabytes a second; all that a disk takes.
            (Some((100, second)), MAX_BYTES, 2000),
            (Some((10 << 20, second)), MAX_BYTES, 500),
            (Some((10 << 20, second)), MAX_BYTES / 5, 100),
            (Some((1 << 30, second)), MAX_BYTES, 50),
            (Some((100, second)), 0, 50),
        ] {
            assert_eq!(pause(grown, left_bytes).as_millis(), want_ms, "{grown:?} {left_bytes}");
        }
    }

    #[test]
    fn limits_are_upstreams_unless_said() {
        for (size, files, want) in [
            (None, None, Ok((10 << 20, 5))),
            (Some("1500k"), Some(2), Ok((1_500_000, 2))),
            (Some("much"), None, Err("container-log-max-size: \"much\" is no amount such as 50Mi")),
            (Some("0"), None, Err("container-log-max-size: \"0\" is no amount such as 50Mi")),
            (Some("-1"), None, Ok((u64::MAX, 5))),
            (None, Some(1), Err("container-log-max-files: 1 must be greater than 1")),
        ] {
            let got = LogLimits::parse(size, files).map(|limits| (limits.max_bytes, limits.max_files));
            assert_eq!(got, want.map_err(str::to_owned), "{size:?} {files:?}");
        }
    }
}
