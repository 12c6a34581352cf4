//! Parts of a kind that somebody watches: whoever watches a part is woken by what happens in it, and by nothing else.
//!
//! A part is all that have one value of an index: of a namespace, under a name, with a selectable field (a kubelet's
//! Pods). It has a history of its own, which shares the changes with the kind's and forgets each when that does; so a
//! watcher of a part is not overtaken by changes elsewhere.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use sampan_store::Revision;
use tokio::sync::watch;

use super::history::{Change, History, TooOld};
use super::object::Object;

/// By what a part is told from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Index {
    /// The namespace.
    Namespace,
    /// The name, in whatever namespace.
    Name,
    /// The one object `namespace/name`.
    Object,
    /// A selectable field.
    Field(Box<str>),
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The index.
    pub(super) index: Index,
    /// The value that its objects have there.
    pub(super) value: Box<str>,
}

impl Index {
    fn value<'o>(&self, object: &'o Object) -> Cow<'o, str> {
        match self {
            Self::Namespace => Cow::Borrowed(&object.namespace),
            Self::Name => Cow::Borrowed(&object.name),
            Self::Object => Cow::Owned(format!("{}/{}", object.namespace, object.name)),
            Self::Field(name) => Cow::Borrowed(object.field(name)),
        }
    }

    /// The values before and after a change, without repetition.
    fn values<'c>(&self, change: &'c Change) -> impl Iterator<Item = Cow<'c, str>> {
        let [before, after] = [&change.before, &change.after].map(|object| object.as_ref().map(|o| self.value(o)));
        let after = after.filter(|after| before.as_ref() != Some(after));
        [before, after].into_iter().flatten()
    }
}

impl Part {
    fn concerns(&self, change: &Change) -> bool {
        self.index.values(change).any(|value| *value == *self.value)
    }
}

/// The parts of a kind that are watched.
#[derive(Default)]
pub(super) struct Parts(HashMap<Index, Indexed>);

/// The watched parts of one index, by value.
#[derive(Default)]
struct Indexed {
    /// Of all parts together.
    watchers: usize,
    parts: HashMap<Box<str>, Watched>,
}

/// A part with its watchers.
struct Watched {
    watchers: usize,
    history: History,
    moved: watch::Sender<Revision>,
}

impl Parts {
    /// Somebody watches `part` from the revision `from` on; `whole` is the history of the kind. Tells of every change in
    /// the part. Whoever enters leaves once.
    pub(super) fn enter(&mut self, part: &Part, from: Revision, whole: &History) -> watch::Receiver<Revision> {
        let indexed = self.0.entry(part.index.clone()).or_default();
        indexed.watchers += 1;
        let watched = indexed.parts.entry(part.value.clone()).or_insert_with(|| Watched {
            watchers: 0,
            history: whole.only(from, |change| part.concerns(change)),
            moved: watch::Sender::new(0),
        });
        // Its first watcher may have begun later than this one.
        if watched.history.forgot(from) && !whole.forgot(from) {
            watched.history = whole.only(from, |change| part.concerns(change));
        }
        watched.watchers += 1;
        watched.moved.subscribe()
    }

    /// How many of `watchers`, who are all of the kind, a write of `namespace/name` may concern. By a field an object is in
    /// one part, and which one is not known: one with as many watchers as the others, then.
    pub(super) fn concerned(&self, watchers: usize, namespace: &str, name: &str) -> usize {
        let unconcerned = self.0.iter().map(|(index, Indexed { watchers, parts })| {
            let count = |value: &str| parts.get(value).map_or(0, |watched| watched.watchers);
            let concerned = match index {
                Index::Namespace => count(namespace),
                Index::Name => count(name),
                Index::Object => count(&format!("{namespace}/{name}")),
                Index::Field(_) => watchers.div_ceil(parts.len().max(1)),
            };
            watchers - concerned
        });
        watchers.saturating_sub(unconcerned.sum())
    }

    /// A watcher of `part` has ended.
    pub(super) fn leave(&mut self, part: &Part) {
        let Some(Indexed { watchers, parts }) = self.0.get_mut(&part.index) else { return };
        let Some(watched) = parts.get_mut(&part.value) else { return };
        *watchers -= 1;
        watched.watchers -= 1;
        if watched.watchers == 0 {
            parts.remove(&part.value);
        }
        if parts.is_empty() {
            self.0.remove(&part.index);
        }
    }

