//! What kinds of objects the cluster has, by discovery, and the metadata of all of them in one feed.
//!
//! Garbage collection and namespace deletion concern objects of every kind. One watch of each kind's metadata serves
//! both; the bodies are never read. Kinds that are defined later are added as [`crate::definitions`] learns of them.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::discovery::{Discovery, Scope, verbs};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use parking_lot::Mutex;
use sampan_client::{Key, Tasks};
use tokio::sync::{oneshot, watch};

use crate::Error;

/// An object of any kind without its body.
pub(crate) type Meta = PartialObjectMeta<DynamicObject>;

/// A kind of objects that can be listed, watched and deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resource {
    pub(crate) api: ApiResource,
    pub(crate) namespaced: bool,
}

impl Resource {
    /// `crontabs.stable.example.com`; also the name of its definition, if it is a custom one.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.api.plural, self.api.group)
    }

    /// The API of the object of `key`.
    pub(crate) fn api(&self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        if self.namespaced {
            Api::namespaced_with(client.clone(), namespace, &self.api)
        } else {
            Api::all_with(client.clone(), &self.api)
        }
    }
}

/// All kinds of the cluster that can be listed, watched and deleted. Kinds that only view others' objects are left out.
pub(crate) async fn discover(client: &Client) -> Result<Vec<Resource>, Error> {
    let found = Discovery::new(client.clone()).run_aggregated().await.map_err(Error::api("discovering the kinds"))?;
    let groups = found.groups();
    let all = groups.flat_map(|group| group.recommended_resources());
    let whole = all.filter(|(_, capabilities)| {
        [verbs::LIST, verbs::WATCH, verbs::DELETE].iter().all(|verb| capabilities.supports_operation(verb))
    });
    let resource = |(api, capabilities): (ApiResource, kube::discovery::ApiCapabilities)| Resource {
        api,
        namespaced: capabilities.scope == Scope::Namespaced,
    };
    let is_view = |resource: &Resource| resource.api.group == "events.k8s.io";
    Ok(whole.map(resource).filter(|resource| !is_view(resource)).collect())
}

