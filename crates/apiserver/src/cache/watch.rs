//! One watch: the state at its start if asked, then every change of the selection, in order, once.
//!
//! ```text
//! Start::Now -----> ADDED... [BOOKMARK initial-events-end] --+
//!                                                            v
//! Start::Next, Start::After(R) -----------------------------------> changes, bookmarks --> end: time is up, overtaken, kind gone, shutdown
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use sampan_api::status::Status;
use sampan_store::Revision;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::history::{Change, Step};
use super::object::{EventType, Object};
use super::room::Follower;
use super::{Cache, Filter, Room};

/// How many changes a watcher takes at a time.
const BATCH: usize = 64;
/// How often a watcher that wants bookmarks gets one, if anything has happened,
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// and so long before the watch ends: who comes back then need not begin a minute ago.
const BEFORE_END: Duration = Duration::from_secs(2);

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the state now, as ADDED events.
    Now {
        /// And a bookmark that says when those are complete.
        bookmark: bool,
    },
    /// With the next change.
    Next,
    /// With the changes after a revision.
    After(Revision),
}

/// What a watch asks for.
pub(crate) struct WatchOptions {
    /// Where it begins.
    pub(crate) start: Start,
    /// Which objects.
    pub(crate) filter: Filter,
    /// Whether bookmarks are wanted.
    pub(crate) bookmarks: bool,
    /// When it ends by itself.
    pub(crate) until: Instant,
}

/// What a watcher is told. The plain JSON of a change is ready; other forms are made from the object.
pub(crate) enum Told {
    /// An object's event.
    Event {
        /// The type.
        event: EventType,
        /// The object to show.
        object: Arc<Object>,
        /// The revision to show it at.
        revision: Revision,
        /// The change that all watchers share, where this is how they see it.
        change: Option<Arc<Change>>,
    },
    /// Everything up to the revision has been told.
    Bookmark {
        /// The revision.
        revision: Revision,
        /// Whether this closes the initial events.
        initial_end: bool,
    },
    /// The watch cannot go on.
    Failed(Status),
}

impl Told {
    /// The object that it is about.
    pub(crate) fn object(&self) -> Option<&Arc<Object>> {
        match self {
            Self::Event { object, .. } => Some(object),
            Self::Bookmark { .. } | Self::Failed(_) => None,
        }
    }

    /// The object before and after; at the beginning of a watch there is nothing before.
    pub(crate) fn step(&self) -> Step {
        match self {
            Self::Event { change: Some(change), .. } => change.step(),
            other => Step { before: None, after: other.object().map(Arc::clone) },
        }
    }
}

/// One watch.
pub(crate) struct Watch {
    cache: Arc<Cache>,
    follower: Follower,
    options: WatchOptions,
    cursor: Revision,
    pending: VecDeque<Told>,
    stop: CancellationToken,
    bookmark_at: Instant,
    bookmarked: Revision,
    failed: bool,
}

impl Watch {
    /// Begins a watch. The caller has made sure that the cache is as new as the start demands.
    pub(crate) fn begin(cache: Arc<Cache>, room: &Arc<Room>, options: WatchOptions, stop: CancellationToken) -> Self {
        let from = match options.start {
            Start::After(revision) => Some(revision),
            Start::Now { .. } | Start::Next => None,
        };
        let follower = room.follow(&options.filter, from);
        let mut pending = VecDeque::new();
        let cursor = match options.start {
            Start::After(revision) => revision,
            Start::Next => room.revision(),
            Start::Now { bookmark } => {
                let reached = cache.reached();
                let (objects, cursor) = room.snapshot(&options.filter);
                pending.extend(objects.into_iter().map(added));
                let revision = reached.max(cursor);
                pending.extend(bookmark.then_some(Told::Bookmark { revision, initial_end: true }));
                cursor
            }
        };
        let bookmark_at = next_bookmark(Instant::now(), options.until);
        Self { cache, follower, options, cursor, pending, stop, bookmark_at, bookmarked: 0, failed: false }
    }

    /// What happens, until the watch ends.
    pub(crate) fn stream(self) -> impl Stream<Item = Told> + Send {
        futures::stream::unfold(self, |mut watch| async move { watch.next().await.map(|told| (told, watch)) })
    }

    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.pending.pop_front() {
                return Some(told);
            }
            if self.failed || self.stop.is_cancelled() || self.follower.is_closed() {
                return None;
            }
            self.follower.mark_unchanged();
            let reached = self.cache.reached();
            if self.take_changes() {
                continue;
            }
            if Instant::now() >= self.options.until {
                return None;
            }
            if self.bookmark_is_due(reached) {
                return Some(Told::Bookmark { revision: reached, initial_end: false });
            }
            self.wait().await;
        }
    }

    /// Takes the next changes; false if there are none.
    fn take_changes(&mut self) -> bool {
        match self.follower.since(self.cursor, BATCH) {
            Err(old) => {
                self.failed = true;
                let why = format!("too old resource version: {} ({})", self.cursor, old.oldest);
                self.pending.push_back(Told::Failed(Status::expired(why)));
                true
            }
            Ok(changes) => {
                let Some(last) = changes.last() else { return false };
                self.cursor = last.revision;
                self.pending.extend(changes.iter().filter_map(|change| {
                    let (event, object) = change.step().seen(&self.options.filter)?;
                    Some(Told::Event { event, revision: change.revision, change: change.as_told(event), object })
                }));
                true
            }
        }
    }

    fn bookmark_is_due(&mut self, reached: Revision) -> bool {
        if !self.options.bookmarks || Instant::now() < self.bookmark_at {
            return false;
        }
        self.bookmark_at = next_bookmark(Instant::now(), self.options.until);
        // Who waits for a revision that is yet to come is not told that it has come.
        let news = reached > self.bookmarked && reached >= self.cursor;
        self.bookmarked = reached;
        news
    }

    async fn wait(&mut self) {
        let wake = if self.options.bookmarks { self.options.until.min(self.bookmark_at) } else { self.options.until };
        tokio::select! {
            () = self.follower.moved() => {}
            () = sleep_until(wake) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// When the next bookmark is due.
fn next_bookmark(now: Instant, until: Instant) -> Instant {
    let usual = now + BOOKMARK_EVERY;
    until.checked_sub(BEFORE_END).filter(|last| *last > now).map_or(usual, |last| usual.min(last))
}

fn added(object: Arc<Object>) -> Told {
    Told::Event { event: EventType::Added, revision: object.revision, object, change: None }
}
