//! Group commit's decision: which of the queued writes hold, and the bytes that make them durable. Pure; the
//! [`writer`](super::writer) does what is decided here.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::active::{Active, Durable};
use super::index::{Change, Found, Index, Version};
use super::record::{Kind, Record, check_size};
use super::segment::{Location, Segment};
use crate::{Entry, Error, Revision, Write};

/// What a write will be answered once the batch is durable.
pub(super) enum Verdict {
    /// It takes place, at this revision.
    Done(Revision),
    /// It does not; the key's current version, if it has one.
    Unmet(Option<Found>),
}

/// A write that takes place.
struct Staged {
    key: Bytes,
    version: Version,
    entry: Option<Entry>,
}

/// Writes decided in order, each against the index and those before it.
pub(super) struct Batch {
    segment: Arc<Segment>,
    /// Where in the segment the batch will begin, and up to where that is durable.
    offset: u64,
    synced: u64,
    revision: Revision,
    bytes: Vec<u8>,
    staged: Vec<Staged>,
    /// The last of `staged` per key.
    newest: HashMap<Bytes, usize>,
    forget: Option<Revision>,
    durable: Durable,
    reserved: Option<Revision>,
}

impl Batch {
    /// A batch that will be appended to `active` and follows `revision`.
    pub(super) fn new(active: &Active, revision: Revision) -> Self {
        let (bytes, staged, newest) = Default::default();
        let Active { segment, end: offset, synced, .. } = active;
        Self {
            segment: segment.clone(),
            offset: *offset,
            synced: *synced,
            revision,
            bytes,
            staged,
            newest,
            forget: None,
            durable: Durable::Later,
            reserved: None,
        }
    }

    /// When it has to be durable.
    pub(super) fn durable(&self) -> Durable {
        self.durable
    }

    /// Up to where it reserves revisions, if it does.
    pub(super) fn reserved(&self) -> Option<Revision> {
        self.reserved
    }

    /// What to append; empty if no write takes place.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Decides one write.
    pub(super) fn stage(&mut self, write: Write, index: &Index) -> Result<Verdict, Error> {
        let durable = if matches!(write, Write::Renew { .. }) { Durable::Later } else { Durable::Now };
        let (key, value, expected) = match write {
            Write::Create { key, value } => (key, Some(value), None),
            Write::Update { key, value, expected } | Write::Renew { key, value, expected } => {
                (key, Some(value), Some(expected))
            }
            Write::Delete { key, expected } => (key, None, Some(expected)),
        };
        check_size(&key, value.as_deref().unwrap_or_default())?;
        let current = self.current(&key, index);
        if current.as_ref().map(|version| version.revision) != expected {
            return Ok(Verdict::Unmet(current.map(Found::on_disk)));
        }
        let created = current.map(|version| version.created);
        if durable == Durable::Now {
            self.durable = durable;
        }
        Ok(Verdict::Done(self.take(key, value, created)))
    }

    fn current(&self, key: &[u8], index: &Index) -> Option<Version> {
        let version = match self.newest.get(key) {
            Some(&at) => &self.staged[at].version,
            None => index.newest(key)?,
        };
        (!version.deleted).then(|| version.clone())
    }

    fn take(&mut self, key: Bytes, value: Option<Bytes>, created: Option<Revision>) -> Revision {
        self.revision += 1;
        let revision = self.revision;
        let created = if value.is_some() { created.unwrap_or(revision) } else { 0 };
        let kind = if value.is_some() { Kind::Put } else { Kind::Delete };
        let location = self.append(kind, (revision, created), &key, value.as_deref().unwrap_or_default());
        let entry = value.map(|value| Entry { key: key.clone(), value, created, modified: revision });
        let version = Version { revision, created, deleted: entry.is_none(), location };
        self.newest.insert(key.clone(), self.staged.len());
        self.staged.push(Staged { key, version, entry });
        revision
    }

    /// Decides whether to forget what came before `revision`.
    pub(super) fn compact(&mut self, revision: Revision, index: &Index) -> Result<Verdict, Error> {
        if revision > index.compacted() {
            index.check(revision)?;
            self.forget(revision);
            self.durable = Durable::Now;
        }
        Ok(Verdict::Done(revision))
    }

    /// Takes in that history before `revision` is to be forgotten.
    pub(super) fn forget(&mut self, revision: Revision) {
        self.append(Kind::Compact, (revision, 0), &[], &[]);
        self.forget = self.forget.max(Some(revision));
    }

    /// Lets the next `count` revisions be given out before they are durable, if this batch has only renewals and
    /// `reserved` is not enough for it.
    pub(super) fn reserve(&mut self, reserved: Revision, count: u64) {
        if self.durable == Durable::Later && !self.staged.is_empty() && self.revision > reserved {
            let upto = self.revision + count;
            self.append(Kind::Reserve, (upto, 0), &[], &[]);
            (self.reserved, self.durable) = (Some(upto), Durable::Now);
        }
    }

    fn append(&mut self, kind: Kind, (revision, created): (Revision, Revision), key: &[u8], value: &[u8]) -> Location {
        let offset = self.offset + self.bytes.len() as u64;
        let record = Record { kind, revision, created, batch: self.synced, key, value };
        record.encode(offset, &mut self.bytes);
        Location { segment: self.segment.clone(), offset, len: record.len() as u32 }
    }

    /// Makes the batch visible in the index. Only after it is durable.
    pub(super) fn publish(self, index: &mut Index) -> Vec<Change> {
        let changes = self.staged.into_iter().map(|staged| index.apply(&staged.key, staged.version, staged.entry));
        let changes = changes.collect();
        if let Some(revision) = self.forget {
            index.forget(revision);
        }
        changes
    }
}
