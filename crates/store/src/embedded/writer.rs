//! The one thread that writes: takes all that is queued, decides it as a [`Batch`], appends it in one write, syncs
//! once, and only then shows and answers it; a batch of nothing but renewals is not synced. It also seals logs and starts
//! compactions, always because of a write: an idle store does nothing.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::active::{Active, Durable, Failure};
use super::batch::{Batch, Verdict};
use super::compaction::Compaction;
use super::disk::Disk;
use super::index::Retention;
use super::record::{Kind, Record};
use super::recover::{Sizes, sync_names};
use crate::{Error, Revision, Write};

/// Bound on requests that wait for the writer; more wait in line without being queued.
pub(super) const QUEUE: usize = 1_024;
/// Bound on the requests of one batch.
const BATCH_REQUESTS: usize = 1_024;
/// No more is taken into a batch that has this many bytes.
const BATCH_BYTES: usize = 8 << 20;
/// Writes wait for a running compaction when the dead bytes are this many times those that started it: so the disk
/// cannot fill faster than it is cleared.
const OVERGROWTH: u64 = 4;
/// Revisions that are reserved for renewals at a time: so many of them are synced once, and so many are skipped after a
/// crash.
pub(super) const RESERVED: u64 = 1_000;

/// When to seal, forget and compact.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A log of this length is sealed.
    pub(super) log_bytes: u64,
    /// Zeros that are written ahead of the log's end at once. Few make writes wait often, many make one wait long.
    pub(super) ahead_bytes: usize,
    /// History that is kept.
    pub(super) retention: Retention,
    /// Compaction waits for this many dead bytes more than there are live ones.
    pub(super) slack_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let retention = Retention { revisions: 10_000, bytes: 128 << 20 };
        Self { log_bytes: 64 << 20, ahead_bytes: 1 << 20, retention, slack_bytes: 16 << 20 }
    }
}

/// What the writer is asked to do.
pub(super) enum Task {
    /// A conditional write.
    Write(Write),
    /// Forget history before a revision.
    Compact(Revision),
}

/// A task of a caller who waits.
pub(super) struct Request {
    /// What to do.
    pub(super) task: Task,
    /// Where the answer goes.
    pub(super) reply: oneshot::Sender<Answer>,
}

/// What the caller gets.
type Answer = Result<Verdict, Error>;

/// A message to the writer.
pub(super) enum Command {
    /// Do this and answer.
    Do(Request),
    /// Finish what came before, then stop.
    Close,
}

/// An answer that waits for its batch to be durable.
struct Pending {
    reply: oneshot::Sender<Answer>,
    answer: Answer,
}

impl Pending {
    fn send(self) {
        // Who asked may have gone; the write stands all the same.
        let _gone = self.reply.send(self.answer);
    }

    fn refuse(self, error: &Error) {
        Self { answer: Err(error.again()), ..self }.send();
    }
}

/// The writer's state, all of it its own.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) active: Active,
    /// Up to here the active log reserves revisions: those that may be given out before they are durable.
    pub(super) reserved: Revision,
    pub(super) sizes: Sizes,
    pub(super) limits: Limits,
    pub(super) compaction: Option<JoinHandle<Result<Done, Error>>>,
    /// After a compaction failed: dead bytes to wait for before the next.
    pub(super) postponed: u64,
    /// After a new log could not be made: length of the present one to wait for before the next attempt.
    pub(super) seal_postponed: u64,
}

/// A compaction's result.
pub(super) struct Done {
    /// The snapshot's last revision.
    pub(super) through: Revision,
    /// Its size.
    pub(super) bytes: u64,
}

