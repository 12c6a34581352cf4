//! Watches: a bounded mailbox per watcher, filled by the writer thread, emptied by the watcher's stream.
//!
//! A watch registers and takes the list of past changes at one instant, so there is neither gap nor repeat between
//! them; the values of past changes are read later, at the watcher's pace.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use futures::stream::{self, Stream};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use super::index::Change;
use crate::{Error, Event, Revision, Span};

/// Bound on the events that wait for one watcher.
pub(super) const WATCH_QUEUE: usize = 8_192;
/// and on their bytes.
pub(super) const WATCH_BYTES: usize = 128 << 20;
/// Past changes read from disk at once.
const HISTORY_CHUNK: usize = 128;

/// What waits for one watcher.
#[derive(Default)]
struct Mailbox {
    mail: Mutex<Mail>,
    wake: Notify,
}

#[derive(Default)]
struct Mail {
    events: VecDeque<Event>,
    bytes: usize,
    /// Everything up to here is in `events` or was.
    complete: Revision,
    end: Option<Error>,
}

impl Mailbox {
    /// Adds events and the revision they complete. False if the watcher is to be dropped.
    fn push(&self, events: Vec<Event>, complete: Revision) -> bool {
        let mut mail = self.mail.lock();
        let bytes = mail.bytes + events.iter().map(bytes).sum::<usize>();
        if mail.events.len() + events.len() > WATCH_QUEUE || (bytes > WATCH_BYTES && !mail.events.is_empty()) {
            mail.end = Some(Error::Lagged);
        }
        let open = mail.end.is_none();
        if open {
            mail.events.extend(events);
            mail.bytes = bytes;
            mail.complete = complete;
        }
        drop(mail);
        self.wake.notify_one();
        open
    }

    fn end(&self, why: Error) {
        self.mail.lock().end.get_or_insert(why);
        self.wake.notify_one();
    }

    /// The next event, or progress beyond `delivered`.
    async fn next(&self, delivered: Revision) -> Result<Event, Error> {
        loop {
            if let Some(next) = self.mail.lock().take(delivered) {
                return next;
            }
            self.wake.notified().await;
        }
    }
}

impl Mail {
    fn take(&mut self, delivered: Revision) -> Option<Result<Event, Error>> {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= bytes(&event);
            return Some(Ok(event));
        }
        if let Some(error) = self.end.take() {
            return Some(Err(error));
        }
        (self.complete > delivered).then_some(Ok(Event::Progress { revision: self.complete }))
    }
}

/// The bytes of an event's key and value.
fn bytes(event: &Event) -> usize {
    match event {
        Event::Put { entry } => entry.key.len() + entry.value.len(),
        Event::Delete { key, .. } => key.len(),
        Event::Progress { .. } => 0,
    }
}

struct Watcher {
    span: Span,
    /// Held by the stream: when that is dropped the watch is over.
    mailbox: Weak<Mailbox>,
}

/// All watches.
#[derive(Default)]
pub(super) struct Watchers {
    list: Vec<Watcher>,
}

impl Watchers {
    /// A watch that first tells of `history` and then of all that is dispatched from now on; `now` is the newest
    /// revision.
    pub(super) fn add(
        &mut self,
        span: Span,
        history: Vec<Change>,
        now: Revision,
    ) -> impl Stream<Item = Result<Event, Error>> + Send + use<> {
        let mailbox = Arc::new(Mailbox::default());
        self.list.retain(|watcher| watcher.mailbox.strong_count() > 0);
        self.list.push(Watcher { span, mailbox: Arc::downgrade(&mailbox) });
        let feed = Feed { history: history.into(), loaded: VecDeque::new(), now, delivered: None, mailbox };
        stream::unfold(Some(feed), |feed| async {
            let mut feed = feed?;
            match feed.next().await {
                Ok(event) => Some((Ok(event), Some(feed))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// Tells everyone of durable changes, in order, the last of which has `revision`.
    pub(super) fn dispatch(&mut self, changes: &[Change], revision: Revision) {
        let open = self.list.drain(..).filter_map(|watcher| Some((watcher.mailbox.upgrade()?, watcher)));
        let open: Vec<_> = open.collect();
        let mut mail: Vec<Vec<Event>> = vec![Vec::new(); open.len()];
        for change in changes {
            let takers: Vec<usize> = (0..open.len()).filter(|&at| open[at].1.span.contains(&change.key)).collect();
            if takers.is_empty() {
                continue;
            }
            match change.event() {
                Ok(event) => takers.iter().for_each(|&at| mail[at].push(event.clone())),
                Err(error) => takers.iter().for_each(|&at| open[at].0.end(error.again())),
            }
        }
        let kept = open.into_iter().zip(mail).filter(|((mailbox, _), _)| Arc::strong_count(mailbox) > 1);
        self.list =
            kept.filter_map(|((mailbox, watcher), mail)| mailbox.push(mail, revision).then_some(watcher)).collect();
    }

    /// Ends all watches.
    pub(super) fn end(&mut self, why: &Error) {
        for watcher in self.list.drain(..) {
            if let Some(mailbox) = watcher.mailbox.upgrade() {
                mailbox.end(why.again());
            }
        }
    }
}

/// One watch as its stream sees it: first the past, then the mailbox.
struct Feed {
    history: VecDeque<Change>,
    loaded: VecDeque<Event>,
    /// The newest revision when the watch began: `history` ends here, the mailbox begins.
    now: Revision,
    /// The watcher knows everything up to here; `None` before it caught up.
    delivered: Option<Revision>,
    mailbox: Arc<Mailbox>,
}

impl Feed {
    async fn next(&mut self) -> Result<Event, Error> {
        if self.loaded.is_empty() && !self.history.is_empty() {
            self.loaded = self.load().await?;
        }
        if let Some(event) = self.loaded.pop_front() {
            return Ok(event);
        }
        let event = match self.delivered {
            None => Event::Progress { revision: self.now },
            Some(delivered) => self.mailbox.next(delivered).await?,
        };
        self.delivered = Some(event.revision());
        Ok(event)
    }

    async fn load(&mut self) -> Result<VecDeque<Event>, Error> {
        let chunk: Vec<Change> = self.history.drain(..self.history.len().min(HISTORY_CHUNK)).collect();
        let load = move || chunk.iter().map(Change::event).collect();
        spawn_blocking(load).await.map_err(|_| Error::Closed)?
    }
}
