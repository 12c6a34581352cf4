//! Lists: consistent by default, at a revision if asked, in pages that all show the same revision.
//!
//! The newest state comes from memory. An older one (an exact revision, the second page of a list that others have
//! written to since) comes from the store, which keeps history until it is compacted.

use std::sync::Arc;

use bytes::Bytes;
use sampan_api::status::Status;
use sampan_store::{Entry, Page, Revision, Span};

use super::filter::Filter;
use super::object::{EventType, Object};
use super::options::{ListOptions, Match, Token};
use super::room::{Room, Selected};
use super::{Cache, PREFIX, unavailable};

/// A list, or a page of one.
pub(crate) struct List {
    /// The revision that it shows.
    pub(crate) revision: Revision,
    /// The objects in key order.
    pub(crate) objects: Vec<Arc<Object>>,
    /// The token for the next page.
    pub(crate) continues: Option<Token>,
    /// How many objects follow, where that is known.
    pub(crate) remaining: Option<u64>,
}

/// Why there is no list.
#[derive(Debug)]
pub(crate) enum Refused {
    /// As it says.
    Status(Status),
    /// The revision is compacted; with the token the list can be finished at another one.
    Expired(Status, Option<String>),
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

const EXPIRED: &str = "The resourceVersion for the provided list is too old.";

const EXPIRED_PAGE: &str = "The provided continue parameter is too old to display a consistent list result. You can \
start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder \
of the results. Continuing with the provided token results in an inconsistent list - objects that were created, \
modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// The most entries that are read from the store at once while few of them are selected.
const MAX_PAGE: usize = 10_000;

impl Cache {
    /// The selected objects of `room`.
    pub(crate) async fn list(&self, room: &Room, filter: &Filter, options: &ListOptions) -> Result<List, Refused> {
        match options.at {
            Match::Exact(revision) => return self.list_at(room, filter, revision, options).await,
            Match::NotOlderThan(revision) => self.reach(revision).await?,
            Match::Any => {}
            Match::Newest => drop(self.fresh().await?),
        }
        // The revision first: what the cache holds afterwards is at least as new as what it says of itself.
        let revision = self.reached().max(room.revision());
        Ok(list_of(room.select(filter, options.after.as_deref(), options.limit), revision))
    }

    /// The same, as it was at `revision`: from memory if nothing has changed since, else from the store.
    async fn list_at(
        &self,
        room: &Room,
        filter: &Filter,
        revision: Revision,
        options: &ListOptions,
    ) -> Result<List, Refused> {
        self.reach(revision).await?;
        if let Some(selected) = room.select_at(revision, filter, options.after.as_deref(), options.limit) {
            self.must_be_kept(revision, options).await?;
            return Ok(list_of(selected, revision));
        }
        let prefix = match filter.namespace.as_str() {
            "" => format!("{PREFIX}{}/", room.kind.storage),
            namespace => format!("{PREFIX}{}/{namespace}/", room.kind.storage),
        };
        let mut span = Span::prefix(prefix.as_bytes());
        if let Some(after) = &options.after {
            span.start = behind(room, after);
        }
        let mut size = options.limit;
        let mut found = Found { limit: options.limit.unwrap_or(usize::MAX), ..Found::default() };
        loop {
            let page = self.page(&span, revision, size, options).await?;
            if found.take(room, filter, &page) {
                return Ok(found.list(revision, filter));
            }
            let Some(last) = page.entries.last() else { return Ok(found.list(revision, filter)) };
            span.start = [&last.key[..], b"\0"].concat().into();
            size = size.map(|size| size.saturating_mul(2).min(MAX_PAGE));
        }
    }

    async fn page(
        &self,
        span: &Span,
        revision: Revision,
        limit: Option<usize>,
        options: &ListOptions,
    ) -> Result<Page, Refused> {
        self.store.range(span, Some(revision), limit).await.map_err(|error| refused(&error, options))
    }

    /// Refuses a revision that the store has forgotten, though nothing that is asked for has changed since: how long a
    /// revision can be used does not depend on what others write. Only the store knows; with etcd that is a round trip for
    /// each further page.
    async fn must_be_kept(&self, revision: Revision, options: &ListOptions) -> Result<(), Refused> {
        if revision < self.reached() {
            let any = PREFIX.as_bytes();
            self.store.get(any, Some(revision)).await.map_err(|error| refused(&error, options))?;
        }
        Ok(())
    }
}

fn refused(error: &sampan_store::Error, options: &ListOptions) -> Refused {
    match (error, &options.after) {
        (sampan_store::Error::Compacted { .. }, Some(after)) => {
            Refused::Expired(Status::expired(EXPIRED_PAGE), Some(Token::inconsistent(after).encode()))
        }
        (sampan_store::Error::Compacted { .. }, None) => Refused::Expired(Status::expired(EXPIRED), None),
        (error, _) => Refused::Status(unavailable(error)),
    }
}

/// What a list from the store has come to.
#[derive(Default)]
struct Found {
    limit: usize,
    objects: Vec<Arc<Object>>,
    last: String,
    /// How many entries follow the last object.
    more: u64,
}

impl Found {
    /// Takes the selected objects of the next page; true if it is the last that is needed.
    fn take(&mut self, room: &Room, filter: &Filter, page: &Page) -> bool {
        for (index, entry) in page.entries.iter().enumerate() {
            if self.objects.len() == self.limit {
                self.more = (page.entries.len() - index) as u64 + page.remaining;
                return true;
            }
            self.take_entry(room, filter, entry);
        }
        self.more = page.remaining;
        page.remaining == 0 || self.objects.len() == self.limit
    }

    fn take_entry(&mut self, room: &Room, filter: &Filter, entry: &Entry) {
        let Ok(object) = Object::from_entry(&room.kind, entry, EventType::Added) else { return };
        if filter.matches(&object) {
            self.last = String::from_utf8_lossy(&entry.key[PREFIX.len() + room.kind.storage.len() + 1..]).into_owned();
            self.objects.push(Arc::new(object));
        }
    }

    fn list(self, revision: Revision, filter: &Filter) -> List {
        let last = Some(self.last).filter(|_| self.more > 0);
        let remaining = Some(self.more).filter(|more| *more > 0 && !filter.selects());
        list_of(Selected { objects: self.objects, last, remaining }, revision)
    }
}

fn list_of(selected: Selected, revision: Revision) -> List {
    let continues = selected.last.map(|key| Token::new(revision, &key));
    List { revision, objects: selected.objects, continues, remaining: selected.remaining }
}

/// The store key right behind an object's.
fn behind(room: &Room, key: &str) -> Bytes {
    format!("{PREFIX}{}/{key}\0", room.kind.storage).into()
}
