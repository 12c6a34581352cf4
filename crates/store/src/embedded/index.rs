//! The index: which versions of which keys exist and where they lie on disk. In memory and pure but for the
//! locations it hands out; values are not here, save the few most recent.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;

use super::segment::Location;
use crate::{Entry, Error, Event, Revision, Span};

/// One write to a key.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) revision: Revision,
    /// Revision of the key's creation; of a deletion, 0.
    pub(super) created: Revision,
    pub(super) deleted: bool,
    pub(super) location: Location,
}

/// A version that is to be read, and its entry if that is still in memory.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) version: Version,
    recent: Option<Entry>,
}

impl Found {
    /// A version of which only the place is known.
    pub(super) fn on_disk(version: Version) -> Self {
        Self { version, recent: None }
    }

    /// The entry if no disk is needed for it.
    pub(super) fn in_memory(&self) -> Option<Entry> {
        self.recent.clone()
    }

    /// The entry, from disk if need be.
    pub(super) fn load(&self) -> Result<Entry, Error> {
        self.in_memory().map_or_else(|| self.version.location.load(), Ok)
    }
}

/// A write: what a watch tells of.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) key: Bytes,
    now: Found,
}

impl Change {
    /// The change as watchers see it.
    pub(super) fn event(&self) -> Result<Event, Error> {
        match &self.now.version {
            Version { deleted: true, revision, .. } => Ok(Event::Delete { key: self.key.clone(), revision: *revision }),
            _ => Ok(Event::Put { entry: self.now.load()? }),
        }
    }
}

/// A revision that watches can still start from.
struct Past {
    revision: Revision,
    key: Bytes,
    bytes: u64,
}

/// Bounds on the history that is kept without being asked to forget.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    /// Revisions.
    pub(super) revisions: usize,
    /// Bytes of the records of these revisions.
    pub(super) bytes: u64,
}

/// All versions of all keys from the compacted revision on.
#[derive(Default)]
pub(super) struct Index {
    /// Versions in the order of revisions, never empty.
    keys: BTreeMap<Bytes, Vec<Version>>,
    /// The writes after `compacted`, in order.
    history: VecDeque<Past>,
    history_bytes: u64,
    live_bytes: u64,
    revision: Revision,
    compacted: Revision,
    recent: Recent,
}

impl Index {
    /// The newest revision.
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// The oldest revision that can be read.
    pub(super) fn compacted(&self) -> Revision {
        self.compacted
    }

    /// Bytes of all records that are still needed.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Refuses revisions that are gone or yet to come.
    pub(super) fn check(&self, asked: Revision) -> Result<(), Error> {
        if asked < self.compacted {
            return Err(Error::Compacted { asked, oldest: self.compacted });
        }
        if asked > self.revision {
            return Err(Error::Future { asked, newest: self.revision });
        }
        Ok(())
    }

    /// The newest version of `key`, a deletion included.
    pub(super) fn newest(&self, key: &[u8]) -> Option<&Version> {
        self.keys.get(key).and_then(|versions| versions.last())
    }

    /// The version of `key` that is current at `at`.
    pub(super) fn get(&self, key: &[u8], at: Revision) -> Option<Found> {
        visible(self.keys.get(key)?, at).map(|version| self.found(version))
    }

    /// At most `limit` versions of `span` at `at`, and how many more there are.
    pub(super) fn range(&self, span: &Span, at: Revision, limit: usize) -> (Vec<Found>, u64) {
        let mut current = self.span(span).filter_map(|(_, versions)| visible(versions, at));
        let found = current.by_ref().take(limit).map(|version| self.found(version)).collect();
        (found, current.count() as u64)
    }

    /// The changes of `span` after `after`, oldest first.
    pub(super) fn changes(&self, span: &Span, after: Revision) -> Vec<Change> {
        let start = self.history.partition_point(|past| past.revision <= after);
        let pasts = self.history.range(start..).filter(|past| span.contains(&past.key));
        pasts.filter_map(|past| self.change(past)).collect()
    }

    fn change(&self, past: &Past) -> Option<Change> {
        let versions = self.keys.get(&past.key)?;
        let at = versions.binary_search_by_key(&past.revision, |version| version.revision).ok()?;
        Some(Change { key: past.key.clone(), now: self.found(&versions[at]) })
    }

    fn found(&self, version: &Version) -> Found {
        Found { version: version.clone(), recent: self.recent.get(version.revision) }
    }

    fn span(&self, span: &Span) -> impl Iterator<Item = (&Bytes, &Vec<Version>)> {
        let end = if span.end.is_empty() { Bound::Unbounded } else { Bound::Excluded(&span.end[..]) };
        // A BTreeMap panics on a reversed range; for us it is an empty one.
        let reversed = !span.end.is_empty() && span.end <= span.start;
        let start = if reversed { Bound::Excluded(&span.end[..]) } else { Bound::Included(&span.start[..]) };
        let end = if reversed { Bound::Included(&span.end[..]) } else { end };
        self.keys.range::<[u8], _>((start, end))
    }

    /// Takes in the write of the next revision. `entry` is what it put.
    pub(super) fn apply(&mut self, key: &Bytes, version: Version, entry: Option<Entry>) -> Change {
        self.revision = version.revision;
        self.recent.push(entry.clone());
        let key = self.insert(key, version.clone());
        Change { key, now: Found { version, recent: entry } }
    }

