//! Layers that are unpacked and in their place, while the image that wants them is not whole yet. Nobody else knows of
//! them; if the image does not come about, they are removed.

use std::path::{Path, PathBuf};

use super::catalogue::{Catalogue, Layer};

/// The new layers of one image; those that are not [left to](Self::leave_to) the catalogue are removed when this is dropped.
pub(super) struct Fresh {
    layers: PathBuf,
    /// With the digests of all layers up to them.
    own: Vec<(String, Layer)>,
}

impl Fresh {
    /// None yet, below the directory `layers`.
    pub(super) fn new(layers: &Path) -> Self {
        Self { layers: layers.to_path_buf(), own: Vec::new() }
    }

    pub(super) fn add(&mut self, chain_id: &str, layer: Layer) {
        self.own.push((chain_id.to_owned(), layer));
    }

    /// Enters them into `catalogue`, but for those that somebody else has brought meanwhile.
    pub(super) fn enter(&self, catalogue: &mut Catalogue) {
        for (chain_id, layer) in &self.own {
            if catalogue.layer(chain_id).is_none_or(|known| !self.layers.join(&known.directory).is_dir()) {
                catalogue.add_layer(chain_id, layer.clone());
            }
        }
    }

    /// Leaves to `catalogue`, which is on the disk now, those that it knows.
    pub(super) fn leave_to(mut self, catalogue: &Catalogue) {
        self.own.retain(|(chain_id, layer)| {
            catalogue.layer(chain_id).is_none_or(|known| known.directory != layer.directory)
        });
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        for (_, layer) in &self.own {
            let path = self.layers.join(&layer.directory);
            if let Err(error) = sampan_trees::remove(&path) {
                tracing::warn!(path = %path.display(), %error, "a layer of an image that failed is left until layers are removed");
            }
        }
    }
}
