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
    objects: HashMap<Key, (Arc<Custom>, Arc<Object>)>,
    bytes: usize,
}

/// The kind that is served, by group, version and plural; the object's namespace and name.
type Key = ([&'static str; 3], Box<str>, Box<str>);

impl Conversions {
    /// The object in the form of `kind`, if it has been converted since its last write.
    pub(super) fn get(&self, kind: &Arc<Custom>, object: &Object) -> Option<Arc<Object>> {
        let kept = self.kept.lock();
        let (of, made) = kept.objects.get(&key(kind, object))?;
        (Arc::ptr_eq(of, kind) && made.revision == object.revision).then(|| Arc::clone(made))
    }

    /// Keeps an object in the form of `kind`.
    pub(super) fn put(&self, kind: &Arc<Custom>, made: &Arc<Object>) {
        let (mut kept, size) = (self.kept.lock(), taken(made));
        if kept.bytes + size > MAX_BYTES {
            *kept = Kept::default();
        }
        kept.bytes += size;
        let before = kept.objects.insert(key(kind, made), (Arc::clone(kind), Arc::clone(made)));
        kept.bytes -= before.map_or(0, |(_, object)| taken(&object));
    }

    /// Waits for the turn to have the object converted; it lasts as long as the guard. Who comes second finds it made, or
    /// asks without a turn when that takes long: behind a webhook that hangs nobody queues.
    pub(super) async fn turn(&self, kind: &Custom, object: &Object) -> Option<MutexGuard<'_, ()>> {
        let turn = self.turns.of((path(kind), &object.namespace, &object.name, object.revision));
        tokio::time::timeout(PATIENCE, turn).await.ok()
    }
}

fn taken(object: &Object) -> usize {
    object.size() as usize + OVERHEAD
}

fn path(kind: &Custom) -> [&'static str; 3] {
    let names = kind.names();
    [names.group, names.version, names.plural]
}

fn key(kind: &Custom, object: &Object) -> Key {
    (path(kind), object.namespace.clone(), object.name.clone())
}