    /// Takes in a version without telling of it, for recovery. Versions of one key come oldest first. The key as the
    /// index holds it is returned.
    pub(super) fn insert(&mut self, key: &[u8], version: Version) -> Bytes {
        let (revision, bytes) = (version.revision, u64::from(version.location.len));
        self.live_bytes += bytes;
        // A copy: a slice would keep the whole request alive that brought the key.
        let key = self.keys.get_key_value(key).map_or_else(|| Bytes::copy_from_slice(key), |(key, _)| key.clone());
        self.keys.entry(key.clone()).or_insert_with(|| Vec::with_capacity(1)).push(version);
        if revision > self.compacted {
            self.history.push_back(Past { revision, key: key.clone(), bytes });
            self.history_bytes += bytes;
        }
        key
    }

    /// Sets the bounds of history before a snapshot is taken in.
    pub(super) fn begin_snapshot(&mut self, compacted: Revision, through: Revision) {
        (self.compacted, self.revision) = (compacted, through);
    }

    /// Ends the taking in of a snapshot, which came in the order of keys.
    pub(super) fn end_snapshot(&mut self) {
        self.history.make_contiguous().sort_unstable_by_key(|past| past.revision);
    }

    /// Sets the newest revision, for recovery.
    pub(super) fn advance(&mut self, revision: Revision) {
        self.revision = revision;
    }

    /// Whether every revision after the compacted one is known.
    pub(super) fn is_whole(&self) -> bool {
        self.history.len() as u64 == self.revision - self.compacted
    }

    /// The revision to forget up to so that `retention` is kept, once there is enough to be worth it.
    pub(super) fn surplus(&self, retention: Retention) -> Option<Revision> {
        let slack = |bound: u64| bound + bound / 8;
        let (count, bytes) = (self.history.len(), self.history_bytes);
        if count as u64 <= slack(retention.revisions as u64) && bytes <= slack(retention.bytes) {
            return None;
        }
        let mut left = bytes;
        let by_bytes = self.history.iter().take_while(|past| {
            let drop = left > retention.bytes;
            left = left.saturating_sub(past.bytes);
            drop
        });
        let drop = by_bytes.count().max(count.saturating_sub(retention.revisions)).min(count);
        drop.checked_sub(1).map(|last| self.history[last].revision)
    }

    /// Forgets what is not current at `upto` or later.
    pub(super) fn forget(&mut self, upto: Revision) {
        while let Some(past) = self.history.pop_front_if(|past| past.revision <= upto) {
            self.history_bytes -= past.bytes;
            self.prune(&past.key, upto);
        }
        self.compacted = self.compacted.max(upto);
    }

    fn prune(&mut self, key: &[u8], upto: Revision) {
        let Some(versions) = self.keys.get_mut(key) else { return };
        let newer = versions.partition_point(|version| version.revision <= upto);
        let Some(current) = newer.checked_sub(1) else { return };
        let obsolete = if versions[current].deleted { newer } else { current };
        self.live_bytes -= versions.drain(..obsolete).map(|version| u64::from(version.location.len)).sum::<u64>();
        match versions.len() {
            0 => drop(self.keys.remove(key)),
            len if versions.capacity() > 2 * len => versions.shrink_to_fit(),
            _ => {}
        }
    }

    /// Versions up to `through` of at most `limit` keys after `after`, in order: a compaction's next portion.
    pub(super) fn portion(&self, after: Option<&Bytes>, through: Revision, limit: usize) -> Vec<(Bytes, Vec<Version>)> {
        let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(&key[..]));
        let keys = self.keys.range::<[u8], _>((start, Bound::Unbounded)).take(limit);
        let old = |versions: &[Version]| versions.iter().take_while(|v| v.revision <= through).cloned().collect();
        keys.map(|(key, versions)| (key.clone(), old(versions))).collect()
    }

    /// Notes that the record of `key` at `revision` now lies at `location`, if it is still known.
    pub(super) fn relocate(&mut self, key: &[u8], revision: Revision, location: Location) {
        let Some(versions) = self.keys.get_mut(key) else { return };
        if let Ok(at) = versions.binary_search_by_key(&revision, |version| version.revision) {
            versions[at].location = location;
        }
    }
}

/// The version of a key that is current at `at`, unless it was deleted then.
fn visible(versions: &[Version], at: Revision) -> Option<&Version> {
    let newer = match versions.last() {
        Some(newest) if newest.revision <= at => versions.len(),
        _ => versions.partition_point(|version| version.revision <= at),
    };
    newer.checked_sub(1).map(|current| &versions[current]).filter(|version| !version.deleted)
}

/// The newest entries: watches and caches ask for them right after they were written.
#[derive(Default)]
struct Recent {
    entries: VecDeque<Entry>,
    bytes: usize,
}

/// Bound on the values held by [`Recent`].
const RECENT_BYTES: usize = 4 << 20;

impl Recent {
    fn push(&mut self, entry: Option<Entry>) {
        let Some(entry) = entry else { return };
        self.bytes += weight(&entry);
        self.entries.push_back(entry);
        while self.bytes > RECENT_BYTES
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= weight(&oldest);
        }
    }

    fn get(&self, revision: Revision) -> Option<Entry> {
        let at = self.entries.binary_search_by_key(&revision, |entry| entry.modified).ok()?;
        Some(self.entries[at].clone())
    }
}

/// What an entry costs, its bookkeeping included, so that empty values are bounded too.
fn weight(entry: &Entry) -> usize {
    entry.key.len() + entry.value.len() + std::mem::size_of::<Entry>()
}
