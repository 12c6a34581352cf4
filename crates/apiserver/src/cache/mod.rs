//! The watch cache: every object, encoded and ready to be sent, kept up to date by one watch of the store.
//!
//! Reads are served from here after it has reached the revision the store has now ([`Cache::fresh`]), so they are as
//! consistent as reads of the store itself; only older revisions and later pages of a list are read from the store.
//! Start at [`Cache`]; a [`Room`] holds one kind's objects and history, a watcher is a cursor into that history, or into
//! that of the part of the kind which it watches (`parts`).

mod filter;
mod history;
mod list;
mod object;
mod options;
mod parts;
mod room;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use parking_lot::RwLock;
use sampan_api::kind::{Kind, KindRef};
use sampan_api::status::Status;
use sampan_store::{Entry, Event, Revision, Span, Store};
use tokio::sync::watch as signal;
use tokio_util::sync::CancellationToken;

pub(crate) use self::filter::Filter;
pub(crate) use self::history::{Change, Step};
pub(crate) use self::list::{List, Refused};
pub(crate) use self::object::{EventType, Object, encode, frame_of, labels};
pub(crate) use self::options::{ListOptions, Match, Token, check_watch, revision_of};
use self::room::News;
pub(crate) use self::room::Room;
pub(crate) use self::watch::{Start, Told, Watch, WatchOptions};

/// All keys begin so.
pub(crate) const PREFIX: &str = "/registry/";
/// How long a read waits for a revision that the cache has not reached.
const CATCH_UP: Duration = Duration::from_secs(3);
/// How many events are applied before readers are told.
const BATCH: usize = 256;
/// How long to wait before watching the store again after it failed.
const RETRY: Duration = Duration::from_millis(200);

/// The cache.
pub(crate) struct Cache {
    store: Arc<dyn Store>,
    rooms: RwLock<Rooms>,
    reached: signal::Sender<Revision>,
    /// Whether the store could not be followed lately.
    lost: AtomicBool,
}

/// The rooms by storage name.
#[derive(Default)]
struct Rooms {
    open: HashMap<&'static str, Arc<Room>>,
    /// Rooms that are being loaded: changes reach them, nobody reads them yet.
    opening: HashMap<&'static str, Arc<Room>>,
}

/// How often a room is loaded anew because too much changed meanwhile.
const MAX_LOADS: usize = 8;

