//! Durable, revisioned key-value storage with watches: what an API server needs of etcd, as a trait; an embedded engine
//! that keeps the same promises in one process; and an engine that leaves them to an etcd.
//!
//! Promises, those of etcd v3: every write has its own revision, larger than all before; a write is durable before
//! it is acknowledged; a read never shows what is not durable; a watch misses nothing, repeats nothing and keeps
//! the order of revisions. A [`Write::Renew`] alone may be acknowledged, and shown, before it is durable. The store
//! knows bytes, not Kubernetes.
//!
//! Start at [`Store`]; the engines are [`embedded::Embedded`] and [`etcd::Etcd`].

pub mod embedded;
pub mod etcd;
pub mod sealed;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// A point in the store's history, larger for every write. 0 is "before everything". In the embedded engine the
/// first write has revision 1, and there is a gap only where a crash may have lost renewals; other engines may begin
/// elsewhere and leave gaps.
pub type Revision = u64;

/// A key's value at some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The revision of the key's creation.
    pub created: Revision,
    /// The revision of the last write to the key.
    pub modified: Revision,
}

impl Entry {
    /// Whether its last write made the key.
    pub fn is_new(&self) -> bool {
        self.created == self.modified
    }
}

/// The keys of a [`Store::range`]: `start` inclusive, `end` exclusive; an empty `end` is the end of all keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// First key.
    pub start: Bytes,
    /// First key that no longer belongs to the span.
    pub end: Bytes,
}

impl Span {
    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        while let Some(last) = end.pop() {
            if last < 0xff {
                end.push(last + 1);
                break;
            }
        }
        Self { start: Bytes::copy_from_slice(prefix), end: end.into() }
    }

    /// Whether `key` belongs to the span.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && (self.end.is_empty() || key < &self.end[..])
    }
}

/// A page of a range, read at one revision.
#[derive(Clone, Debug)]
pub struct Page {
    /// The revision at which the page was read: the next page is asked for at the same.
    pub revision: Revision,
    /// The entries in key order.
    pub entries: Vec<Entry>,
    /// Number of keys of the span after the last entry of this page.
    pub remaining: u64,
}

/// A conditional write of one key.
#[derive(Clone, Debug)]
pub enum Write {
    /// Only if the key does not exist.
    Create {
        /// The key.
        key: Bytes,
        /// Its value.
        value: Bytes,
    },
    /// Only if the key was last written at revision `expected`.
    Update {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
        /// Revision of the write this one replaces.
        expected: Revision,
    },
    /// An update that loses nothing if a crash undoes it, such as a heartbeat that is soon followed by the next: it may
    /// be acknowledged before it is durable, and becomes so with the next write of another sort at the latest. After a
    /// crash that may have undone any, no revision is given out twice, and history before the crash is forgotten:
    /// whoever has seen a renewal that is gone has to read again.
    Renew {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
        /// Revision of the write this one replaces.
        expected: Revision,
    },
    /// Only if the key was last written at revision `expected`.
    Delete {
        /// The key.
        key: Bytes,
        /// Revision of the write this one removes.
        expected: Revision,
    },
}

/// What became of a [`Write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Durable, or a renewal, at this revision.
    Done(Revision),
    /// The condition did not hold; the key as it is now, or `None` if there is none.
    Unmet(Option<Entry>),
}

/// A change as a watch sees it.
#[derive(Clone, Debug)]
pub enum Event {
    /// A key was written; [`Entry::is_new`] says whether it was not there before.
    Put {
        /// The entry as written.
        entry: Entry,
    },
    /// A key was deleted.
    Delete {
        /// The key.
        key: Bytes,
        /// The deletion's revision.
        revision: Revision,
    },
    /// Nothing of the span changed up to `revision`: everything at or below it has been delivered.
    Progress {
        /// The revision up to which the watch is complete.
        revision: Revision,
    },
}

