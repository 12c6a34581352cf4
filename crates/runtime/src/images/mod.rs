//! Images: what is known by which name, their configurations, and their layers unpacked and ready to be mounted.
//!
//! ```text
//!   <root>/images/catalogue.json     names, configurations, which layers        (replaced atomically, synced)
//!   <root>/images/staging/           what is being imported                     (emptied at start)
//!   <root>/layers/<number>/          one unpacked layer, shared by all images   (renamed into place when whole)
//!                                    known, and kept, once an image of it is whole
//! ```
//!
//! A layer is known by its chain id (the digest of all layers up to it), and lies under a short number because the
//! kernel takes one page of mount options. Start at [`Images::import`] for files and at [`pull::start`] for registries.

mod archive;
mod catalogue;
mod config;
mod digest;
mod entries;
mod fresh;
mod layer;
mod manifest;
pub(crate) mod progress;
pub(crate) mod pull;
mod reference;
mod registry;
mod source;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use catalogue::Catalogue;
pub(crate) use catalogue::Image;
pub(crate) use config::Config;
use fresh::Fresh;
pub(crate) use reference::normalize;
pub(crate) use registry::Credentials;
pub use registry::{Error as RegistryError, Proxy, PullOptions};
use source::{LayerSource, Source};

use crate::disk::{self, Durability};

/// Why an image could not be brought in, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing the store.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done to what.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The archive is not in a known form.
    #[error("{path}: {reason}")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer that must not be unpacked.
    #[error("image layer refused: {0}")]
    Layer(String),
    /// Content that is not what its digest says.
    #[error("{what} has digest {actual}, but {expected} was declared")]
    Digest {
        /// What was read.
        what: String,
        /// The declared digest.
        expected: String,
        /// The real one.
        actual: String,
    },
    /// A name that names no image.
    #[error("invalid image reference {0:?}")]
    Reference(String),
    /// What the registry says a name means.
    #[error("failed to pull and unpack image {name:?}: failed to resolve reference {name:?}: {source}")]
    Resolve {
        /// The name in full.
        name: String,
        /// Why.
        source: registry::Error,
    },
    /// The rest of a pull.
    #[error("failed to pull and unpack image {name:?}: {source}")]
    Pull {
        /// The name in full.
        name: String,
        /// Why.
        source: registry::Error,
    },
    /// What the credentials of a pull say.
    #[error(transparent)]
    Credentials(#[from] registry::Error),
}

impl Error {
    fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing: doing.into(), source }
    }
}

/// What the person who imports says about an archive.
#[derive(Debug, Clone, Default)]
pub(crate) struct Import {
    pub(crate) path: PathBuf,
    /// Replaces the names in the archive.
    pub(crate) name: Option<String>,
    /// Set for a plain root filesystem.
    pub(crate) rootfs: Option<Config>,
}

/// A layer that is not in the store yet.
struct NewLayer<'a> {
    source: &'a LayerSource,
    diff_id: &'a str,
}

/// The image store.
pub(crate) struct Images {
    root: PathBuf,
    layers: PathBuf,
    options: PullOptions,
    pulls: pull::Pulls,
    catalogue: Mutex<Catalogue>,
    /// Written by who removes layers, read by who relies on them before that shows in a table.
    removing: RwLock<()>,
}

impl Images {
    /// Opens the store below `root`, and removes what a crash has left half done.
    pub(crate) fn open(root: &Path, options: PullOptions) -> Result<Self, Error> {
        let (images, layers) = (root.join("images"), root.join("layers"));
        let doing = || Error::io(format!("opening the image store in {}", root.display()));
        sampan_trees::remove(&images.join("staging")).map_err(doing())?;
        fs::create_dir_all(images.join("staging")).map_err(doing())?;
        fs::create_dir_all(&layers).map_err(doing())?;
        let catalogue: Catalogue =
            disk::read_json(&images.join("catalogue.json")).map_err(doing())?.unwrap_or_default();
        Ok(Self {
            root: images,
            layers,
            options,
            pulls: pull::Pulls::default(),
            catalogue: Mutex::new(catalogue),
            removing: RwLock::new(()),
        })
    }

    /// Where layers lie; [`Image::layers`] are names in it, topmost first.
    pub(crate) fn layers(&self) -> &Path {
        &self.layers
    }

