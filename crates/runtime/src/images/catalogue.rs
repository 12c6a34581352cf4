//! Which images there are, by which names, of which layers. Pure but for being saved by its owner.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::config::Config;
use super::reference::{is_digest, normalize, repository};
use super::source::Source;

/// An image, as the rest of the runtime sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// The digest of its configuration.
    pub(crate) id: String,
    pub(crate) names: Vec<String>,
    /// `repository@digest` for every name, where a manifest came with the image.
    pub(crate) digests: Vec<String>,
    /// It came from a file: no registry has it for us, so nobody but a person removes it.
    pub(crate) pinned: bool,
    pub(crate) size_bytes: u64,
    pub(crate) config: Config,
    /// Directory names below [`super::Images::layers`], topmost first.
    pub(crate) layers: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Catalogue {
    /// By id.
    images: BTreeMap<String, Entry>,
    /// By chain id.
    layers: BTreeMap<String, Layer>,
    next_directory: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    /// With tags.
    names: Vec<String>,
    /// With digests: of manifests, or of indexes that lead to them.
    #[serde(default)]
    digests: BTreeSet<String>,
    #[serde(default)]
    pinned: bool,
    config: Config,
    /// Chain ids, lowest first.
    chain: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Layer {
    /// Its name among the layers.
    pub(super) directory: String,
    /// The size of its files.
    pub(super) size_bytes: u64,
}

impl Catalogue {
    pub(super) fn images(&self) -> Vec<Image> {
        self.images.iter().map(|(id, entry)| self.image(id, entry)).collect()
    }

    pub(super) fn find(&self, reference: &str) -> Option<Image> {
        self.images.get_key_value(self.id_of(reference)?.as_str()).map(|(id, entry)| self.image(id, entry))
    }

    fn id_of(&self, reference: &str) -> Option<String> {
        let id = if is_digest(reference) { reference.to_owned() } else { format!("sha256:{reference}") };
        if self.images.contains_key(&id) {
            return Some(id);
        }
        let name = normalize(reference).ok()?;
        let known = |entry: &Entry| entry.names.contains(&name) || entry.digests.contains(&name);
        self.images.iter().find(|(_, entry)| known(entry)).map(|(id, _)| id.clone())
    }

    /// Lets `name` mean the image that is known by `digest` in the same repository, if there is one.
    pub(super) fn rename(&mut self, name: &str, digest: &str) -> Option<Image> {
        let id = self.id_of(&format!("{}@{digest}", repository(name)))?;
        self.give(&id, &[name.to_owned()], Some(digest));
        self.find(&id)
    }

    /// Gives names to an image; a name means one image only, so others lose it.
    fn give(&mut self, id: &str, names: &[String], digest: Option<&str>) {
        for entry in self.images.values_mut() {
            entry.names.retain(|name| !names.contains(name));
        }
        let Some(entry) = self.images.get_mut(id) else { return };
        entry.names.extend(names.iter().filter(|name| !name.contains('@')).cloned());
        entry.digests.extend(names.iter().filter(|name| name.contains('@')).cloned());
        if let Some(digest) = digest {
            entry.digests.extend(names.iter().map(|name| format!("{}@{digest}", repository(name))));
        }
    }

    /// Adds an image, or names to one that is there.
    pub(super) fn insert(&mut self, source: &Source, names: &[String], chain: Vec<String>) -> Image {
        let entry = self.images.entry(source.id.clone()).or_insert_with(|| Entry {
            names: Vec::new(),
            digests: BTreeSet::new(),
            pinned: false,
            config: source.config.config.clone(),
            chain,
        });
        entry.pinned |= source.imported;
        self.give(&source.id, names, source.manifest.as_deref());
        self.image(&source.id, &self.images[&source.id])
    }

    /// Removes the name `reference`, or by id the image with all its names; an image without a name goes too.
    pub(super) fn remove(&mut self, reference: &str) -> bool {
        let Some(id) = self.id_of(reference) else { return false };
        let name = normalize(reference).ok();
        let left = self.images.get_mut(&id).map(|entry| {
            let count = |entry: &Entry| entry.names.len() + entry.digests.len();
            let before = count(entry);
            entry.names.retain(|own| Some(own) != name.as_ref());
            if count(entry) == before && name.as_ref().is_some_and(|name| entry.digests.remove(name)) {
                return count(entry);
            }
            // A digest alone is no name that somebody gave: the last tag takes it along.
            if count(entry) == before { 0 } else { entry.names.len() }
        });
        if left == Some(0) {
            self.images.remove(&id);
        }
        true
    }

    /// A layer that is there.
    pub(super) fn layer(&self, chain_id: &str) -> Option<&Layer> {
        self.layers.get(chain_id)
    }

    /// A directory name that was never used.
    pub(super) fn reserve(&mut self) -> String {
        self.next_directory += 1;
        self.next_directory.to_string()
    }

    pub(super) fn add_layer(&mut self, chain_id: &str, layer: Layer) {
        self.layers.insert(chain_id.to_owned(), layer);
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.layers.values().map(|layer| layer.size_bytes).sum()
    }

    pub(super) fn needed_layers(&self) -> HashSet<String> {
        let chains = self.images.values().flat_map(|entry| &entry.chain);
        chains.filter_map(|id| Some(self.layer(id)?.directory.clone())).collect()
    }

    pub(super) fn drop_layers(&mut self, directories: &[String]) {
        self.layers.retain(|_, layer| !directories.contains(&layer.directory));
    }

    fn image(&self, id: &str, entry: &Entry) -> Image {
        let layers = || entry.chain.iter().rev().filter_map(|id| self.layers.get(id));
        Image {
            id: id.to_owned(),
            names: entry.names.clone(),
            digests: entry.digests.iter().cloned().collect(),
            pinned: entry.pinned,
            size_bytes: layers().map(|layer| layer.size_bytes).sum(),
            config: entry.config.clone(),
            layers: layers().map(|layer| layer.directory.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(id: &str) -> Source {
        Source { id: format!("sha256:{}", id.repeat(64)), ..Source::default() }
    }

    fn name(name: &str) -> Vec<String> {
        vec![normalize(name).unwrap()]
    }

    #[test]
    fn a_name_means_one_image() {
        let mut catalogue = Catalogue::default();
        catalogue.insert(&source("a"), &name("app"), Vec::new());
        catalogue.insert(&source("b"), &name("app"), Vec::new());
        assert_eq!(catalogue.find("app").unwrap().id, source("b").id);
        assert!(catalogue.find(&source("a").id).unwrap().names.is_empty());
        assert_eq!(catalogue.find(&"a".repeat(64)).unwrap().id, source("a").id);
    }

    #[test]
    fn a_digest_is_known_in_its_own_repository() {
        let mut catalogue = Catalogue::default();
        let digest = format!("sha256:{}", "d".repeat(64));
        let pulled = Source { manifest: Some(digest.clone()), ..source("a") };
        catalogue.insert(&pulled, &name("r.io/app:1"), Vec::new());
        let image = catalogue.find(&format!("r.io/app@{digest}")).unwrap();
        assert_eq!((image.digests, image.pinned), (vec![format!("r.io/app@{digest}")], false));
        assert!(catalogue.find(&format!("r.io/other@{digest}")).is_none());
        assert!(catalogue.rename("r.io/other:1", &digest).is_none());
        assert_eq!(catalogue.rename("r.io/app:2", &digest).unwrap().names, ["r.io/app:1", "r.io/app:2"]);
        // A tag that moves leaves the old image its digest.
        catalogue.insert(&source("b"), &[name("r.io/app:1"), name("r.io/app:2")].concat(), Vec::new());
        assert!(catalogue.find(&format!("r.io/app@{digest}")).unwrap().names.is_empty());
        assert!(catalogue.remove(&format!("r.io/app@{digest}")));
        assert!(catalogue.find(&source("a").id).is_none());
    }

    #[test]
    fn the_last_name_takes_the_image_along() {
        let mut catalogue = Catalogue::default();
        catalogue.insert(&source("a"), &name("app:1"), Vec::new());
        catalogue.insert(&source("a"), &name("app:2"), Vec::new());
        assert!(catalogue.remove("app:1"));
        assert!(catalogue.find("app:2").is_some());
        assert!(catalogue.remove("app:2"));
        assert!(catalogue.images().is_empty());
        assert!(!catalogue.remove("app:2"));
    }
}
