//! The recent changes of one kind of object, from which watches are served.
//!
//! A watcher is a cursor into this ring, not a queue of its own: a change is kept once however many watch, a slow
//! watcher costs nobody anything, and one that the ring's end overtakes is told to list again.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sampan_store::Revision;

use super::object::Object;

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

    /// Adds a change, newer than all before, and forgets the oldest ones beyond the bounds.
    pub(crate) fn push(&mut self, change: Arc<Change>) {
        self.size_bytes += change.frame.len();
        self.changes.push_back(change);
        while self.changes.len() > MAX_CHANGES || (self.size_bytes > MAX_BYTES && self.changes.len() > 1) {
            let Some(gone) = self.changes.pop_front() else { break };
            self.size_bytes -= gone.frame.len();
            self.oldest = gone.revision;
        }
    }

    /// At most `limit` changes after `cursor`, oldest first.
    pub(crate) fn since(&self, cursor: Revision, limit: usize) -> Result<Vec<Arc<Change>>, TooOld> {
        if cursor < self.oldest {
            return Err(TooOld { oldest: self.oldest });
        }
        let first = self.changes.partition_point(|change| change.revision <= cursor);
        Ok(self.changes.range(first..).take(limit).cloned().collect())
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
        (1..=MAX_CHANGES as u64 + 10).for_each(|r| history.push(change(r, 1)));
        assert_eq!(history.since(9, 1).map_err(|e| e.oldest).unwrap_err(), 10);
        history.push(change(1 << 20, MAX_BYTES + 1));
        assert_eq!(history.since(1 << 20, 1).unwrap().len(), 0);
        assert!(history.since((1 << 20) - 1, 1).is_ok_and(|c| c.len() == 1));
    }
}
