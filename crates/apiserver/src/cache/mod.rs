//! The watch cache: every object, encoded and ready to be sent, kept up to date by one watch of the store.
//!
//! Reads are served from here after it has reached the revision the store has now ([`Cache::fresh`]), so they are as
//! consistent as reads of the store itself; only older revisions and later pages of a list are read from the store.
//! Start at [`Cache`]; a [`Room`] holds one kind's objects and history, a watcher is a cursor into that history.

mod filter;
mod history;
mod list;
mod object;
mod room;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use sampan_api::kind::Kind;
use sampan_api::status::Status;
use sampan_store::{Event, Revision, Span, Store};
use tokio::sync::watch as signal;
use tokio_util::sync::CancellationToken;

pub(crate) use self::filter::Filter;
pub(crate) use self::list::revision_of;
pub(crate) use self::list::{List, ListOptions, Match, Refused};
pub(crate) use self::object::{EventType, Object, encode, frame_of, labels};
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
    rooms: HashMap<&'static str, Arc<Room>>,
    reached: signal::Sender<Revision>,
}

impl Cache {
    /// Loads everything from `store`. Of the kinds that share a storage the first one's form is stored.
    pub(crate) async fn load(store: Arc<dyn Store>, kinds: &[&'static Kind]) -> Result<Arc<Self>, sampan_store::Error> {
        let mut rooms = HashMap::new();
        for kind in kinds {
            rooms.entry(kind.storage).or_insert_with(|| Arc::new(Room::new(kind)));
        }
        let cache = Self { store, rooms, reached: signal::Sender::new(0) };
        cache.reload().await?;
        Ok(Arc::new(cache))
    }

    /// Follows the store until `stop`; after a failure everything is loaded anew.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let followed = stop.run_until_cancelled(self.follow_once()).await;
            let Some(Err(why)) = followed else { break };
            tracing::warn!(%why, "the watch cache lost the store, and loads everything anew");
            stop.run_until_cancelled(tokio::time::sleep(RETRY)).await;
            if let Err(why) = self.reload().await {
                tracing::error!(%why, "the store cannot be read");
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
            Event::Delete { revision, previous } => {
                if let Some((room, key)) = self.place(&previous.key) {
                    room.delete(key, revision);
                }
                revision
            }
            Event::Put { entry, previous } => {
                let event = if previous.is_some() { EventType::Modified } else { EventType::Added };
                if let Some((room, key)) = self.place(&entry.key) {
                    match Object::from_entry(room.kind, &entry, event) {
                        Ok(object) => room.put(key, object),
                        Err(why) => tracing::error!(key, %why, "a stored object cannot be read"),
                    }
                }
                entry.modified
            }
        }
    }

    /// The room of a store key, and the key in it.
    fn place<'k>(&self, key: &'k [u8]) -> Option<(&Room, &'k str)> {
        let (storage, key) = std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?.split_once('/')?;
        Some((self.rooms.get(storage)?, key))
    }

    async fn reload(&self) -> Result<(), sampan_store::Error> {
        let page = self.store.range(&Span::prefix(PREFIX.as_bytes()), None, None).await?;
        let mut loaded: HashMap<&str, BTreeMap<Box<str>, Arc<Object>>> = HashMap::new();
        for entry in &page.entries {
            let Some((room, key)) = self.place(&entry.key) else { continue };
            match Object::from_entry(room.kind, entry, EventType::Added) {
                Ok(object) => drop(loaded.entry(room.kind.storage).or_default().insert(key.into(), Arc::new(object))),
                Err(why) => tracing::error!(key, %why, "a stored object cannot be read"),
            }
        }
        for (storage, room) in &self.rooms {
            room.reset(loaded.remove(storage).unwrap_or_default(), page.revision);
        }
        self.reached.send_replace(page.revision);
        Ok(())
    }

    /// The objects of `kind`.
    pub(crate) fn room(&self, kind: &Kind) -> Result<&Arc<Room>, Status> {
        self.rooms.get(kind.storage).ok_or_else(Status::no_such_path)
    }

    /// The objects stored under the name `storage`, if there is such a kind.
    pub(crate) fn stored(&self, storage: &str) -> Option<&Arc<Room>> {
        self.rooms.get(storage)
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

/// The answer when the store fails: the details are for the log.
pub(crate) fn unavailable(error: &sampan_store::Error) -> Status {
    tracing::error!(%error, "the store did not answer");
    Status::unavailable("the storage is not available")
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
