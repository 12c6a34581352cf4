//! The embedded engine: an append-only log on disk, an index of it in memory, one thread that writes.
//!
//! ```text
//! write -> queue -> writer: decide -> append -> one sync -> index -> watchers -> answer      (no sync for renewals alone)
//! get, range ----------------------------------------------> index -> read the value from its file
//! ```
//! Values stay on disk (and in the kernel's cache); the index holds keys and places. It does not replicate, and it
//! does not forget by the clock: history is trimmed and files are compacted because of writes.
//!
//! Start at [`Embedded`]; the order of things on disk is in `recover.rs` and `record.rs`.

mod active;
mod batch;
mod compaction;
mod disk;
mod index;
mod record;
mod recover;
mod segment;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use futures::stream::BoxStream;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use self::batch::Verdict;
use self::disk::{Directory, Disk};
use self::index::{Found, Index};
use self::watch::Watchers;
use self::writer::{Command, Limits, Request, Task, Writer};
use crate::{Entry, Error, Event, Outcome, Page, Revision, Span, Store, Write};

/// Where and how to open the store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory; made if it is missing. Belongs to one store at a time.
    pub dir: PathBuf,
}

/// The embedded store. Dropping it waits for the batch in flight; [`Embedded::close`] does so without blocking.
pub struct Embedded {
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

struct Running {
    commands: mpsc::Sender<Command>,
    thread: JoinHandle<()>,
}

/// What the writer, compactions and callers share. Locks are taken in the order of the fields.
struct Shared {
    watchers: Mutex<Watchers>,
    index: RwLock<Index>,
    /// Why the store does not work any more.
    ended: OnceLock<Error>,
}

impl Shared {
    fn check(&self) -> Result<(), Error> {
        self.ended.get().map_or(Ok(()), |why| Err(why.again()))
    }

    /// Lets every later call and every watch end with `why`. The first reason stays.
    fn end(&self, why: Error) {
        let why = self.ended.get_or_init(|| why);
        self.watchers.lock().end(why);
    }
}

impl Embedded {
    /// Opens the store in a directory, recovering from whatever a crash left there. Blocks while it reads the logs.
    ///
    /// Fails with [`Error::InUse`] if another process holds the directory, with [`Error::Corrupt`] if the files are
    /// not what was written (nothing that is needed is changed then), with [`Error::Io`] if they cannot be read.
    pub fn open(options: Options) -> Result<Self, Error> {
        Self::on(Arc::new(Directory::open(&options.dir)?), Limits::default())
    }

    fn on(disk: Arc<dyn Disk>, limits: Limits) -> Result<Self, Error> {
        let recovered = recover::recover(&*disk)?;
        let (watchers, ended) = Default::default();
        let shared = Arc::new(Shared { watchers, index: RwLock::new(recovered.index), ended });
        let (commands, receiver) = mpsc::channel(writer::QUEUE);
        let writer = Writer {
            shared: shared.clone(),
            disk,
            commands: receiver,
            active: recovered.active,
            reserved: 0,
            sizes: recovered.sizes,
            limits,
            compaction: None,
            postponed: 0,
            seal_postponed: 0,
        };
        let thread = thread::Builder::new().name("store-writer".into());
        let thread = thread.spawn(move || writer.run()).map_err(Error::io("start a thread"))?;
        Ok(Self { shared, running: Mutex::new(Some(Running { commands, thread })) })
    }

    /// Completes the writes that are queued, ends all watches and frees the directory. Later calls get
    /// [`Error::Closed`].
    pub async fn close(&self) {
        let Some(Running { commands, thread }) = self.running.lock().take() else { return };
        // It cannot be sent only if the writer has stopped already.
        let _stopped = commands.send(Command::Close).await;
        let _panicked = spawn_blocking(|| thread.join()).await;
    }

    async fn ask(&self, task: Task) -> Result<Verdict, Error> {
        self.shared.check()?;
        let commands = self.running.lock().as_ref().map(|running| running.commands.clone()).ok_or(Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        let sent = commands.send(Command::Do(Request { task, reply })).await.map_err(|_| self.ended());
        drop(commands);
        sent?;
        answer.await.map_err(|_| self.ended())?
    }

    fn ended(&self) -> Error {
        self.shared.check().err().unwrap_or(Error::Closed)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(Running { commands, thread }) = self.running.get_mut().take() {
            drop(commands);
            let _panicked = thread.join();
        }
    }
}

#[async_trait]
impl Store for Embedded {
    async fn revision(&self) -> Result<Revision, Error> {
        self.shared.check()?;
        Ok(self.shared.index.read().revision())
    }

    async fn get(&self, key: &[u8], at: Option<Revision>) -> Result<Option<Entry>, Error> {
        self.shared.check()?;
        let found = {
            let index = self.shared.index.read();
            let at = at.unwrap_or(index.revision());
            index.check(at)?;
            index.get(key, at)
        };
        load(found).await
    }

    async fn range(&self, span: &Span, at: Option<Revision>, limit: Option<usize>) -> Result<Page, Error> {
        self.shared.check()?;
        let (revision, found, remaining) = {
            let index = self.shared.index.read();
            let at = at.unwrap_or(index.revision());
            index.check(at)?;
            let (found, remaining) = index.range(span, at, limit.unwrap_or(usize::MAX));
            (at, found, remaining)
        };
        let load = move || found.iter().map(Found::load).collect::<Result<Vec<Entry>, Error>>();
        let entries = spawn_blocking(load).await.map_err(|_| Error::Closed)??;
        Ok(Page { revision, entries, remaining })
    }

    async fn write(&self, write: Write) -> Result<Outcome, Error> {
        match self.ask(Task::Write(write)).await? {
            Verdict::Done(revision) => Ok(Outcome::Done(revision)),
            Verdict::Unmet(current) => Ok(Outcome::Unmet(load(current).await?)),
        }
    }

    async fn watch(&self, span: &Span, after: Revision) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
        let mut watchers = self.shared.watchers.lock();
        // Under the lock: whoever ends the store ends the watches that are there after it said so.
        self.shared.check()?;
        let index = self.shared.index.read();
        index.check(after)?;
        let history = index.changes(span, after);
        Ok(Box::pin(watchers.add(span.clone(), history, index.revision())))
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.ask(Task::Compact(revision)).await.map(|_| ())
    }
}

/// Reads an entry without blocking the caller's thread.
async fn load(found: Option<Found>) -> Result<Option<Entry>, Error> {
    let Some(found) = found else { return Ok(None) };
    if let Some(entry) = found.in_memory() {
        return Ok(Some(entry));
    }
    spawn_blocking(move || found.load()).await.map_err(|_| Error::Closed)?.map(Some)
}