    /// The size of all layers, each counted once.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.catalogue.lock().size_bytes()
    }

    /// Every image.
    pub(crate) fn list(&self) -> Vec<Image> {
        self.catalogue.lock().images()
    }

    /// The image that `reference` (a name, `name@digest`, an id or the hexadecimal part of one) means.
    pub(crate) fn find(&self, reference: &str) -> Option<Image> {
        self.catalogue.lock().find(reference)
    }

    /// Keeps every layer where it is for as long as the guard lives.
    pub(crate) fn hold(&self) -> RwLockReadGuard<'_, ()> {
        // Recursive: who waits to remove layers until a long import is over must not keep containers from being made.
        self.removing.read_recursive()
    }

    /// Brings in every image of an archive. Blocks: it reads and unpacks whole file systems.
    pub(crate) fn import(&self, import: &Import) -> Result<Vec<Image>, Error> {
        let _held = self.hold();
        let staging = Staging::new(&self.root.join("staging"))?;
        let found = archive::read(import, &staging.path)?;
        let mut images = Vec::new();
        for source in found {
            images.push(self.admit(&source, &staging)?);
        }
        Ok(images)
    }

    /// Brings in what was pulled; `None` when a layer is neither in the store nor in staging. Blocks.
    fn admit_pulled(&self, source: &Source, staging: &Staging) -> Result<Option<Image>, Error> {
        let _held = self.hold();
        let missing = self.missing(&source.config.rootfs.diff_ids);
        let lost = source.layers.iter().zip(missing).any(|(layer, missing)| missing && !layer.path.exists());
        if lost { Ok(None) } else { self.admit(source, staging).map(Some) }
    }

    /// Lets `name` mean what its registry says, if that is here.
    fn rename(&self, name: &str, digest: &str) -> Result<Option<Image>, Error> {
        let mut catalogue = self.catalogue.lock();
        let image = catalogue.rename(name, digest);
        if image.is_some() {
            self.save(&catalogue)?;
        }
        Ok(image)
    }

    /// For each layer of an image, lowest first, whether it is not in the store.
    fn missing(&self, diff_ids: &[String]) -> Vec<bool> {
        let catalogue = self.catalogue.lock();
        chain_ids(diff_ids).iter().map(|id| self.unpacked(&catalogue, id).is_none()).collect()
    }

    /// A layer that is there.
    fn unpacked(&self, catalogue: &Catalogue, chain_id: &str) -> Option<catalogue::Layer> {
        catalogue.layer(chain_id).filter(|layer| self.layers.join(&layer.directory).is_dir()).cloned()
    }

    fn admit(&self, source: &Source, staging: &Staging) -> Result<Image, Error> {
        let names = source.names.iter().map(|name| normalize(name)).collect::<Result<Vec<_>, _>>()?;
        let chain = chain_ids(&source.config.rootfs.diff_ids);
        let mut fresh = Fresh::new(&self.layers);
        let mut below: Vec<String> = Vec::new();
        let mut room = self.options.max_image_bytes;
        for ((diff_id, chain_id), source) in source.config.rootfs.diff_ids.iter().zip(&chain).zip(&source.layers) {
            let known = self.unpacked(&self.catalogue.lock(), chain_id);
            let layer = match known {
                Some(layer) => layer,
                None => {
                    let under = layer::Below { layers: &self.layers, names: &below, limit_bytes: room };
                    let layer = self.unpack(&NewLayer { source, diff_id }, &under, staging)?;
                    fresh.add(chain_id, layer.clone());
                    layer
                }
            };
            room = room.saturating_sub(layer.size_bytes);
            below.insert(0, layer.directory);
        }
        // The catalogue must not promise what power loss could take away.
        fs::File::open(&self.layers)
            .and_then(|layers| Ok(rustix::fs::syncfs(&layers)?))
            .map_err(Error::io("writing layers to the disk"))?;
        let mut catalogue = self.catalogue.lock();
        let mut next = catalogue.clone();
        fresh.enter(&mut next);
        let image = next.insert(source, &names, chain);
        self.save(&next)?;
        *catalogue = next;
        fresh.leave_to(&catalogue);
        Ok(image)
    }

    /// Unpacks a layer over those below it, and puts it into its place.
    fn unpack(
        &self,
        layer: &NewLayer<'_>,
        below: &layer::Below<'_>,
        staging: &Staging,
    ) -> Result<catalogue::Layer, Error> {
        let directory = self.catalogue.lock().reserve();
        let place = staging.path.join("layer").join(&directory);
        let size_bytes = layer::apply(layer.source, layer.diff_id, &place, below)?;
        let home = self.layers.join(&directory);
        sampan_trees::remove(&home).map_err(Error::io(format!("clearing {}", home.display())))?;
        fs::rename(place.join("root"), &home).map_err(Error::io(format!("placing layer {}", home.display())))?;
        Ok(catalogue::Layer { directory, size_bytes })
    }

    /// Forgets what `reference` means; returns whether there was such an image. Its layers go with [`Self::sweep`].
    pub(crate) fn remove(&self, reference: &str) -> Result<bool, Error> {
        let mut catalogue = self.catalogue.lock();
        let removed = catalogue.remove(reference);
        if removed {
            self.save(&catalogue)?;
        }
        Ok(removed)
    }

    /// Removes every layer that neither an image nor one of `in_use` (directory names, asked for when none can be added) needs.
    pub(crate) fn sweep(&self, in_use: impl FnOnce() -> HashSet<String>) -> Result<(), Error> {
        let doing = || Error::io(format!("removing unused layers in {}", self.layers.display()));
        let _removing = self.removing.write();
        let in_use = in_use();
        let unused: Vec<String> = {
            let mut catalogue = self.catalogue.lock();
            let kept = catalogue.needed_layers();
            let names = disk::names(&self.layers).map_err(doing())?;
            let unused: Vec<_> =
                names.into_iter().filter(|name| !kept.contains(name) && !in_use.contains(name)).collect();
            catalogue.drop_layers(&unused);
            self.save(&catalogue)?;
            unused
        };
        unused.iter().try_for_each(|name| sampan_trees::remove(&self.layers.join(name)).map_err(doing()))
    }

    fn save(&self, catalogue: &Catalogue) -> Result<(), Error> {
        let path = self.root.join("catalogue.json");
        disk::replace_json(&path, catalogue, Durability::Synced)
            .map_err(Error::io(format!("writing {}", path.display())))
    }
}

/// A layer's own id, with everything below it: lowest first.
fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    for diff_id in diff_ids {
        chain.push(match chain.last() {
            None => diff_id.clone(),
            Some(parent) => digest::of(format!("{parent} {diff_id}").as_bytes()),
        });
    }
    chain
}

/// A directory for one import, gone when the import is over, however it ends.
struct Staging {
    path: PathBuf,
}

impl Staging {
    fn new(parent: &Path) -> Result<Self, Error> {
        let path = parent.join(format!("{:016x}", rand::random::<u64>()));
        fs::create_dir_all(&path).map_err(Error::io(format!("creating {}", path.display())))?;
        Ok(Self { path })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = sampan_trees::remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "staging directory is left until the next start");
        }
    }
}
