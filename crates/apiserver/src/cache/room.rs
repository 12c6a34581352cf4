//! All objects of one kind: the newest state of each, and the recent changes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;
use sampan_api::kind::Kind;
use sampan_store::Revision;
use tokio::sync::watch;

use super::filter::Filter;
use super::history::{Change, History, TooOld};
use super::object::{EventType, Object};

/// The objects of one storage prefix.
pub(crate) struct Room {
    /// The kind whose form is stored.
    pub(crate) kind: &'static Kind,
    state: RwLock<State>,
    moved: watch::Sender<Revision>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Box<str>, Arc<Object>>,
    history: History,
    revision: Revision,
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
    pub(super) fn new(kind: &'static Kind) -> Self {
        Self { kind, state: RwLock::default(), moved: watch::Sender::new(0) }
    }

    /// Replaces everything; watchers from before `revision` will have to list again.
    pub(super) fn reset(&self, objects: BTreeMap<Box<str>, Arc<Object>>, revision: Revision) {
        *self.state.write() = State { objects, history: History::new(revision), revision };
        self.moved.send_replace(revision);
    }

    /// Takes a write.
    pub(super) fn put(&self, key: &str, object: Object) {
        let after = Arc::new(object);
        let mut state = self.state.write();
        let before = state.objects.insert(key.into(), Arc::clone(&after));
        let revision = after.revision;
        let frame = after.frame();
        self.record(&mut state, Change { revision, before, after: Some(after), frame });
    }

    /// Takes a deletion.
    pub(super) fn delete(&self, key: &str, revision: Revision) {
        let mut state = self.state.write();
        let Some(before) = state.objects.remove(key) else { return };
        let frame = before.frame_as(EventType::Deleted, revision);
        self.record(&mut state, Change { revision, before: Some(before), after: None, frame });
    }

    fn record(&self, state: &mut State, change: Change) {
        state.revision = change.revision;
        state.history.push(Arc::new(change));
        self.moved.send_replace(state.revision);
    }

    /// The object at `key` (`namespace/name`, or `name` for cluster scope).
    pub(crate) fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.state.read().objects.get(key).cloned()
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
