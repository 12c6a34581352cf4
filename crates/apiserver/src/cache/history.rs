//! The recent changes of one kind of object, from which watches are served.
//!
//! A watcher is a cursor into this ring, not a queue of its own: a change is kept once however many watch, a slow
//! watcher costs nobody anything, and one that the ring's end overtakes is told to list again.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sampan_store::Revision;

use super::filter::Filter;
use super::object::{EventType, Object};

/// One change, as every watcher of the kind shares it.
#[derive(Debug)]
pub(crate) struct Change {
    /// The revision of the write.
    pub(crate) revision: Revision,
    /// The object before; `None` for a creation.
    pub(crate) before: Option<Arc<Object>>,
    /// The object after; `None` for a deletion.
    pub(crate) after: Option<Arc<Object>>,
    /// The watch event for those who selected the object before and after.
    pub(crate) frame: Bytes,
    /// The same in protobuf, once someone has asked for it.
    pub(crate) protobuf: OnceLock<Bytes>,
}

/// An object before and after a write, both in the form that is watched.
pub(crate) struct Step {
    /// Before; `None` for a creation.
    pub(crate) before: Option<Arc<Object>>,
    /// After; `None` for a deletion.
    pub(crate) after: Option<Arc<Object>>,
}

impl Change {
    /// Before and after, as they are stored.
    pub(crate) fn step(&self) -> Step {
        Step { before: self.before.clone(), after: self.after.clone() }
    }

    /// The change itself if its frame tells of `event`: of creation, change and removal. That an object enters or leaves a
    /// selection is told differently.
    pub(crate) fn as_told(self: &Arc<Self>, event: EventType) -> Option<Arc<Self>> {
        let shared = match event {
            EventType::Added => self.before.is_none(),
            EventType::Modified => true,
            EventType::Deleted => self.after.is_none(),
        };
        shared.then(|| Arc::clone(self))
    }

    /// Whether its frame shows this very object.
    pub(crate) fn is_about(&self, object: &Arc<Object>) -> bool {
        self.after.as_ref().or(self.before.as_ref()).is_some_and(|shown| Arc::ptr_eq(shown, object))
    }
}

impl Step {
    /// How it looks to who sees only a selection: an object that enters it is added, one that leaves it is deleted.
    pub(crate) fn seen(self, filter: &Filter) -> Option<(EventType, Arc<Object>)> {
        let selected = |object: &Arc<Object>| filter.matches(object);
        match (self.before.filter(selected), self.after.filter(selected)) {
            (None, None) => None,
            (None, Some(after)) => Some((EventType::Added, after)),
            (Some(_), Some(after)) => Some((EventType::Modified, after)),
            (Some(before), None) => Some((EventType::Deleted, before)),
        }
    }
}

/// The cursor is older than the ring.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooOld {
    /// Changes up to this revision are forgotten.
    pub(crate) oldest: Revision,
}

/// At most this many changes are kept,
const MAX_CHANGES: usize = 4096;
/// and at most this many bytes of them, as JSON; their protobuf is smaller.
const MAX_BYTES: usize = 8 << 20;

/// The ring.
#[derive(Debug, Default)]
pub(crate) struct History {
    changes: VecDeque<Arc<Change>>,
    size_bytes: usize,
    oldest: Revision,
}

impl History {
    /// An empty ring: what happened up to `revision` is not known.
    pub(crate) fn new(revision: Revision) -> Self {
        Self { oldest: revision, ..Self::default() }
    }

    /// What is known here of those changes that `concern` somebody: none before `from`, where that is later.
    pub(super) fn only(&self, from: Revision, concern: impl Fn(&Change) -> bool) -> Self {
        let mut part = Self::new(self.oldest.max(from));
        self.newer(part.oldest).filter(|change| concern(change)).for_each(|change| part.push(Arc::clone(change)));
        part
    }

    /// Adds a change, newer than all before.
    pub(super) fn push(&mut self, change: Arc<Change>) {
        self.size_bytes += change.frame.len();
        self.changes.push_back(change);
    }

    /// Forgets the oldest change if there are more than there may be.
    pub(super) fn pop_surplus(&mut self) -> Option<Arc<Change>> {
        let surplus = self.changes.len() > MAX_CHANGES || (self.size_bytes > MAX_BYTES && self.changes.len() > 1);
        if surplus { self.pop() } else { None }
    }

    /// Forgets the changes up to `revision`.
    pub(super) fn forget(&mut self, revision: Revision) {
        while self.changes.front().is_some_and(|change| change.revision <= revision) {
            self.pop();
        }
        self.oldest = self.oldest.max(revision);
    }

    fn pop(&mut self) -> Option<Arc<Change>> {
        let gone = self.changes.pop_front()?;
        self.size_bytes -= gone.frame.len();
        self.oldest = gone.revision;
        Some(gone)
    }

    /// At most `limit` changes after `cursor`, oldest first.
    pub(crate) fn since(&self, cursor: Revision, limit: usize) -> Result<Vec<Arc<Change>>, TooOld> {
        if self.forgot(cursor) {
            return Err(TooOld { oldest: self.oldest });
        }
        Ok(self.newer(cursor).take(limit).cloned().collect())
    }

    /// Whether changes after `cursor` may be missing.
    pub(super) fn forgot(&self, cursor: Revision) -> bool {
        cursor < self.oldest
    }

    fn newer(&self, cursor: Revision) -> impl Iterator<Item = &Arc<Change>> {
        let first = self.changes.partition_point(|change| change.revision <= cursor);
        self.changes.range(first..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: Revision, size: usize) -> Arc<Change> {
        Arc::new(Change { revision, before: None, after: None, frame: vec![0; size].into(), protobuf: OnceLock::new() })
    }

    #[test]
    fn a_cursor_sees_what_is_newer_than_itself() {
        let mut history = History::new(5);
        [7, 9, 12].into_iter().for_each(|r| history.push(change(r, 1)));
        let seen = |cursor| history.since(cursor, 10).map(|c| c.iter().map(|c| c.revision).collect::<Vec<_>>());
        assert_eq!(seen(4), Err(TooOld { oldest: 5 }));
        assert_eq!(seen(5), Ok(vec![7, 9, 12]));
        assert_eq!(seen(9), Ok(vec![12]));
        assert_eq!(seen(12), Ok(vec![]));
    }

    #[test]
    fn the_ring_is_bounded_in_count_and_bytes() {
        let mut history = History::new(0);
        let push = |history: &mut History, change| {
            history.push(change);
            while history.pop_surplus().is_some() {}
        };
        (1..=MAX_CHANGES as u64 + 10).for_each(|r| push(&mut history, change(r, 1)));
        assert_eq!(history.since(9, 1).map_err(|e| e.oldest).unwrap_err(), 10);
        push(&mut history, change(1 << 20, MAX_BYTES + 1));
        assert_eq!(history.since(1 << 20, 1).unwrap().len(), 0);
        assert!(history.since((1 << 20) - 1, 1).is_ok_and(|c| c.len() == 1));
    }
}