impl Writer {
    /// Works until [`Command::Close`], until nobody can send any more, or until the disk fails for good.
    pub(super) fn run(mut self) {
        let mut open = true;
        let mut why = Error::Closed;
        while open && let Some(first) = self.commands.blocking_recv() {
            let requests;
            (requests, open) = self.gather(first);
            if let Err(fatal) = self.commit(requests).and_then(|()| self.maintain()) {
                tracing::error!(error = %fatal, "the store has stopped");
                (open, why) = (false, fatal);
            }
        }
        if let Error::Closed = why {
            self.settle();
        }
        self.shared.end(why);
        if let Some(compaction) = self.compaction.take() {
            // It sees that the store has ended. What it left behind, the next start removes.
            let _unfinished = compaction.join();
        }
    }

    /// Makes renewals durable, and gives back what was reserved: the next start has lost nothing.
    fn settle(&mut self) {
        let revision = self.shared.index.read().revision();
        if self.reserved >= revision.max(1) {
            let mut bytes = Vec::new();
            let batch = self.active.synced;
            let record = Record { kind: Kind::Reserve, revision, created: 0, batch, key: &[], value: &[] };
            record.encode(self.active.end, &mut bytes);
            if let Err(Failure::Refused(error) | Failure::Fatal(error)) = self.active.append(&bytes, 0, Durable::Now) {
                tracing::warn!(%error, "the last renewals may be lost");
            }
        }
    }

    /// All requests that wait, and whether to go on after them.
    fn gather(&mut self, first: Command) -> (Vec<Request>, bool) {
        let mut requests = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(command) = next {
            let Command::Do(request) = command else { return (requests, false) };
            bytes += request.task.bytes();
            requests.push(request);
            let full = requests.len() >= BATCH_REQUESTS || bytes >= BATCH_BYTES;
            next = if full { None } else { self.commands.try_recv().ok() };
        }
        (requests, true)
    }

    /// Makes requests durable, visible and answered, in this order. An error is fatal.
    fn commit(&mut self, requests: Vec<Request>) -> Result<(), Error> {
        let (batch, answers) = self.decide(requests);
        match self.append(&batch) {
            Ok(()) => {
                self.reserved = batch.reserved().unwrap_or(self.reserved);
                self.publish(batch);
                answers.into_iter().for_each(Pending::send);
                Ok(())
            }
            Err(Failure::Refused(error)) => {
                answers.into_iter().for_each(|pending| pending.refuse(&error));
                Ok(())
            }
            Err(Failure::Fatal(error)) => {
                // First: who gets the answer must find the store stopped.
                self.shared.end(error.again());
                answers.into_iter().for_each(|pending| pending.refuse(&error));
                Err(error)
            }
        }
    }

    fn decide(&self, requests: Vec<Request>) -> (Batch, Vec<Pending>) {
        let index = self.shared.index.read();
        let mut batch = Batch::new(&self.active, index.revision());
        let decide = |Request { task, reply }| {
            let answer = match task {
                Task::Write(write) => batch.stage(write, &index),
                Task::Compact(revision) => batch.compact(revision, &index),
            };
            Pending { reply, answer }
        };
        let answers = requests.into_iter().map(decide).collect();
        if !batch.bytes().is_empty()
            && let Some(revision) = index.surplus(self.limits.retention)
        {
            batch.forget(revision);
        }
        batch.reserve(self.reserved, RESERVED);
        (batch, answers)
    }

    fn append(&mut self, batch: &Batch) -> Result<(), Failure> {
        match batch.bytes() {
            [] => Ok(()),
            bytes => self.active.append(bytes, self.limits.ahead_bytes, batch.durable()),
        }
    }

    fn publish(&self, batch: Batch) {
        if batch.bytes().is_empty() {
            return;
        }
        // Watchers first, then the index: a new watch takes both in this order, and so sees all of a batch or nothing.
        let mut watchers = self.shared.watchers.lock();
        let mut index = self.shared.index.write();
        let changes = batch.publish(&mut index);
        let revision = index.revision();
        drop(index);
        watchers.dispatch(&changes, revision);
    }

