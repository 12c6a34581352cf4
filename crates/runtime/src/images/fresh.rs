//! Layers that are unpacked and in their place, while the image that wants them is not whole yet. Nobody else knows of
//! them; if the image does not come about, they are removed.

use std::path::{Path, PathBuf};

use super::catalogue::Catalogue;

/// A layer in its place.
pub(super) struct Layer {
    /// The digest of all layers up to it.
    pub(super) chain_id: String,
    /// Its name among the layers.
    pub(super) directory: String,
    /// The size of its files.
    pub(super) size_bytes: u64,
}

/// The new layers of one image; those that are not [handed over](Self::hand_over) are removed when this is dropped.
pub(super) struct Fresh {
    layers: PathBuf,
    own: Vec<Layer>,
}

impl Fresh {
    /// None yet, below the directory `layers`.
    pub(super) fn new(layers: &Path) -> Self {
        Self { layers: layers.to_path_buf(), own: Vec::new() }
    }

    pub(super) fn add(&mut self, layer: Layer) {
        self.own.push(layer);
    }

    /// Enters them into `catalogue`, but for those that somebody else has brought meanwhile.
    pub(super) fn hand_over(&mut self, catalogue: &mut Catalogue) {
        let layers = &self.layers;
        self.own.retain(|layer| {
            let there = catalogue.layer(&layer.chain_id).is_some_and(|directory| layers.join(directory).is_dir());
            if !there {
                catalogue.add_layer(&layer.chain_id, &layer.directory, layer.size_bytes);
            }
            there
        });
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        for layer in &self.own {
            let path = self.layers.join(&layer.directory);
            if let Err(error) = sampan_trees::remove(&path) {
                tracing::warn!(path = %path.display(), %error, "a layer of an image that failed is left until layers are removed");
            }
        }
    }
}