/// What happened to an object of some kind.
pub(crate) enum News<'a> {
    /// It is there, new or different.
    Applied(&'a ObjectMeta),
    /// It is gone.
    Deleted(&'a ObjectMeta),
}

type Handler = Box<dyn Fn(&Resource, &News<'_>) + Send + Sync>;

/// The kinds that there are now, by name. Cloning shares them.
#[derive(Clone, Default)]
pub(crate) struct Kinds(Arc<Mutex<HashMap<String, Known>>>);

struct Known {
    resource: Resource,
    /// Ends the watch: told, its objects are gone; dropped, another watch takes over.
    end: Option<oneshot::Sender<()>>,
}

impl Kinds {
    /// The kind of this name.
    pub(crate) fn get(&self, name: &str) -> Option<Resource> {
        self.0.lock().get(name).map(|known| known.resource.clone())
    }

    /// A kind that `fits`.
    pub(crate) fn find(&self, fits: impl Fn(&Resource) -> bool) -> Option<Resource> {
        self.0.lock().values().map(|known| &known.resource).find(|resource| fits(resource)).cloned()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Resource> {
        self.0.lock().values().map(|known| known.resource.clone()).collect()
    }
}

/// The metadata of all objects, of every kind.
pub(crate) struct Feed {
    handlers: Mutex<Vec<Handler>>,
    kinds: Kinds,
    synced: watch::Sender<usize>,
}

impl Feed {
    /// A feed that nobody listens to yet; [`Feed::start`] begins it.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { handlers: Mutex::default(), kinds: Kinds::default(), synced: watch::Sender::new(0) })
    }

    /// Has `handler` called for every change from now on. Before [`Feed::start`], so that it misses nothing.
    pub(crate) fn on_news(&self, handler: impl Fn(&Resource, &News<'_>) + Send + Sync + 'static) {
        self.handlers.lock().push(Box::new(handler));
    }

    /// The kinds that it is about.
    pub(crate) fn kinds(&self) -> Kinds {
        self.kinds.clone()
    }

    /// Makes the kinds known that it begins with.
    pub(crate) fn know(&self, resources: Vec<Resource>) {
        let known = resources.into_iter().map(|resource| (resource.name(), Known { resource, end: None }));
        self.kinds.0.lock().extend(known);
    }

    /// Watches all known kinds with `client`, and returns once each has been read for the first time.
    pub(crate) async fn start(self: &Arc<Self>, client: &Client, tasks: &Tasks) {
        let resources = self.kinds.all();
        let count = resources.len();
        resources.into_iter().for_each(|resource| self.add(client, resource, tasks));
        let mut synced = self.synced.subscribe();
        let _ = synced.wait_for(|synced| *synced >= count).await;
    }

    /// Watches one more kind, or this version of it instead of the one that was watched.
    pub(crate) fn add(self: &Arc<Self>, client: &Client, resource: Resource, tasks: &Tasks) {
        let (end, ended) = oneshot::channel();
        let known = Known { resource: resource.clone(), end: Some(end) };
        self.kinds.0.lock().insert(resource.name(), known);
        let api = Api::<Meta>::all_with(client.clone(), &resource.api);
        let feed = Arc::clone(self);
        tasks.spawn(async move {
            let mut known: HashMap<Key, ObjectMeta> = HashMap::new();
            tokio::select! {
                () = feed.follow(api, &resource, &mut known) => {}
                gone = ended => {
                    if gone.is_ok() {
                        known.values().for_each(|meta| feed.tell(&resource, &News::Deleted(meta)));
                    }
                }
            }
        });
    }

    /// Forgets a kind that is not there any more, with all its objects.
    pub(crate) fn remove(&self, name: &str) {
        let known = self.kinds.0.lock().remove(name);
        if let Some(end) = known.and_then(|known| known.end) {
            // Nobody is told when the watch has ended with its tasks.
            let _ = end.send(());
        }
    }

    async fn follow(&self, api: Api<Meta>, resource: &Resource, known: &mut HashMap<Key, ObjectMeta>) {
        let config = watcher::Config::default();
        let mut events = std::pin::pin!(watcher::watcher(api, config).default_backoff());
        let mut fresh: HashMap<Key, ObjectMeta> = HashMap::new();
        let mut synced = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => fresh.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    let meta = self.applied(resource, object);
                    fresh.insert(key(&meta), meta);
                }
                Ok(watcher::Event::InitDone) => {
                    for (key, meta) in std::mem::replace(known, std::mem::take(&mut fresh)) {
                        if known.get(&key).is_none_or(|now| now.uid != meta.uid) {
                            self.tell(resource, &News::Deleted(&meta));
                        }
                    }
                    if !std::mem::replace(&mut synced, true) {
                        self.synced.send_modify(|count| *count += 1);
                    }
                }
                Ok(watcher::Event::Apply(object)) => {
                    let meta = self.applied(resource, object);
                    known.insert(key(&meta), meta);
                }
                Ok(watcher::Event::Delete(object)) => {
                    known.remove(&key(&object.metadata));
                    self.tell(resource, &News::Deleted(&object.metadata));
                }
                Err(error) => tracing::debug!(kind = resource.api.kind, %error, "watch interrupted"),
            }
        }
    }

    fn applied(&self, resource: &Resource, object: Meta) -> ObjectMeta {
        let meta = lean(object.metadata);
        self.tell(resource, &News::Applied(&meta));
        meta
    }

    fn tell(&self, resource: &Resource, news: &News<'_>) {
        for handler in self.handlers.lock().iter() {
            handler(resource, news);
        }
    }
}

/// The key of the object of `meta`.
pub(crate) fn key(meta: &ObjectMeta) -> Key {
    Key::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

/// What this crate reads of an object's metadata; there is one for every object of the cluster.
fn lean(meta: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        owner_references: meta.owner_references,
        finalizers: meta.finalizers,
        deletion_timestamp: meta.deletion_timestamp,
        ..ObjectMeta::default()
    }
}