    /// Seals a full log and starts a compaction if enough is dead. If there is no space for it, both wait until there
    /// is more to gain. An error is fatal.
    fn maintain(&mut self) -> Result<(), Error> {
        if self.compaction.as_ref().is_some_and(|compaction| compaction.is_finished() || self.is_overgrown()) {
            self.finish_compaction();
        }
        if self.active.end >= self.limits.log_bytes.max(self.seal_postponed)
            && let Some(refused) = refused(self.seal())?
        {
            tracing::warn!(error = %refused, "cannot begin a new log; the present one goes on");
            self.seal_postponed = self.active.end + self.limits.log_bytes / 8;
        }
        let (dead, bound) = self.dead_bytes();
        if self.compaction.is_none()
            && dead > bound.max(self.postponed)
            && let Some(refused) = refused(self.start_compaction())?
        {
            self.postpone(&refused);
        }
        Ok(())
    }

    /// Bytes that nobody needs, and how many there may be before a compaction is worth it.
    fn dead_bytes(&self) -> (u64, u64) {
        let live = self.shared.index.read().live_bytes();
        (self.total_bytes().saturating_sub(live), live + self.limits.slack_bytes)
    }

    /// Whether writes are so far ahead of the running compaction that they must wait for it.
    fn is_overgrown(&self) -> bool {
        let (dead, bound) = self.dead_bytes();
        dead > OVERGROWTH * bound.max(self.postponed)
    }

    fn total_bytes(&self) -> u64 {
        self.sizes.snapshot + self.sizes.sealed.iter().map(|(_, bytes)| bytes).sum::<u64>() + self.active.end
    }

    /// Goes on to a new log, if the present one holds any revision: a log is named by its first.
    fn seal(&mut self) -> Result<(), Failure> {
        let next = self.shared.index.read().revision() + 1;
        if next > self.active.first {
            self.active.sync()?;
            let new = Active::create(&*self.disk, next).map_err(Failure::Refused)?;
            let sealed = std::mem::replace(&mut self.active, new);
            self.sizes.sealed.push((sealed.first, sealed.end));
            (self.seal_postponed, self.reserved) = (0, 0);
            sync_names(&*self.disk).map_err(Failure::Fatal)?;
        }
        Ok(())
    }

    fn start_compaction(&mut self) -> Result<(), Failure> {
        self.seal()?;
        let through = self.active.first - 1;
        let compacted = self.shared.index.read().compacted();
        let compaction = Compaction { shared: self.shared.clone(), disk: self.disk.clone(), through, compacted };
        let thread = thread::Builder::new().name("store-compaction".into()).spawn(move || compaction.run());
        self.compaction = Some(thread.map_err(Error::io("start a thread")).map_err(Failure::Refused)?);
        Ok(())
    }

    fn finish_compaction(&mut self) {
        let Some(compaction) = self.compaction.take() else { return };
        match compaction.join() {
            Ok(Ok(done)) => {
                self.sizes.sealed.retain(|(first, _)| *first > done.through);
                self.sizes.snapshot = done.bytes;
                self.postponed = 0;
            }
            Ok(Err(error)) => self.postpone(&error),
            Err(_panicked) => self.postpone(&Error::io("compact")(std::io::Error::other("the thread panicked"))),
        }
    }

    fn postpone(&mut self, error: &Error) {
        tracing::warn!(%error, "compaction failed; the next one waits for more to compact");
        self.postponed = self.dead_bytes().0 + self.limits.slack_bytes;
    }
}

/// What only this time did not work. What is fatal stays an error.
fn refused(result: Result<(), Failure>) -> Result<Option<Error>, Error> {
    match result {
        Ok(()) => Ok(None),
        Err(Failure::Refused(error)) => Ok(Some(error)),
        Err(Failure::Fatal(error)) => Err(error),
    }
}

impl Task {
    fn bytes(&self) -> usize {
        match self {
            Task::Write(
                Write::Create { key, value } | Write::Update { key, value, .. } | Write::Renew { key, value, .. },
            ) => key.len() + value.len(),
            Task::Write(Write::Delete { key, .. }) => key.len(),
            Task::Compact(_) => 0,
        }
    }
}
