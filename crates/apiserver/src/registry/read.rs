//! Reading one object, and the forms in which kinds that share their storage see it.

use std::sync::Arc;

use sampan_api::kind::{Kind, KindRef};
use sampan_api::status::Status;
use serde_json::Value;

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
        let kind = super::built_in(group, kind).ok()?;
        let attempt = Attempt::internal(kind, namespace, name);
        Some(self.cache.room(kind).ok()?.get(&attempt.key())?.value())
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

/// The kind itself if its objects are stored in another kind's form.
pub(crate) fn view_of(kind: &Kind) -> Option<&'static Kind> {
    let all = sampan_api::kinds::ALL;
    let first = all.iter().find(|other| other.storage == kind.storage)?;
    if std::ptr::eq(*first, kind) {
        return None;
    }
    all.iter().copied().find(|other| std::ptr::eq(*other, kind))
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
