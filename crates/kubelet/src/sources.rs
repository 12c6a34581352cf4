//! The ConfigMaps and Secrets that this node's Pods use: each watched by itself, for as long as a Pod uses it, which is
//! all that a node may read of them. A change tells the Pods that use it.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ClusterTrustBundleProjection, ConfigMap, Container, Pod, Secret, Volume};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use sampan_client::{Informer, Key, Tasks};
use serde::de::DeserializeOwned;

use crate::config::env::Objects;
use crate::trust_bundles::{self, TrustBundles};
use crate::{Error, spec};

/// How long a first read may take before a Pod's step fails and is tried again.
const FIRST_READ: Duration = Duration::from_secs(20);

/// The names of the objects that a Pod uses, in its namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    pub(crate) config_maps: BTreeSet<String>,
    pub(crate) secrets: BTreeSet<String>,
}

impl References {
    /// What `pod` uses in environments, volumes and to pull images.
    pub(crate) fn of(pod: &Pod) -> Self {
        let mut all = Self::default();
        let ephemeral: Vec<Container> = spec::ephemeral(pod).collect();
        for container in spec::containers(pod).map(|(_, container)| container).chain(&ephemeral) {
            for from in container.env_from.iter().flatten() {
                all.config_maps.extend(from.config_map_ref.as_ref().map(|reference| reference.name.clone()));
                all.secrets.extend(from.secret_ref.as_ref().map(|reference| reference.name.clone()));
            }
            for from in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
                all.config_maps.extend(from.config_map_key_ref.as_ref().map(|selector| selector.name.clone()));
                all.secrets.extend(from.secret_key_ref.as_ref().map(|selector| selector.name.clone()));
            }
        }
        for volume in spec::of(pod).volumes.iter().flatten() {
            all.of_volume(volume);
        }
        let pull = spec::of(pod).image_pull_secrets.iter().flatten();
        all.secrets.extend(pull.map(|reference| reference.name.clone()).filter(|name| !name.is_empty()));
        all
    }

    fn of_volume(&mut self, volume: &Volume) {
        self.config_maps.extend(volume.config_map.as_ref().map(|source| source.name.clone()));
        self.secrets.extend(volume.secret.as_ref().and_then(|source| source.secret_name.clone()));
        let projections = volume.projected.as_ref().and_then(|projected| projected.sources.as_ref());
        for projection in projections.into_iter().flatten() {
            self.config_maps.extend(projection.config_map.as_ref().map(|source| source.name.clone()));
            self.secrets.extend(projection.secret.as_ref().map(|source| source.name.clone()));
        }
    }
}

/// Called when an object has changed.
pub(crate) type OnChange = Arc<dyn Fn() + Send + Sync>;

/// All watched objects.
pub(crate) struct Sources {
    config_maps: Watched<ConfigMap>,
    secrets: Watched<Secret>,
    trust_bundles: TrustBundles,
}

impl Sources {
    /// Nothing is watched yet.
    pub(crate) fn new(client: &Client, tasks: &Tasks) -> Arc<Self> {
        Arc::new(Self {
            config_maps: Watched::new(client, tasks),
            secrets: Watched::new(client, tasks),
            trust_bundles: TrustBundles::new(client, tasks),
        })
    }

    /// Watches what `pod` uses until the hold is dropped.
    pub(crate) fn hold(self: &Arc<Self>, pod: &Pod, on_change: &OnChange) -> Hold {
        let hold = Hold {
            sources: Arc::clone(self),
            references: Mutex::default(),
            namespace: spec::namespace(pod).to_owned(),
            uid: spec::uid(pod).to_owned(),
            on_change: Arc::clone(on_change),
        };
        hold.follow(pod);
        if trust_bundles::used_by(pod) {
            self.trust_bundles.hold(&hold.uid, on_change);
        }
        hold
    }

    /// Ends all watches.
    pub(crate) async fn shutdown(&self) {
        self.config_maps.shutdown().await;
        self.secrets.shutdown().await;
    }
}

/// A Pod's claim on what it uses; gives the objects.
pub(crate) struct Hold {
    sources: Arc<Sources>,
    references: Mutex<References>,
    namespace: String,
    uid: String,
    on_change: OnChange,
}

