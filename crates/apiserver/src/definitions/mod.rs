//! CustomResourceDefinitions at work: names are accepted, kinds are served, and what was deleted is cleaned up.
//!
//! [`Definitions::settle`] goes through all definitions whenever one of them changes. A kind is served before its
//! definition says that it is established, so that whoever waits for that finds it.

mod closing;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sampan_api::custom::{self, Custom, accept};
use sampan_api::kind::KindRef;
use sampan_api::kinds::CUSTOM_RESOURCE_DEFINITION;
use sampan_api::status::Status;
use serde_json::Value;
use tokio::task::{self, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::cache::{Filter, Room};
use crate::registry::{Attempt, Registry, metadata};

/// How long to wait before something that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The definitions of a server.
pub(crate) struct Definitions {
    registry: Arc<Registry>,
    room: Arc<Room>,
    /// What is served, by the definition's name.
    serving: BTreeMap<String, Serving>,
    /// Whether the catalog does not show all of that yet.
    changed: bool,
    /// Definitions whose instances are being deleted, by who does that.
    closing: HashMap<task::Id, String>,
}

/// The kinds of one definition.
struct Serving {
    mark: String,
    storage: &'static str,
    kinds: Vec<KindRef>,
    stored: KindRef,
}

impl Definitions {
    /// Serves the kinds of all definitions that are stored.
    pub(crate) async fn load(registry: Arc<Registry>) -> Result<Self, Status> {
        let room = registry.cache.room(&CUSTOM_RESOURCE_DEFINITION)?;
        let mut definitions =
            Self { registry, room, serving: BTreeMap::new(), changed: false, closing: HashMap::new() };
        if let Err(error) = definitions.settle().await {
            tracing::warn!(%error, "some custom resource definitions are not served yet");
        }
        Ok(definitions)
    }

    /// Keeps up with the definitions until `stop`.
    pub(crate) async fn follow(mut self, stop: CancellationToken) {
        let mut changes = self.room.subscribe();
        let mut tasks = JoinSet::new();
        while !stop.is_cancelled() {
            changes.mark_unchanged();
            let settled = self.settle().await;
            self.close_deleted(&mut tasks, &stop);
            let retry = async {
                match settled {
                    Ok(()) => std::future::pending().await,
                    Err(error) => {
                        tracing::warn!(%error, "custom resource definitions could not be settled yet");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                _ = changes.changed() => {}
                () = retry => {}
                Some(ended) = tasks.join_next_with_id() => self.closed(&ended),
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Brings statuses, rooms and the catalog in line with the definitions as they are.
    async fn settle(&mut self) -> Result<(), Status> {
        let (objects, _) = self.room.snapshot(&Filter::default());
        let stored: Vec<Value> = objects.iter().map(|object| object.value()).collect();
        let wanted = with_status(&stored, &metadata::time(sampan_clock::now()));
        let failed = self.serve(&wanted).await;
        for (before, after) in stored.iter().zip(&wanted).filter(|(before, after)| before != after) {
            let name = metadata::text(before, "name");
            if failed.contains_key(name) {
                continue; // It is not served as its status would say.
            }
            match self.registry.update(&attempt(name, "status"), after.clone()).await {
                // Someone else was quicker: their change comes by here.
                Err(status) if !matches!(status.reason.as_str(), "Conflict" | "NotFound") => return Err(status),
                _ => {}
            }
        }
        failed.into_values().next().map_or(Ok(()), Err)
    }

    /// Serves all that can be; those that cannot, by name, do not hold up the others.
    async fn serve(&mut self, definitions: &[Value]) -> BTreeMap<String, Status> {
        let mut failed = BTreeMap::new();
        let mut gone: HashSet<String> = self.serving.keys().cloned().collect();
        for definition in definitions {
            let name = metadata::text(definition, "name");
            match self.serve_one(name, definition).await {
                Ok(false) => {}
                Ok(true) => drop(gone.remove(name)),
                Err(why) => {
                    gone.remove(name);
                    failed.insert(name.to_owned(), why);
                }
            }
        }
        for name in gone {
            if let Some(serving) = self.serving.remove(&name) {
                self.registry.cache.close(serving.storage);
                self.changed = true;
            }
        }
        if std::mem::take(&mut self.changed) {
            self.registry.catalog.set_custom(self.catalog());
        }
        failed
    }

    /// Serves the kinds of one definition; false if it has none to serve.
    async fn serve_one(&mut self, name: &str, definition: &Value) -> Result<bool, Status> {
        let served = custom::served(definition).map_err(|error| Status::internal(&error.to_string()))?;
        let Some(served) = served else { return Ok(false) };
        if self.serving.get(name).is_none_or(|serving| serving.mark != served.stored.mark) {
            let serving = Serving::of(served);
            let opened = self.registry.cache.open(&serving.stored).await;
            opened.map_err(|error| crate::cache::unavailable(&error))?;
            self.serving.insert(name.to_owned(), serving);
            self.changed = true;
        }
        if metadata::is_deleting(definition)
            && let Some(serving) = self.serving.get(name)
        {
            serving.customs().for_each(|custom| custom.close());
        }
        Ok(true)
    }

    /// Everything that is served, by group, the preferred versions first.
    fn catalog(&self) -> Vec<KindRef> {
        let mut kinds: Vec<KindRef> = self.serving.values().flat_map(|serving| serving.kinds.iter().cloned()).collect();
        kinds.sort_by(|a, b| {
            a.group
                .cmp(b.group)
                .then_with(|| accept::by_preference(a.version, b.version))
                .then_with(|| a.plural.cmp(b.plural))
        });
        kinds
    }

    fn close_deleted(&mut self, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
        let (objects, _) = self.room.snapshot(&Filter::default());
        for definition in objects.iter().map(|object| object.value()).filter(closing::is_due) {
            let name = metadata::text(&definition, "name").to_owned();
            // Of one that was established there may be instances, which are deleted once they are served here.
            let waits = accept::is_true(&definition, "Established") && !self.serving.contains_key(&name);
            if waits || self.closing.values().any(|closing| *closing == name) {
                continue;
            }
            let stored = self.serving.get(&name).map(|serving| serving.stored.clone());
            let (registry, stop, closed) = (Arc::clone(&self.registry), stop.clone(), name.clone());
            let task = tasks.spawn(async move {
                if let Some(Err(error)) = stop.run_until_cancelled(closing::close(&registry, &name, stored)).await {
                    tracing::warn!(%error, name, "a custom resource definition could not be cleaned up yet");
                    stop.run_until_cancelled(tokio::time::sleep(RETRY)).await;
                }
            });
            self.closing.insert(task.id(), closed);
        }
    }

    /// Takes note that one who deletes instances has ended, in whatever way: what is left is taken up again.
    fn closed(&mut self, ended: &Result<(task::Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => *id,
            Err(error) => {
                tracing::error!(%error, "the clean-up of a custom resource definition broke off");
                error.id()
            }
        };
        self.closing.remove(&id);
    }
}

impl Serving {
    fn of(served: custom::Served) -> Self {
        let kind = |custom: Custom| KindRef::Custom(Arc::new(custom));
        Self {
            mark: served.stored.mark.clone(),
            storage: served.stored.names().storage,
            kinds: served.kinds.into_iter().map(kind).collect(),
            stored: kind(served.stored),
        }
    }

    fn customs(&self) -> impl Iterator<Item = &Arc<Custom>> {
        self.kinds.iter().chain([&self.stored]).filter_map(KindRef::custom)
    }
}

/// The definitions with the statuses that they should have. Names go to who has them, then to who comes first.
fn with_status(definitions: &[Value], now: &str) -> Vec<Value> {
    let mut wanted = definitions.to_vec();
    for index in 0..wanted.len() {
        let own = wanted.remove(index);
        let status = accept::status(&own, &wanted, now);
        wanted.insert(index, Value::Null);
        wanted[index] = own;
        wanted[index]["status"] = status;
    }
    wanted
}

/// The server's own write to a definition.
fn attempt(name: &str, subresource: &'static str) -> Attempt {
    Attempt { subresource, ..Attempt::internal(&CUSTOM_RESOURCE_DEFINITION, "", name) }
}
