//! All objects of one kind: the newest state of each, and the recent changes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use sampan_api::kind::KindRef;
use sampan_store::Revision;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::filter::Filter;
use super::history::{Change, History, TooOld};
use super::object::{EventType, Object};
use super::parts::{Part, Parts};

/// The objects of one storage prefix.
pub(crate) struct Room {
    /// The kind whose form is stored.
    pub(crate) kind: KindRef,
    state: RwLock<State>,
    moved: watch::Sender<Revision>,
    closed: CancellationToken,
    watchers: Arc<()>,
}

/// More changes than these are not held back while a room is being loaded: then it is loaded anew.
const MAX_EARLY: usize = 65_536;

/// A client that watches: what it may see is in one part of the room, or anywhere in it.
pub(super) struct Follower {
    room: Arc<Room>,
    part: Option<Part>,
    moved: watch::Receiver<Revision>,
    _counted: Arc<()>,
}

impl Follower {
    /// At most `limit` changes after `cursor` that may concern it.
    pub(super) fn since(&self, cursor: Revision, limit: usize) -> Result<Vec<Arc<Change>>, TooOld> {
        match &self.part {
            Some(part) => self.room.state.read().parts.since(part, cursor, limit),
            None => self.room.since(cursor, limit),
        }
    }

    /// Takes what there is until now for known: [`Follower::moved`] tells of what comes.
    pub(super) fn mark_unchanged(&mut self) {
        self.moved.mark_unchanged();
    }

    /// Waits for a change that may concern it, or for the room's end.
    pub(super) async fn moved(&mut self) {
        let Self { room, moved, .. } = self;
        tokio::select! {
            _ = moved.changed() => {}
            () = room.closed.cancelled() => {}
        }
    }

    /// Whether the room has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.room.closed.is_cancelled()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            self.room.state.write().parts.leave(part);
        }
    }
}

#[derive(Default)]
struct State {
    phase: Phase,
    objects: BTreeMap<Box<str>, Arc<Object>>,
    /// The objects' JSON, all together.
    bytes: u64,
    history: History,
    parts: Parts,
    /// Changes up to here are in it.
    revision: Revision,
}

/// `Opening -> Open`, or `Opening -> Spoiled` and a new room.
#[derive(Default)]
enum Phase {
    /// Everything is here.
    #[default]
    Open,
    /// Being loaded; these changes came before that was done.
    Opening(Vec<(Box<str>, News)>),
    /// Being loaded in vain: changes were lost.
    Spoiled,
}

/// What became of an object.
pub(super) enum News {
    /// It was written.
    Put(Object),
    /// It was removed.
    Delete(Revision),
}

impl News {
    fn revision(&self) -> Revision {
        match self {
            Self::Put(object) => object.revision,
            Self::Delete(revision) => *revision,
        }
    }
}

/// A page of objects in key order.
pub(crate) struct Selected {
    /// The objects.
    pub(crate) objects: Vec<Arc<Object>>,
    /// The key of the last object, when more selected ones follow.
    pub(crate) last: Option<String>,
    /// How many more there are, where that is cheap to know.
    pub(crate) remaining: Option<u64>,
}

impl Room {
    pub(super) fn new(kind: KindRef) -> Self {
        Self {
            kind,
            state: RwLock::default(),
            moved: watch::Sender::new(0),
            closed: CancellationToken::new(),
            watchers: Arc::default(),
        }
    }

    /// A room that holds changes back until it is loaded.
    pub(super) fn opening(kind: KindRef) -> Self {
        let room = Self::new(kind);
        room.state.write().phase = Phase::Opening(Vec::new());
        room
    }

    /// Takes over what was stored at `revision`, then what came since; false if some of that was lost.
    pub(super) fn load(&self, objects: BTreeMap<Box<str>, Arc<Object>>, revision: Revision) -> bool {
        let mut state = self.state.write();
        let Phase::Opening(early) = std::mem::take(&mut state.phase) else { return false };
        *state = State::loaded(objects, revision);
        early.into_iter().for_each(|(key, news)| state.take(&key, news));
        self.moved.send_replace(state.revision);
        true
    }

    /// Replaces everything; watchers from before `revision` will have to list again.
    pub(super) fn reset(&self, objects: BTreeMap<Box<str>, Arc<Object>>, revision: Revision) {
        let mut state = self.state.write();
        let mut parts = std::mem::take(&mut state.parts);
        parts.reset(revision);
        *state = State { parts, ..State::loaded(objects, revision) };
        self.moved.send_replace(revision);
    }

    /// Changes were missed: a room that is being loaded has to be loaded anew.
    pub(super) fn spoil(&self) {
        self.state.write().phase = Phase::Spoiled;
    }

    /// Takes a change.
    pub(super) fn take(&self, key: &str, news: News) {
        let mut state = self.state.write();
        state.take(key, news);
        self.moved.send_replace(state.revision);
    }