impl Event {
    /// The revision that the event is about.
    pub fn revision(&self) -> Revision {
        match self {
            Event::Put { entry } => entry.modified,
            Event::Delete { revision, .. } | Event::Progress { revision } => *revision,
        }
    }
}

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// History before `compacted` is gone.
    #[error("revision {asked} is compacted, the oldest is {oldest}")]
    Compacted {
        /// The revision asked for.
        asked: Revision,
        /// The oldest revision that can still be read.
        oldest: Revision,
    },
    /// No write has had this revision yet.
    #[error("revision {asked} is in the future, the newest is {newest}")]
    Future {
        /// The revision asked for.
        asked: Revision,
        /// The newest revision.
        newest: Revision,
    },
    /// A watcher did not read fast enough; it must list again.
    #[error("the watcher fell behind, and must list again")]
    Lagged,
    /// Somebody else has changed several keys at once, which a watch cannot tell one by one; it must list again.
    #[error("several keys were changed at once, in revision {revision}")]
    Several {
        /// The revision of the changes.
        revision: Revision,
    },
    /// The data directory is held by another process.
    #[error("{path} is in use by another sampan; stop it, or choose another data directory")]
    InUse {
        /// The data directory.
        path: std::path::PathBuf,
    },
    /// The disk's content is not what was written.
    #[error("{path} is damaged at byte {offset}: {why}")]
    Corrupt {
        /// The file.
        path: std::path::PathBuf,
        /// Where in the file.
        offset: u64,
        /// What was found.
        why: String,
    },
    /// The disk failed while doing `what`.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Key and value together are more than the store takes.
    #[error("an entry of {bytes} bytes is more than the {limit} that the store takes")]
    TooLarge {
        /// Length of key and value.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// A store elsewhere refused what it was asked, or did not say what became of it: a write may have taken place.
    #[error("cannot {what} etcd: {why}")]
    Remote {
        /// What was being done.
        what: &'static str,
        /// What it answered, or why there was no answer.
        why: String,
    },
    /// A value is sealed with a key that is not there, or not as it was sealed.
    #[error("{key} cannot be decrypted: its key is not among those given, or it was changed on the disk")]
    Sealed {
        /// Where it lies.
        key: String,
    },
    /// A key management service did not do what was needed of it.
    #[error("KMS provider {name}: {why}")]
    Kms {
        /// The provider.
        name: String,
        /// What it answered, or why there was no answer.
        why: String,
    },
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// For `map_err`: an [`Error::Io`] that says what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Error::Io { what, source }
    }

    /// The same error once more, for everyone whom one failure concerns.
    pub(crate) fn again(&self) -> Self {
        match self {
            Error::Compacted { asked, oldest } => Error::Compacted { asked: *asked, oldest: *oldest },
            Error::Future { asked, newest } => Error::Future { asked: *asked, newest: *newest },
            Error::Lagged => Error::Lagged,
            Error::Several { revision } => Error::Several { revision: *revision },
            Error::InUse { path } => Error::InUse { path: path.clone() },
            Error::Corrupt { path, offset, why } => {
                Error::Corrupt { path: path.clone(), offset: *offset, why: why.clone() }
            }
            Error::Io { what, source } => Error::Io { what: what.clone(), source: repeat(source) },
            Error::TooLarge { bytes, limit } => Error::TooLarge { bytes: *bytes, limit: *limit },
            Error::Remote { what, why } => Error::Remote { what, why: why.clone() },
            Error::Sealed { key } => Error::Sealed { key: key.clone() },
            Error::Kms { name, why } => Error::Kms { name: name.clone(), why: why.clone() },
            Error::Closed => Error::Closed,
        }
    }
}

fn repeat(error: &std::io::Error) -> std::io::Error {
    match error.raw_os_error() {
        Some(code) => std::io::Error::from_raw_os_error(code),
        None => std::io::Error::new(error.kind(), error.to_string()),
    }
}

/// The store. Implementations are shared behind an `Arc`.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The newest durable revision.
    async fn revision(&self) -> Result<Revision, Error>;

    /// The entry of `key` at `at`, or now.
    async fn get(&self, key: &[u8], at: Option<Revision>) -> Result<Option<Entry>, Error>;

    /// Entries of `span` in key order, at `at` or now, at most `limit` of them.
    async fn range(&self, span: &Span, at: Option<Revision>, limit: Option<usize>) -> Result<Page, Error>;

    /// Carries out one conditional write. Returns after it is durable, unless it is a renewal.
    async fn write(&self, write: Write) -> Result<Outcome, Error>;

    /// All changes of `span` after revision `after`, in order, for as long as the stream is held. Every stream
    /// gets a [`Event::Progress`] at least once after it caught up with the revision current at its start, and
    /// whenever revisions pass that do not touch its span (batched), so that a cache knows how far it is. A stream
    /// ends after its first error. Refused with [`Error::Compacted`] or [`Error::Future`] if `after` is not a
    /// revision that can be read.
    async fn watch(&self, span: &Span, after: Revision) -> Result<BoxStream<'static, Result<Event, Error>>, Error>;

    /// Forgets history before `revision`: reads at `revision` and watches after it still work, older ones do not. The
    /// newest entry of each key stays. Does nothing if that much is forgotten already.
    async fn compact(&self, revision: Revision) -> Result<(), Error>;
}
