//! A collection of objects as the API server has it, decoded once and kept up to date by one watch.
//!
//! Handlers are called in the informer's own task, in order, one change at a time; they must be quick: the usual one
//! puts a key in a [`crate::WorkQueue`].

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::Tasks;

/// A failed list or watch is tried again after this long, twice as long each time, up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// No retry waits longer than this.
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// An object's place in a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace; empty for objects of the whole cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The key of `namespace` and `name`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The key of `object`.
    pub fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self { namespace: meta.namespace.clone().unwrap_or_default(), name: meta.name.clone().unwrap_or_default() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// What happened to an object.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// It is there, new or different.
    Applied {
        /// What it was before, if it was known.
        old: Option<Arc<K>>,
        /// What it is now.
        new: Arc<K>,
    },
    /// It is gone; this is the last that was seen of it.
    Deleted(Arc<K>),
}

impl<K> Change<K> {
    /// The object, as it is or was last.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Applied { new, .. } => new,
            Self::Deleted(last) => last,
        }
    }
}

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// A watched collection; clones share it.
pub struct Informer<K>(Arc<Shared<K>>);

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<K> {
    objects: RwLock<HashMap<Key, Arc<K>>>,
    /// Held while a change is applied and told, so that a new handler sees every object exactly once.
    handlers: Mutex<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
}

impl<K> Informer<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Starts to watch what `api` and `config` select, for as long as `tasks` run.
    pub fn start(api: Api<K>, config: watcher::Config, tasks: &Tasks) -> Self {
        let shared = Arc::new(Shared {
            objects: RwLock::new(HashMap::new()),
            handlers: Mutex::new(Vec::new()),
            synced: watch::Sender::new(false),
        });
        tasks.spawn(run(api, config, Arc::clone(&shared)));
        Self(shared)
    }

    /// The object of that key.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.0.objects.read().get(key).cloned()
    }

    /// All objects, in no order.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.0.objects.read().values().cloned().collect()
    }

    /// Has `handler` called for every object there is and for every change from now on.
    pub fn on_change(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        let mut handlers = self.0.handlers.lock();
        for object in self.list() {
            handler(&Change::Applied { old: None, new: object });
        }
        handlers.push(Box::new(handler));
    }

    /// Returns once the collection has been read for the first time.
    pub async fn synced(&self) {
        let mut synced = self.0.synced.subscribe();
        let _ = synced.wait_for(|synced| *synced).await;
    }
}

async fn run<K>(api: Api<K>, config: watcher::Config, shared: Arc<Shared<K>>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let mut events = std::pin::pin!(watcher::watcher(api, config));
    let mut fresh: HashMap<Key, Arc<K>> = HashMap::new();
    let mut wait = FIRST_RETRY;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                wait = FIRST_RETRY;
                shared.take(event, &mut fresh);
            }
            Err(error) => {
                let kind = std::any::type_name::<K>().rsplit("::").next().unwrap_or_default();
                tracing::debug!(kind, %error, "watch interrupted");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_RETRY);
            }
        }
    }
}

impl<K: Resource> Shared<K> {
    fn take(&self, event: watcher::Event<K>, fresh: &mut HashMap<Key, Arc<K>>) {
        match event {
            watcher::Event::Init => fresh.clear(),
            watcher::Event::InitApply(object) => {
                let object = lean(object);
                fresh.insert(Key::of(&object), Arc::new(object));
            }
            watcher::Event::InitDone => {
                self.replace(std::mem::take(fresh));
                self.synced.send_replace(true);
            }
            watcher::Event::Apply(object) => self.apply(Arc::new(lean(object))),
            watcher::Event::Delete(object) => self.delete(Arc::new(lean(object))),
        }
    }

    fn apply(&self, new: Arc<K>) {
        let handlers = self.handlers.lock();
        let old = self.objects.write().insert(Key::of(&*new), Arc::clone(&new));
        tell(&handlers, &Change::Applied { old, new });
    }

    fn delete(&self, last: Arc<K>) {
        let handlers = self.handlers.lock();
        self.objects.write().remove(&Key::of(&*last));
        tell(&handlers, &Change::Deleted(last));
    }

    /// After a gap: whatever differs from what was known is told as a change.
    fn replace(&self, fresh: HashMap<Key, Arc<K>>) {
        let handlers = self.handlers.lock();
        let old = std::mem::replace(&mut *self.objects.write(), fresh.clone());
        for (key, last) in &old {
            if !fresh.contains_key(key) {
                tell(&handlers, &Change::Deleted(Arc::clone(last)));
            }
        }
        // Who was there first is told of first: of those that want the same it has it.
        let mut fresh: Vec<_> = fresh.into_iter().collect();
        fresh.sort_by_cached_key(|(_, new)| new.meta().creation_timestamp.as_ref().map(|created| created.0));
        for (key, new) in fresh {
            let old = old.get(&key).cloned();
            if old.as_ref().is_none_or(|old| old.meta().resource_version != new.meta().resource_version) {
                tell(&handlers, &Change::Applied { old, new });
            }
        }
    }
}

fn tell<K>(handlers: &[Handler<K>], change: &Change<K>) {
    for handler in handlers {
        handler(change);
    }
}

/// Drops what no component reads. An update without managedFields leaves the server's as they are.
fn lean<K: Resource>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}

/// The informers that components with one identity share: one watch and one decoded copy for each kind.
#[derive(Clone)]
pub struct Informers {
    client: Client,
    tasks: Tasks,
    started: Arc<Mutex<HashMap<TypeId, Box<dyn Any + Send + Sync>>>>,
}

impl Informers {
    /// No informers yet; they will use `client` and run in `tasks`.
    pub fn new(client: Client, tasks: &Tasks) -> Self {
        Self { client, tasks: tasks.clone(), started: Arc::default() }
    }

    /// The informer of all objects of the kind `K`; started at the first call.
    pub fn all<K>(&self) -> Informer<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let mut started = self.started.lock();
        let informer = started.entry(TypeId::of::<K>()).or_insert_with(|| {
            Box::new(Informer::<K>::start(Api::all(self.client.clone()), watcher::Config::default(), &self.tasks))
        });
        informer.downcast_ref::<Informer<K>>().expect("invariant: an informer stands under its own type").clone()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::serde_json::{from_value, json};

    use super::*;

    #[test]
    fn after_a_gap_what_is_older_is_told_first() {
        let shared =
            Shared { objects: RwLock::default(), handlers: Mutex::default(), synced: watch::Sender::new(false) };
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let tells = Arc::clone(&told);
        shared.handlers.lock().push(Box::new(move |change: &Change<ConfigMap>| {
            tells.lock().push(change.object().metadata.name.clone().unwrap_or_default());
        }));
        let object = |name: &str, second: i32| -> Arc<ConfigMap> {
            let created = format!("2026-01-01T00:00:{second:02}Z");
            Arc::new(from_value(json!({"metadata": {"name": name, "creationTimestamp": created}})).expect("an object"))
        };
        shared.apply(object("gone", 1));
        let fresh = (0..20).map(|second| object(&format!("object-{second}"), second));
        shared.replace(fresh.map(|object| (Key::of(&*object), object)).collect());
        let want = ["gone", "gone"].map(str::to_owned).into_iter().chain((0..20).map(|n| format!("object-{n}")));
        assert_eq!(*told.lock(), want.collect::<Vec<_>>());
    }
}
