//! Lists: consistent by default, at a revision if asked, in pages that all show the same revision.
//!
//! The newest state comes from memory. An older one (an exact revision, the second page of a list that others have
//! written to since) comes from the store, which keeps history until it is compacted.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use sampan_api::field;
use sampan_api::status::{Resource, Status};
use sampan_store::{Revision, Span};
use serde::{Deserialize, Serialize};

use super::filter::Filter;
use super::object::{EventType, Object};
use super::room::Room;
use super::{Cache, PREFIX, unavailable};
use crate::request::Query;

/// How `resourceVersion` is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// What is there now.
    Newest,
    /// What is in memory, however old.
    Any,
    /// At least this revision.
    NotOlderThan(Revision),
    /// Exactly this revision.
    Exact(Revision),
}

/// What a list asks for besides the selection.
#[derive(Clone, Debug)]
pub(crate) struct ListOptions {
    /// At which revision.
    pub(crate) at: Match,
    /// The size of a page.
    pub(crate) limit: Option<usize>,
    /// Where the page begins.
    continues: Option<Token>,
}

impl ListOptions {
    /// Reads `resourceVersion`, `resourceVersionMatch`, `limit` and `continue`.
    pub(crate) fn from_query(query: &Query) -> Result<Self, Status> {
        let limit = query.number::<usize>("limit")?.filter(|limit| *limit > 0);
        let continues = match query.text("continue") {
            "" => None,
            text => Some(Token::decode(text)?),
        };
        let version = query.text("resourceVersion");
        let matching = query.text("resourceVersionMatch");
        if continues.is_some() && !matches!(version, "" | "0") {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        Ok(Self { at: read_match(version, matching, limit.is_some())?, limit, continues })
    }
}

fn read_match(version: &str, matching: &str, limited: bool) -> Result<Match, Status> {
    let fault = |path: &str, detail: &str| {
        let error = field::Error::forbidden(&field::Path::new(path), detail);
        Err(Status::invalid(Resource { group: "meta.k8s.io", name: "ListOptions" }, "", &[error]))
    };
    let revision = revision_of(version)?;
    Ok(match (revision, matching) {
        (None, "") => Match::Newest,
        (None, _) => {
            return fault(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            );
        }
        (Some(0), "Exact") => {
            return fault(
                "resourceVersionMatch",
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            );
        }
        (Some(0), _) => Match::Any,
        (Some(revision), "Exact") => Match::Exact(revision),
        (Some(revision), "") if limited => Match::Exact(revision),
        (Some(revision), "" | "NotOlderThan") => Match::NotOlderThan(revision),
        (Some(_), other) => {
            let path = field::Path::new("resourceVersionMatch");
            let error = field::Error::not_supported(&path, other, &["Exact", "NotOlderThan", ""]);
            return Err(Status::invalid(Resource { group: "meta.k8s.io", name: "ListOptions" }, "", &[error]));
        }
    })
}

/// A `resourceVersion` as a revision; `None` when it is empty.
pub(crate) fn revision_of(text: &str) -> Result<Option<Revision>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let path = field::Path::new("resourceVersion");
        let error = field::Error::invalid(&path, text, format!("strconv.ParseUint: parsing {text:?}: invalid syntax"));
        Status::invalid(Resource { group: "meta.k8s.io", name: "ListOptions" }, "", &[error])
    })
}

/// A list, or a page of one.
pub(crate) struct List {
    /// The revision that it shows.
    pub(crate) revision: Revision,
    /// The objects in key order.
    pub(crate) objects: Vec<Arc<Object>>,
    /// The token for the next page.
    pub(crate) continues: Option<String>,
    /// How many objects follow, where that is known.
    pub(crate) remaining: Option<u64>,
}

/// Where the next page begins, as the client carries it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Token {
    v: String,
    /// The list's revision; -1 for "whatever is there by then".
    rv: i64,
    /// The last key of the page before.
    start: String,
}

impl Token {
    fn new(rv: i64, start: &str) -> Self {
        Self { v: "meta.k8s.io/v1".into(), rv, start: start.into() }
    }

    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn decode(text: &str) -> Result<Self, Status> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let token: Option<Self> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        token
            .filter(|token| token.v == "meta.k8s.io/v1" && !token.start.is_empty())
            .ok_or_else(|| Status::bad_request("continue key is not valid: invalid character"))
    }
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

