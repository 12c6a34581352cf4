//! Objects that webhooks have converted, kept for whoever wants the same next: a list is asked for again, and an event
//! goes to many watchers, but the webhook is asked once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sampan_api::custom::Custom;
use tokio::sync::MutexGuard;

use super::turns::Turns;
use crate::cache::Object;

/// No more than this is kept; beyond that all is forgotten and asked for anew.
const MAX_BYTES: usize = 32 << 20;
/// What an object takes beside its JSON, about.
const OVERHEAD: usize = 512;
/// How long another's conversion is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// The converted objects.
#[derive(Default)]
pub(super) struct Conversions {
    kept: Mutex<Kept>,
    turns: Turns,
}

#[derive(Default)]
struct Kept {
    objects: HashMap<Key, Made>,
    bytes: usize,
}

/// One object in the form of a kind.
struct Made {
    kind: Arc<Custom>,
    newest: Arc<Object>,
    /// As it was before its last write: who watches a selection asks for both.
    before: Option<Arc<Object>>,
}

impl Made {
    fn bytes(&self) -> usize {
        taken(&self.newest) + self.before.as_ref().map_or(0, taken)
    }

    /// Keeps the newest two.
    fn put(&mut self, made: &Arc<Object>) {
        let oldest = self.before.as_ref().map_or(0, |before| before.revision);
        if made.revision > self.newest.revision {
            self.before = Some(std::mem::replace(&mut self.newest, Arc::clone(made)));
        } else if made.revision > oldest && made.revision < self.newest.revision {
            self.before = Some(Arc::clone(made));
        }
    }
}

/// The kind that is served, by group, version and plural; the object's namespace and name.
type Key = ([&'static str; 3], Box<str>, Box<str>);

impl Conversions {
    /// The object in the form of `kind`, if it has been converted since that write.
    pub(super) fn get(&self, kind: &Arc<Custom>, object: &Object) -> Option<Arc<Object>> {
        let kept = self.kept.lock();
        let made = kept.objects.get(&key(kind, object)).filter(|made| Arc::ptr_eq(&made.kind, kind))?;
        let both = [Some(&made.newest), made.before.as_ref()];
        both.into_iter().flatten().find(|made| made.revision == object.revision).map(Arc::clone)
    }

    /// Keeps an object in the form of `kind`.
    pub(super) fn put(&self, kind: &Arc<Custom>, made: &Arc<Object>) {
        let mut kept = self.kept.lock();
        if kept.bytes + taken(made) > MAX_BYTES {
            *kept = Kept::default();
        }
        let key = key(kind, made);
        let mut all = kept.objects.remove(&key);
        kept.bytes -= all.as_ref().map_or(0, Made::bytes);
        match all.as_mut().filter(|all| Arc::ptr_eq(&all.kind, kind)) {
            Some(all) => all.put(made),
            None => all = Some(Made { kind: Arc::clone(kind), newest: Arc::clone(made), before: None }),
        }
        if let Some(all) = all {
            kept.bytes += all.bytes();
            kept.objects.insert(key, all);
        }
    }

    /// Waits for the turn to have the object converted; it lasts as long as the guard. Who comes second finds it made, or
    /// asks without a turn when that takes long: behind a webhook that hangs nobody queues.
    pub(super) async fn turn(&self, kind: &Custom, object: &Object) -> Option<MutexGuard<'_, ()>> {
        let turn = self.turns.of((path(kind), &object.namespace, &object.name, object.revision));
        tokio::time::timeout(PATIENCE, turn).await.ok()
    }
}

fn taken(object: &Arc<Object>) -> usize {
    object.size() as usize + OVERHEAD
}

fn path(kind: &Custom) -> [&'static str; 3] {
    let names = kind.names();
    [names.group, names.version, names.plural]
}

fn key(kind: &Custom, object: &Object) -> Key {
    (path(kind), object.namespace.clone(), object.name.clone())
}
