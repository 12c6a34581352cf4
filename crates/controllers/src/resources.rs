//! What kinds of objects the cluster has, by discovery, and the metadata of all of them in one feed.
//!
//! Garbage collection and namespace deletion concern objects of every kind. One watch of each kind's metadata serves
//! both; the bodies are never read.

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
use tokio::sync::watch;

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

/// The metadata of all objects, of every kind.
pub(crate) struct Feed {
    handlers: Mutex<Vec<Handler>>,
    synced: watch::Sender<usize>,
}

impl Feed {
    /// A feed that nobody listens to yet; [`Feed::start`] begins it.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { handlers: Mutex::default(), synced: watch::Sender::new(0) })
    }

    /// Has `handler` called for every change from now on. Before [`Feed::start`], so that it misses nothing.
    pub(crate) fn on_news(&self, handler: impl Fn(&Resource, &News<'_>) + Send + Sync + 'static) {
        self.handlers.lock().push(Box::new(handler));
    }

    /// Watches all of `resources` with `client`, and returns once each has been read for the first time.
    pub(crate) async fn start(self: &Arc<Self>, client: &Client, resources: &[Resource], tasks: &Tasks) {
        for resource in resources {
            let api = Api::<Meta>::all_with(client.clone(), &resource.api);
            tasks.spawn(Arc::clone(self).follow(api, resource.clone()));
        }
        let mut synced = self.synced.subscribe();
        let _ = synced.wait_for(|count| *count >= resources.len()).await;
    }

    async fn follow(self: Arc<Self>, api: Api<Meta>, resource: Resource) {
        let config = watcher::Config::default();
        let mut events = std::pin::pin!(watcher::watcher(api, config).default_backoff());
        let mut known: std::collections::HashMap<Key, ObjectMeta> = std::collections::HashMap::new();
        let mut fresh = known.clone();
        let mut synced = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => fresh.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    let meta = self.applied(&resource, object);
                    fresh.insert(key(&meta), meta);
                }
                Ok(watcher::Event::InitDone) => {
                    for (key, meta) in std::mem::replace(&mut known, std::mem::take(&mut fresh)) {
                        if known.get(&key).is_none_or(|now| now.uid != meta.uid) {
                            self.tell(&resource, &News::Deleted(&meta));
                        }
                    }
                    if !std::mem::replace(&mut synced, true) {
                        self.synced.send_modify(|count| *count += 1);
                    }
                }
                Ok(watcher::Event::Apply(object)) => {
                    let meta = self.applied(&resource, object);
                    known.insert(key(&meta), meta);
                }
                Ok(watcher::Event::Delete(object)) => {
                    known.remove(&key(&object.metadata));
                    self.tell(&resource, &News::Deleted(&object.metadata));
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