impl Cache {
    /// Loads everything from `store`. Of the kinds that share a storage the first one's form is stored.
    pub(crate) async fn load(store: Arc<dyn Store>, kinds: &[&'static Kind]) -> Result<Arc<Self>, sampan_store::Error> {
        let mut rooms = Rooms::default();
        for kind in kinds {
            rooms.open.entry(kind.storage).or_insert_with(|| Arc::new(Room::new((*kind).into())));
        }
        let cache =
            Self { store, rooms: RwLock::new(rooms), reached: signal::Sender::new(0), lost: AtomicBool::new(false) };
        cache.reload().await?;
        Ok(Arc::new(cache))
    }

    /// Follows the store until `stop`; after a failure everything is loaded anew.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let followed = stop.run_until_cancelled(self.follow_once()).await;
            let Some(Err(why)) = followed else { break };
            self.lost.store(true, Ordering::Release);
            tracing::warn!(%why, "the watch cache lost the store, and loads everything anew");
            // Not followed before that is done: what was applied last may not have been noted.
            while stop.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_some() {
                match self.reload().await {
                    Ok(()) => break,
                    Err(why) => tracing::error!(%why, "the store cannot be read"),
                }
            }
        }
    }

    async fn follow_once(&self) -> Result<(), sampan_store::Error> {
        let after = *self.reached.borrow();
        let events = self.store.watch(&Span::prefix(PREFIX.as_bytes()), after).await?;
        let mut batches = events.ready_chunks(BATCH);
        while let Some(batch) = batches.next().await {
            let mut reached = None;
            for event in batch {
                reached = Some(self.apply(event?));
            }
            if let Some(revision) = reached {
                self.reached.send_replace(revision);
            }
        }
        Err(sampan_store::Error::Closed)
    }

    fn apply(&self, event: Event) -> Revision {
        match event {
            Event::Progress { revision } => revision,
            Event::Delete { key, revision } => {
                if let Some((rooms, key)) = self.place(&key) {
                    rooms.iter().flatten().for_each(|room| room.take(key, News::Delete(revision)));
                }
                revision
            }
            Event::Put { entry } => {
                let event = if entry.is_new() { EventType::Added } else { EventType::Modified };
                if let Some((rooms, key)) = self.place(&entry.key) {
                    for room in rooms.iter().flatten() {
                        match Object::from_entry(&room.kind, &entry, event) {
                            Ok(object) => room.take(key, News::Put(object)),
                            Err(why) => tracing::error!(key, %why, "a stored object cannot be read"),
                        }
                    }
                }
                entry.modified
            }
        }
    }

    /// The rooms of a store key, the open one and the one being opened, and the key in them.
    fn place<'k>(&self, key: &'k [u8]) -> Option<([Option<Arc<Room>>; 2], &'k str)> {
        let (storage, key) = split(key)?;
        let rooms = self.rooms.read();
        Some(([rooms.open.get(storage).cloned(), rooms.opening.get(storage).cloned()], key))
    }

    /// Opens the room of a kind that is served from now on, or serves it differently: then watches of the room that was
    /// there end.
    pub(crate) async fn open(&self, kind: &KindRef) -> Result<(), sampan_store::Error> {
        for _ in 0..MAX_LOADS {
            let room = Arc::new(Room::opening(kind.clone()));
            self.rooms.write().opening.insert(kind.storage, Arc::clone(&room));
            let page =
                self.store.range(&Span::prefix(format!("{PREFIX}{}/", kind.storage).as_bytes()), None, None).await;
            let mut rooms = self.rooms.write();
            rooms.opening.remove(kind.storage);
            let page = page?;
            let entries = page.entries.iter().filter_map(|entry| Some((split(&entry.key)?.1, entry)));
            if room.load(read(&room.kind, entries), page.revision) {
                if let Some(former) = rooms.open.insert(kind.storage, room) {
                    former.close();
                }
                return Ok(());
            }
        }
        Err(sampan_store::Error::Closed)
    }

    /// Closes the room of a kind that is no longer served.
    pub(crate) fn close(&self, storage: &str) {
        if let Some(room) = self.rooms.write().open.remove(storage) {
            room.close();
        }
    }

    async fn reload(&self) -> Result<(), sampan_store::Error> {
        let page = self.store.range(&Span::prefix(PREFIX.as_bytes()), None, None).await?;
        let mut entries: HashMap<&str, Vec<(&str, &Entry)>> = HashMap::new();
        for entry in &page.entries {
            if let Some((storage, key)) = split(&entry.key) {
                entries.entry(storage).or_default().push((key, entry));
            }
        }
        let rooms = self.rooms.read();
        for (storage, room) in &rooms.open {
            room.reset(read(&room.kind, entries.remove(storage).unwrap_or_default()), page.revision);
        }
        rooms.opening.values().for_each(|room| room.spoil());
        self.reached.send_replace(page.revision);
        self.lost.store(false, Ordering::Release);
        Ok(())
    }

    /// The objects of `kind`.
    pub(crate) fn room(&self, kind: &Kind) -> Result<Arc<Room>, Status> {
        self.stored(kind.storage).ok_or_else(Status::no_such_path)
    }

    /// The objects stored under the name `storage`, if there is such a kind.
    pub(crate) fn stored(&self, storage: &str) -> Option<Arc<Room>> {
        self.rooms.read().open.get(storage).cloned()
    }

    /// Whether the store is being followed.
    pub(crate) fn is_synced(&self) -> bool {
        !self.lost.load(Ordering::Acquire)
    }

    /// Everything that is kept, by storage name.
    pub(crate) fn rooms(&self) -> Vec<Arc<Room>> {
        let rooms = self.rooms.read();
        let mut rooms: Vec<_> = rooms.open.iter().map(|(storage, room)| (*storage, Arc::clone(room))).collect();
        rooms.sort_by_key(|(storage, _)| *storage);
        rooms.into_iter().map(|(_, room)| room).collect()
    }

    /// The revision up to which everything is here.
    pub(crate) fn reached(&self) -> Revision {
        *self.reached.borrow()
    }

    /// Waits until everything is here that was durable when this was called; the revision of that.
    pub(crate) async fn fresh(&self) -> Result<Revision, Status> {
        let newest = self.store.revision().await.map_err(|e| unavailable(&e))?;
        self.reach(newest).await?;
        Ok(newest)
    }

    /// Waits, not for long, until everything up to `revision` is here.
    pub(crate) async fn reach(&self, revision: Revision) -> Result<(), Status> {
        if self.reached() >= revision {
            return Ok(());
        }
        let mut reached = self.reached.subscribe();
        let waited = tokio::time::timeout(CATCH_UP, reached.wait_for(|now| *now >= revision)).await;
        waited.map(drop).map_err(|_| too_large(revision, self.reached()))
    }
}

/// The storage name of a store key, and the key in its room.
fn split(key: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?.split_once('/')
}

/// The objects of a room; what cannot be read is left out.
fn read<'e>(
    kind: &KindRef,
    entries: impl IntoIterator<Item = (&'e str, &'e Entry)>,
) -> BTreeMap<Box<str>, Arc<Object>> {
    let object = |(key, entry)| match Object::from_entry(kind, entry, EventType::Added) {
        Ok(object) => Some((Box::from(key), Arc::new(object))),
        Err(why) => {
            tracing::error!(key, %why, "a stored object cannot be read");
            None
        }
    };
    entries.into_iter().filter_map(object).collect()
}

/// The answer when the store fails: the details are for the log. That the disk is full is for everyone, who can help.
pub(crate) fn unavailable(error: &sampan_store::Error) -> Status {
    tracing::error!(%error, "the store did not answer");
    Status::unavailable(match error {
        sampan_store::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            "the storage's disk is full: nothing is written until there is room on it again"
        }
        _ => "the storage is not available",
    })
}

fn too_large(asked: Revision, reached: Revision) -> Status {
    let mut status = Status::timeout(format!("Too large resource version: {asked}, current: {reached}"), 1);
    if let Some(details) = &mut status.details {
        details.causes.push(sampan_api::status::Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            ..Default::default()
        });
    }
    status
}
