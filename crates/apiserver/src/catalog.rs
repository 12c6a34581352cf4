//! The kinds that are served now: the built-in ones, and the custom ones that come and go.
//!
//! Everyone who asks gets the state as one [`Served`], which never changes; what is derived from it (discovery, OpenAPI)
//! is made when someone wants it and kept until the state is another one, see [`Derived`].

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use sampan_api::kind::{Kind, KindRef};
use tokio::sync::watch;

/// The kinds that are served, at one moment.
pub(crate) struct Served {
    /// All of them: first the built-in ones, then the custom ones by group, preferred versions first.
    pub(crate) kinds: Vec<KindRef>,
    by_path: HashMap<[&'static str; 3], usize>,
}

impl Served {
    fn new(kinds: Vec<KindRef>) -> Self {
        let mut by_path = HashMap::new();
        for (index, kind) in kinds.iter().enumerate() {
            by_path.entry([kind.group, kind.version, kind.plural]).or_insert(index);
        }
        Self { kinds, by_path }
    }

    /// The kind that the API serves under these names.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&KindRef> {
        self.by_path.get(&[group, version, plural]).map(|index| &self.kinds[*index])
    }
}

/// The kinds that are served.
pub(crate) struct Catalog {
    built_in: &'static [&'static Kind],
    served: RwLock<Arc<Served>>,
    changed: watch::Sender<()>,
}

impl Catalog {
    /// A catalog of these and no custom kinds.
    pub(crate) fn new(built_in: &'static [&'static Kind]) -> Self {
        Self {
            built_in,
            served: RwLock::new(Arc::new(Served::new(built_in.iter().map(|kind| (*kind).into()).collect()))),
            changed: watch::Sender::new(()),
        }
    }

    /// Tells of every change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The state now.
    pub(crate) fn served(&self) -> Arc<Served> {
        Arc::clone(&self.served.read())
    }

    /// The kind that the API serves now under these names.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<KindRef> {
        self.served.read().find(group, version, plural).cloned()
    }

    /// Serves these custom kinds from now on, and no others.
    pub(crate) fn set_custom(&self, custom: Vec<KindRef>) {
        let built_in = self.built_in.iter().map(|kind| KindRef::from(*kind));
        let served = Arc::new(Served::new(built_in.chain(custom).collect()));
        *self.served.write() = served;
        self.changed.send_replace(());
    }
}

/// Something that follows from the served kinds, made on demand.
pub(crate) struct Derived<T> {
    made: Mutex<Option<(Arc<Served>, Arc<T>)>>,
}

impl<T> Default for Derived<T> {
    fn default() -> Self {
        Self { made: Mutex::new(None) }
    }
}

impl<T> Derived<T> {
    /// What follows from `served`; `make` is asked if that is not at hand.
    pub(crate) fn of(&self, served: &Arc<Served>, make: impl FnOnce(&Served) -> T) -> Arc<T> {
        let mut made = self.made.lock();
        if let Some((from, value)) = made.as_ref()
            && Arc::ptr_eq(from, served)
        {
            return Arc::clone(value);
        }
        let value = Arc::new(make(served));
        *made = Some((Arc::clone(served), Arc::clone(&value)));
        value
    }
}