impl Hold {
    /// Watches what the Pod, which has changed, uses beside what it used before: ephemeral containers come later.
    pub(crate) fn follow(&self, pod: &Pod) {
        let wanted = References::of(pod);
        let mut held = self.references.lock();
        for name in wanted.config_maps.difference(&held.config_maps) {
            self.sources.config_maps.hold(&Key::new(&self.namespace, name), &self.uid, &self.on_change);
        }
        for name in wanted.secrets.difference(&held.secrets) {
            self.sources.secrets.hold(&Key::new(&self.namespace, name), &self.uid, &self.on_change);
        }
        held.config_maps.extend(wanted.config_maps);
        held.secrets.extend(wanted.secrets);
    }

    /// Waits until every object has been looked for once.
    pub(crate) async fn synced(&self) -> Result<(), Error> {
        let references = self.references.lock().clone();
        let read = async {
            for name in &references.config_maps {
                self.sources.config_maps.synced(&Key::new(&self.namespace, name)).await;
            }
            for name in &references.secrets {
                self.sources.secrets.synced(&Key::new(&self.namespace, name)).await;
            }
            self.sources.trust_bundles.synced().await;
        };
        let timeout =
            |_| Error::Missing("failed to sync the Pod's ConfigMaps and Secrets: timed out waiting".to_owned());
        tokio::time::timeout(FIRST_READ, read).await.map_err(timeout)
    }
}

impl Objects for Hold {
    fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>> {
        self.sources.config_maps.get(&Key::new(&self.namespace, name))
    }

    fn secret(&self, name: &str) -> Option<Arc<Secret>> {
        self.sources.secrets.get(&Key::new(&self.namespace, name))
    }

    fn trust_bundle(&self, projection: &ClusterTrustBundleProjection) -> Result<String, Error> {
        self.sources.trust_bundles.choose(projection)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.sources.trust_bundles.release(&self.uid);
        let references = self.references.lock();
        for name in &references.config_maps {
            self.sources.config_maps.release(&Key::new(&self.namespace, name), &self.uid);
        }
        for name in &references.secrets {
            self.sources.secrets.release(&Key::new(&self.namespace, name), &self.uid);
        }
    }
}

/// The watched objects of one kind.
struct Watched<K> {
    client: Client,
    tasks: Tasks,
    entries: Mutex<HashMap<Key, Entry<K>>>,
}

struct Entry<K> {
    informer: Informer<K>,
    tasks: Tasks,
    holders: Holders,
}

/// Who wants to know of changes, by Pod uid.
type Holders = Arc<Mutex<HashMap<String, OnChange>>>;

impl<K> Watched<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    fn new(client: &Client, tasks: &Tasks) -> Self {
        Self { client: client.clone(), tasks: tasks.clone(), entries: Mutex::default() }
    }

    fn hold(&self, key: &Key, uid: &str, on_change: &OnChange) {
        let mut entries = self.entries.lock();
        let entry = entries.entry(key.clone()).or_insert_with(|| self.watch(key));
        entry.holders.lock().insert(uid.to_owned(), Arc::clone(on_change));
    }

    fn watch(&self, key: &Key) -> Entry<K> {
        let tasks = Tasks::new();
        let api = Api::namespaced(self.client.clone(), &key.namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", key.name));
        let informer = Informer::start(api, config, &tasks);
        let holders = Holders::default();
        let told = Arc::clone(&holders);
        informer.on_change(move |_| {
            let holders: Vec<OnChange> = told.lock().values().cloned().collect();
            holders.iter().for_each(|on_change| on_change());
        });
        Entry { informer, tasks, holders }
    }

    fn release(&self, key: &Key, uid: &str) {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get(key) else { return };
        entry.holders.lock().remove(uid);
        let unused = entry.holders.lock().is_empty();
        if unused && let Some(entry) = entries.remove(key) {
            self.tasks.spawn_to_the_end(async move { entry.tasks.shutdown().await });
        }
    }

    fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.entries.lock().get(key)?.informer.get(key)
    }

    async fn synced(&self, key: &Key) {
        let informer = self.entries.lock().get(key).map(|entry| entry.informer.clone());
        if let Some(informer) = informer {
            informer.synced().await;
        }
    }

    async fn shutdown(&self) {
        let entries = std::mem::take(&mut *self.entries.lock());
        for entry in entries.into_values() {
            entry.tasks.shutdown().await;
        }
    }
}
