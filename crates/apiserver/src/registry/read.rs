//! Reading one object, and the forms in which kinds that share their storage see it.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use sampan_api::kind::{Kind, KindRef};
use sampan_api::status::Status;
use serde_json::Value;

use super::attempt::room_key;
use super::{Attempt, Registry};
use crate::cache::{Filter, Match, Object};

impl Registry {
    /// The object, at least as new as asked.
    pub(crate) async fn get(&self, attempt: &Attempt, at: Match) -> Result<Arc<Object>, Status> {
        attempt.check_stored()?;
        match at {
            Match::Any => {}
            Match::NotOlderThan(revision) | Match::Exact(revision) => self.cache.reach(revision).await?,
            Match::Newest => drop(self.cache.fresh().await?),
        }
        self.cache.room(&attempt.kind)?.get(&attempt.key()).ok_or_else(|| attempt.not_found())
    }

    /// The object as it is in memory, decoded; for decisions that a fresh read has preceded.
    pub(crate) fn peek(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        Some(self.find(group, kind, namespace, name)?.value())
    }

    /// The same, not decoded.
    pub(crate) fn find(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let kind = super::built_in(group, kind).ok()?;
        self.cache.room(kind).ok()?.get(&room_key(kind, namespace, name))
    }
}

impl Registry {
    /// All objects of a built-in kind in a namespace, as they are in memory.
    pub(crate) fn peek_all(&self, group: &str, kind: &str, namespace: &str) -> Vec<Value> {
        let room = super::built_in(group, kind).and_then(|kind| self.cache.room(kind));
        let Ok(room) = room else { return Vec::new() };
        room.snapshot(&Filter::of_namespace(namespace)).0.iter().map(|object| object.value()).collect()
    }
}

/// The kinds whose objects are stored in another kind's form: that of the first one with their storage.
static VIEWS: LazyLock<Vec<&'static Kind>> = LazyLock::new(|| {
    let mut stored = HashSet::new();
    sampan_api::kinds::ALL.iter().copied().filter(|kind| !stored.insert(kind.storage)).collect()
});

/// The kind itself if its objects are stored in another kind's form.
pub(crate) fn view_of(kind: &Kind) -> Option<&'static Kind> {
    VIEWS.iter().copied().find(|view| std::ptr::eq(*view, kind))
}

/// A stored object in the form that `kind` serves.
pub(crate) fn serve(kind: &KindRef, stored: Value) -> Value {
    if view_of(kind).is_none() {
        return stored;
    }
    kind.rules().served_form(&stored).unwrap_or(stored)
}

/// An object of `from` in the form of `to`, which serves the same objects under another group or version.
pub(crate) fn converted(object: &Value, from: &KindRef, to: &KindRef) -> Value {
    let mut object = object.clone();
    if !object.is_object() || (from.group, from.version) == (to.group, to.version) {
        return object;
    }
    if view_of(from).is_some() {
        from.rules().stored_form(&mut object);
    }
    let mut object = serve(to, object);
    object["apiVersion"] = to.api_version().into();
    object
}