    /// At most `limit` changes in `part` after `cursor`.
    pub(super) fn since(&self, part: &Part, cursor: Revision, limit: usize) -> Result<Vec<Arc<Change>>, TooOld> {
        let watched = self.0.get(&part.index).and_then(|indexed| indexed.parts.get(&part.value));
        watched.map_or(Ok(Vec::new()), |watched| watched.history.since(cursor, limit))
    }

    /// Takes a change, and wakes whom it concerns.
    pub(super) fn push(&mut self, change: &Arc<Change>) {
        self.each_concerned(change, |watched| {
            watched.history.push(Arc::clone(change));
            watched.moved.send_replace(change.revision);
        });
    }

    /// The kind has forgotten a change.
    pub(super) fn forget(&mut self, gone: &Change) {
        self.each_concerned(gone, |watched| watched.history.forget(gone.revision));
    }

    fn each_concerned(&mut self, change: &Change, mut take: impl FnMut(&mut Watched)) {
        for (index, Indexed { parts, .. }) in &mut self.0 {
            for value in index.values(change) {
                if let Some(watched) = parts.get_mut(&*value) {
                    take(watched);
                }
            }
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.values().map(|indexed| indexed.parts.len()).sum()
    }

    /// Nothing from before `revision` is known any more.
    pub(super) fn reset(&mut self, revision: Revision) {
        for watched in self.0.values_mut().flat_map(|indexed| indexed.parts.values_mut()) {
            watched.history = History::new(revision);
            watched.moved.send_replace(revision);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use sampan_api::kind::KindRef;
    use sampan_store::Entry;
    use serde_json::json;

    use super::*;
    use crate::cache::Filter;
    use crate::cache::object::{EventType, encode};
    use crate::cache::room::{Follower, News, Room};
    use crate::registry::built_in;
    use crate::request::Query;

    fn pods() -> (KindRef, Arc<Room>) {
        let kind = KindRef::from(built_in("", "Pod").unwrap());
        (kind.clone(), Arc::new(Room::new(kind)))
    }

    fn selecting(kind: &KindRef, namespace: &str, fields: &str) -> Filter {
        let query = Query::of(&format!("/?fieldSelector={fields}").parse().unwrap()).unwrap();
        Filter::from_query(kind, namespace, &query).unwrap()
    }

    /// The Pod `namespace/name` is put on a node, and has `size` bytes besides.
    fn put(room: &Room, revision: Revision, at: (&str, &str), node: &str, size: usize) {
        let (namespace, name) = at;
        let annotations = json!({ "size": "x".repeat(size) });
        let pod = json!({
            "kind": "Pod", "apiVersion": "v1", "spec": { "nodeName": node },
            "metadata": { "namespace": namespace, "name": name, "annotations": annotations },
        });
        let entry = Entry { key: "".into(), value: encode(&pod), created: 0, modified: revision };
        let object = Object::from_entry(&room.kind, &entry, EventType::Modified).unwrap();
        room.take(&format!("{namespace}/{name}"), News::Put(object));
    }

    /// Whether it was woken, and the revisions that it is shown behind `cursor`.
    fn told(follower: &mut Follower, cursor: Revision) -> (bool, Result<Vec<Revision>, TooOld>) {
        let woken = follower.moved().now_or_never().is_some();
        (woken, follower.since(cursor, 10).map(|changes| changes.iter().map(|change| change.revision).collect()))
    }

    #[test]
    fn a_follower_is_woken_by_what_concerns_it() {
        let (kind, room) = pods();
        let mut followers = [
            ("", "", vec![1, 2, 3, 4, 5]),
            ("a", "", vec![1, 2, 5]),
            ("a", "metadata.name=p", vec![1, 5]),
            ("", "metadata.name=p", vec![1, 3, 5]),
            ("", "spec.nodeName=n1", vec![2, 4]),
            ("b", "spec.nodeName=n1", vec![2, 4]),
            ("", "spec.nodeName!=n1", vec![1, 2, 3, 4, 5]),
            ("c", "", vec![]),
        ]
        .map(|(namespace, fields, want)| (room.follow(&selecting(&kind, namespace, fields), Some(0)), want));
        put(&room, 1, ("a", "p"), "", 1);
        put(&room, 2, ("a", "q"), "n1", 1);
        put(&room, 3, ("b", "p"), "", 1);
        put(&room, 4, ("b", "q"), "n1", 1);
        put(&room, 5, ("a", "p"), "n2", 1);
        for (follower, want) in &mut followers {
            assert_eq!(told(follower, 0), (!want.is_empty(), Ok(want.clone())), "{want:?}");
            assert!(!told(follower, 0).0, "twice by the same");
        }
    }

    #[test]
    fn writes_count_whom_they_concern() {
        let (kind, room) = pods();
        let wanted = [
            ("", ""),
            ("a", ""),
            ("a", "metadata.name=p"),
            ("", "metadata.name=p"),
            ("", "spec.nodeName=n1"),
            ("", "spec.nodeName=n1"),
            ("", "spec.nodeName=n2"),
        ];
        let _followers = wanted.map(|(namespace, fields)| room.follow(&selecting(&kind, namespace, fields), None));
        for (namespace, name, want) in [("a", "p", 6), ("a", "", 4), ("b", "p", 4), ("b", "q", 3)] {
            assert_eq!(room.concerned(namespace, name), want, "{namespace}/{name}");
        }
    }

    #[test]
    fn what_leaves_a_part_is_a_change_in_it() {
        let (kind, room) = pods();
        let mut old = room.follow(&selecting(&kind, "", "spec.nodeName=n1"), None);
        let mut new = room.follow(&selecting(&kind, "", "spec.nodeName=n2"), None);
        put(&room, 1, ("a", "p"), "n1", 1);
        put(&room, 2, ("a", "p"), "n2", 1);
        room.take("a/p", News::Delete(3));
        assert_eq!(told(&mut old, 0), (true, Ok(vec![1, 2])));
        assert_eq!(told(&mut new, 0), (true, Ok(vec![2, 3])));
    }

    #[test]
    fn only_changes_in_its_part_overtake_a_follower() {
        let (kind, room) = pods();
        let mut one = room.follow(&selecting(&kind, "a", "metadata.name=p"), Some(0));
        let mut all = room.follow(&Filter::default(), Some(0));
        put(&room, 1, ("a", "p"), "", 1);
        (2..6).for_each(|revision| put(&room, revision, ("a", "q"), "", 4 << 20));
        assert_eq!(told(&mut all, 1).1, Err(TooOld { oldest: 4 }));
        assert_eq!(told(&mut one, 1), (true, Ok(vec![])));
        assert_eq!(told(&mut one, 0).1, Err(TooOld { oldest: 1 }), "its own change is forgotten with the kind's");
        put(&room, 6, ("a", "p"), "", 1);
        assert_eq!(told(&mut one, 1), (true, Ok(vec![6])));
    }

    #[test]
    fn who_comes_later_may_begin_earlier() {
        let (kind, room) = pods();
        (1..4).for_each(|revision| put(&room, revision, ("a", "p"), "", 1));
        let filter = selecting(&kind, "a", "metadata.name=p");
        let mut late = room.follow(&filter, None);
        let mut early = room.follow(&filter, Some(1));
        assert_eq!((told(&mut late, 3).1, told(&mut early, 1).1), (Ok(vec![]), Ok(vec![2, 3])));
        room.reset(Default::default(), 9);
        assert_eq!(told(&mut early, 3), (true, Err(TooOld { oldest: 9 })));
    }

    #[test]
    fn a_part_is_forgotten_with_its_last_follower() {
        let (kind, room) = pods();
        let filter = selecting(&kind, "a", "");
        let followers = [room.follow(&filter, None), room.follow(&filter, None)];
        put(&room, 1, ("a", "p"), "", 1);
        let [first, mut second] = followers;
        drop(first);
        assert_eq!(told(&mut second, 0), (true, Ok(vec![1])));
        drop(second);
        assert_eq!((room.parts(), room.watchers()), (0, 0));
    }
}