const EXPIRED_PAGE: &str = "The provided continue parameter is too old to display a consistent list result. You can \
start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder \
of the results. Continuing with the provided token results in an inconsistent list - objects that were created, \
modified, or deleted between the time the first chunk was returned and now may show up in the list.";

impl Cache {
    /// The selected objects of `room`.
    pub(crate) async fn list(&self, room: &Room, filter: &Filter, options: &ListOptions) -> Result<List, Refused> {
        let after = options.continues.as_ref().map(|token| token.start.as_str());
        if let Some(token) = options.continues.as_ref().filter(|token| token.rv > 0) {
            return self.list_at(room, filter, token.rv.unsigned_abs(), options).await;
        }
        match options.at {
            Match::Exact(revision) => return self.list_at(room, filter, revision, options).await,
            Match::NotOlderThan(revision) => self.reach(revision).await?,
            Match::Any => {}
            Match::Newest => drop(self.fresh().await?),
        }
        // The revision first: what the cache holds afterwards is at least as new as what it says of itself.
        let revision = self.reached().max(room.revision());
        let page = room.select(filter, after, options.limit);
        Ok(List {
            revision,
            objects: page.objects,
            continues: page.last.map(|key| Token::new(revision.try_into().unwrap_or(i64::MAX), &key).encode()),
            remaining: page.remaining,
        })
    }

    /// The same, as it was at `revision`.
    async fn list_at(
        &self,
        room: &Room,
        filter: &Filter,
        revision: Revision,
        options: &ListOptions,
    ) -> Result<List, Refused> {
        self.reach(revision).await?;
        let prefix = match filter.namespace.as_str() {
            "" => format!("{PREFIX}{}/", room.kind.storage),
            namespace => format!("{PREFIX}{}/{namespace}/", room.kind.storage),
        };
        let mut span = Span::prefix(prefix.as_bytes());
        if let Some(token) = &options.continues {
            span.start = behind(room, &token.start);
        }
        let limit = options.limit.unwrap_or(usize::MAX);
        let mut objects = Vec::new();
        loop {
            let page = self.page(&span, revision, limit, options).await?;
            for entry in &page.entries {
                let key = &entry.key[PREFIX.len() + room.kind.storage.len() + 1..];
                let Ok(object) = Object::from_entry(&room.kind, entry, EventType::Added) else { continue };
                if filter.matches(&object) {
                    objects.push((key.to_vec(), Arc::new(object)));
                }
                span.start = behind(room, &String::from_utf8_lossy(key));
            }
            if page.remaining == 0 || objects.len() >= limit {
                let more = page.remaining + objects.len().saturating_sub(limit) as u64;
                objects.truncate(limit);
                return Ok(finish(revision, objects, (more > 0).then_some(more), filter));
            }
        }
    }

    async fn page(
        &self,
        span: &Span,
        revision: Revision,
        limit: usize,
        options: &ListOptions,
    ) -> Result<sampan_store::Page, Refused> {
        let limit = (limit != usize::MAX).then_some(limit);
        self.store.range(span, Some(revision), limit).await.map_err(|e| match (e, &options.continues) {
            (sampan_store::Error::Compacted { .. }, Some(token)) => {
                Refused::Expired(Status::expired(EXPIRED_PAGE), Some(Token::new(-1, &token.start).encode()))
            }
            (sampan_store::Error::Compacted { .. }, None) => Refused::Expired(
                Status::expired(format!("The resourceVersion for the provided list is too old: {revision}")),
                None,
            ),
            (e, _) => Refused::Status(unavailable(&e)),
        })
    }
}

fn finish(revision: Revision, objects: Vec<(Vec<u8>, Arc<Object>)>, more: Option<u64>, filter: &Filter) -> List {
    let last = objects.last().map(|(key, _)| String::from_utf8_lossy(key).into_owned());
    let token = |key: String| Token::new(revision.try_into().unwrap_or(i64::MAX), &key).encode();
    List {
        revision,
        continues: more.and(last).map(token),
        remaining: more.filter(|_| !filter.selects()),
        objects: objects.into_iter().map(|(_, object)| object).collect(),
    }
}

/// The store key right behind an object's.
fn behind(room: &Room, key: &str) -> Bytes {
    format!("{PREFIX}{}/{key}\0", room.kind.storage).into()
}