    /// The kind is gone or has become another one: watches end.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Returns when the room is closed.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// The object at `key` (`namespace/name`, or `name` for cluster scope).
    pub(crate) fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.state.read().objects.get(key).cloned()
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.state.read().objects.len()
    }

    /// How many bytes of JSON they are.
    pub(crate) fn bytes(&self) -> u64 {
        self.state.read().bytes
    }

    /// How many clients watch.
    pub(crate) fn watchers(&self) -> usize {
        Arc::strong_count(&self.watchers) - 1
    }

    /// How many of them a write of `namespace/name` may concern; the name is empty if it is not known yet.
    pub(crate) fn concerned(&self, namespace: &str, name: &str) -> usize {
        self.state.read().parts.concerned(self.watchers(), namespace, name)
    }

    /// A client watches what `filter` selects, from the revision `from` on, or from now on: it counts, and is told of
    /// changes, until the result is dropped.
    pub(super) fn follow(self: &Arc<Self>, filter: &Filter, from: Option<Revision>) -> Follower {
        let part = filter.part();
        let moved = match &part {
            Some(part) => {
                let mut state = self.state.write();
                let State { parts, history, revision, .. } = &mut *state;
                parts.enter(part, from.unwrap_or(*revision), history)
            }
            None => self.moved.subscribe(),
        };
        Follower { room: Arc::clone(self), part, moved, _counted: Arc::clone(&self.watchers) }
    }

    /// How many of its parts are followed.
    #[cfg(test)]
    pub(super) fn parts(&self) -> usize {
        self.state.read().parts.len()
    }

    /// The revision of the last change here.
    pub(crate) fn revision(&self) -> Revision {
        self.state.read().revision
    }

    /// The selected objects behind the key `after`, at most `limit` of them.
    pub(crate) fn select(&self, filter: &Filter, after: Option<&str>, limit: Option<usize>) -> Selected {
        let state = self.state.read();
        select(&state, filter, after, limit)
    }

    /// The same as it was at `revision`; `None` if something has changed here since then.
    pub(crate) fn select_at(
        &self,
        revision: Revision,
        filter: &Filter,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Option<Selected> {
        let state = self.state.read();
        (state.revision <= revision).then(|| select(&state, filter, after, limit))
    }

    /// The selected objects, and the cursor from which [`Room::since`] continues without a gap.
    pub(crate) fn snapshot(&self, filter: &Filter) -> (Vec<Arc<Object>>, Revision) {
        let state = self.state.read();
        (select(&state, filter, None, None).objects, state.revision)
    }

    /// At most `limit` changes after `cursor`.
    pub(crate) fn since(&self, cursor: Revision, limit: usize) -> Result<Vec<Arc<Change>>, TooOld> {
        self.state.read().history.since(cursor, limit)
    }

    /// Tells of every change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Revision> {
        self.moved.subscribe()
    }
}

impl State {
    fn loaded(objects: BTreeMap<Box<str>, Arc<Object>>, revision: Revision) -> Self {
        let bytes = objects.values().map(|object| object.size()).sum();
        Self { phase: Phase::Open, objects, bytes, history: History::new(revision), parts: Parts::default(), revision }
    }

    fn take(&mut self, key: &str, news: News) {
        match &mut self.phase {
            Phase::Open if news.revision() <= self.revision => {}
            Phase::Open => self.record(key, news),
            Phase::Opening(early) if early.len() < MAX_EARLY => early.push((key.into(), news)),
            Phase::Opening(_) => self.phase = Phase::Spoiled,
            Phase::Spoiled => {}
        }
    }

    fn record(&mut self, key: &str, news: News) {
        let change = match news {
            News::Put(object) => {
                let (revision, frame) = (object.revision, object.frame());
                let after = Arc::new(object);
                let before = self.objects.insert(key.into(), Arc::clone(&after));
                self.bytes = self.bytes + after.size() - before.as_ref().map_or(0, |before| before.size());
                Change { revision, before, after: Some(after), frame, protobuf: OnceLock::new() }
            }
            News::Delete(revision) => {
                let Some(before) = self.objects.remove(key) else { return };
                self.bytes -= before.size();
                let frame = before.frame_as(EventType::Deleted, revision);
                Change { revision, before: Some(before), after: None, frame, protobuf: OnceLock::new() }
            }
        };
        self.revision = change.revision;
        let change = Arc::new(change);
        self.parts.push(&change);
        self.history.push(change);
        while let Some(gone) = self.history.pop_surplus() {
            self.parts.forget(&gone);
        }
    }
}

fn select(state: &State, filter: &Filter, after: Option<&str>, limit: Option<usize>) -> Selected {
    let prefix = if filter.namespace.is_empty() { String::new() } else { format!("{}/", filter.namespace) };
    let start = match after {
        Some(key) => Bound::Excluded(key),
        None => Bound::Included(prefix.as_str()),
    };
    let mut matching = state
        .objects
        .range::<str, _>((start, Bound::Unbounded))
        .take_while(|(key, _)| key.starts_with(&prefix))
        .filter(|(_, object)| filter.matches(object));
    let limit = limit.unwrap_or(usize::MAX);
    let mut page = Selected { objects: Vec::new(), last: None, remaining: None };
    let mut last: &str = "";
    for (key, object) in matching.by_ref() {
        if page.objects.len() == limit {
            page.last = Some(last.to_owned());
            page.remaining = (!filter.selects()).then(|| matching.count() as u64 + 1);
            break;
        }
        page.objects.push(Arc::clone(object));
        last = key;
    }
    page
}
