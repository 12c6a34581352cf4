//! Pulling: what is missing of an image is fetched, verified, unpacked, and then the name means it.
//!
//! ```text
//!   name -> digest -> manifest for this machine -> configuration -> the layers that are not here, some at a time
//!        -> unpacked one on the other -> catalogue
//! ```
//!
//! Pulls of the same name with the same credentials share one; it ends early when the last who wanted it gives up.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::{BoxFuture, Shared, WeakShared};
use futures::{FutureExt, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::config::ImageConfig;
use super::manifest::{Descriptor, Manifest};
use super::progress::{self, Progress};
use super::registry::{self, Credentials, Registry};
use super::source::{LayerSource, Source};
use super::{Error, Image, Images, Staging, manifest, normalize, reference};

/// Layers of one image that are transferred at the same time.
const PARALLEL_LAYERS: usize = 3;
/// Layers that were here may be gone when it comes to that: then they are fetched too, this often.
const MAX_ROUNDS: usize = 3;

/// How a shared pull ended.
pub(crate) type Outcome = Result<Image, Arc<Error>>;

/// Who asks for what, with which credentials.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    name: String,
    credentials: [u8; 32],
}

/// The pulls under way.
#[derive(Default)]
pub(super) struct Pulls {
    running: Mutex<HashMap<Key, Running>>,
}

struct Running {
    outcome: WeakShared<BoxFuture<'static, Outcome>>,
    progress: watch::Receiver<progress::State>,
}

/// A pull, shared or not.
pub(crate) struct Pull {
    pub(crate) outcome: Shared<BoxFuture<'static, Outcome>>,
    pub(crate) progress: watch::Receiver<progress::State>,
}

/// Begins to pull `name`, or joins who does already.
pub(crate) fn start(images: &Arc<Images>, name: &str, credentials: Credentials) -> Result<Pull, Error> {
    let name = normalize(name)?;
    let key = Key { name: name.clone(), credentials: credentials.fingerprint() };
    let mut running = images.pulls.running.lock();
    running.retain(|_, pull| pull.outcome.upgrade().is_some_and(|outcome| outcome.peek().is_none()));
    if let Some(pull) = running.get(&key)
        && let Some(outcome) = pull.outcome.upgrade()
    {
        return Ok(Pull { outcome, progress: pull.progress.clone() });
    }
    let progress = Progress::default();
    let watching = progress.watch();
    let images = Arc::clone(images);
    let work = async move { run(&images, &name, &credentials, &progress).await.map_err(Arc::new) };
    let outcome = work.boxed().shared();
    if let Some(weak) = outcome.downgrade() {
        running.insert(key, Running { outcome: weak, progress: watching.clone() });
    }
    Ok(Pull { outcome, progress: watching })
}

async fn run(images: &Arc<Images>, name: &str, credentials: &Credentials, progress: &Progress) -> Result<Image, Error> {
    let failed = |source| Error::Pull { name: name.to_owned(), source };
    let registry = Registry::open(&images.options, name, credentials).map_err(failed)?;
    let digest = registry.resolve().await.map_err(|source| Error::Resolve { name: name.to_owned(), source })?;
    // The registry has been asked, and what it means is here.
    if let Some(image) = images.rename(name, &digest)? {
        return Ok(image);
    }
    let manifest = registry.manifest(&digest).await.map_err(failed)?;
    let size = manifest.check().map_err(|reason| failed(registry::content(&digest, reason)))?;
    if size > images.options.max_image_bytes {
        let reason = format!("its layers have {size} bytes, the limit is {}", images.options.max_image_bytes);
        return Err(failed(registry::content(&digest, reason)));
    }
    let text = registry.config(&manifest.config).await.map_err(failed)?;
    let config = read_config(&text, &manifest).map_err(failed)?;
    let staging = Arc::new(Staging::new(&images.root.join("staging"))?);
    let source = Source {
        id: manifest.config.digest.clone(),
        names: vec![name.to_owned()],
        manifest: Some(digest),
        layers: manifest.layers.iter().map(|layer| place(&staging, layer)).collect(),
        config,
        imported: false,
    };
    for _ in 0..MAX_ROUNDS {
        fetch(images, &registry, &manifest, (&source, progress)).await.map_err(failed)?;
        progress.unpacking();
        let (images, source, staging) = (Arc::clone(images), source.clone(), Arc::clone(&staging));
        let admitted = tokio::task::spawn_blocking(move || images.admit_pulled(&source, &staging)).await;
        match admitted.map_err(|_| failed(registry::content(name, "unpacking was given up")))?? {
            Some(image) => return Ok(image),
            None => tracing::debug!(name, "a layer was removed meanwhile"),
        }
    }
    Err(failed(registry::content(name, "its layers are being removed as fast as they come")))
}

/// Where a layer will lie, compressed.
fn place(staging: &Staging, layer: &Descriptor) -> LayerSource {
    // Verified as it comes: not again.
    LayerSource { path: staging.path.join(layer.digest.replace(':', "-")), digest: None }
}

fn read_config(text: &[u8], manifest: &Manifest) -> Result<ImageConfig, registry::Error> {
    let what = &manifest.config.digest;
    let config: ImageConfig =
        serde_json::from_slice(text).map_err(|error| registry::content(what, error.to_string()))?;
    let foreign = |own: &str, ours: &str| !own.is_empty() && own != ours;
    if foreign(&config.os, "linux") || foreign(&config.architecture, manifest::architecture()) {
        return Err(registry::no_match());
    }
    let (layers, ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers != ids {
        return Err(registry::content(
            what,
            format!("mismatched image rootfs and manifest layers: {ids} and {layers}"),
        ));
    }
    match config.rootfs.diff_ids.iter().find(|id| !reference::is_digest(id)) {
        Some(id) => Err(registry::content(what, format!("{id:?} is not a sha256 digest"))),
        None => Ok(config),
    }
}

/// Fetches the layers that are neither in the store nor in staging.
async fn fetch(
    images: &Images,
    registry: &Registry,
    manifest: &Manifest,
    (source, progress): (&Source, &Progress),
) -> Result<(), registry::Error> {
    let missing = images.missing(&source.config.rootfs.diff_ids);
    let mut wanted: Vec<(Descriptor, PathBuf)> = Vec::new();
    for ((layer, source), missing) in manifest.layers.iter().zip(&source.layers).zip(missing) {
        let twice = wanted.iter().any(|(known, _)| known.digest == layer.digest);
        if missing && !twice && !source.path.exists() {
            wanted.push((layer.clone(), source.path.clone()));
        }
    }
    let layer = |(layer, _): &(Descriptor, PathBuf)| progress::Layer {
        digest: layer.digest.clone(),
        size_bytes: layer.size,
        received_bytes: 0,
    };
    progress.downloading(wanted.iter().map(layer).collect());
    let fetches = wanted.into_iter().map(|(layer, path)| fetch_one(registry, layer, path, progress));
    futures::stream::iter(fetches).buffer_unordered(PARALLEL_LAYERS).try_collect().await
}

/// A file has its name only when all of it is there.
async fn fetch_one(
    registry: &Registry,
    layer: Descriptor,
    path: PathBuf,
    progress: &Progress,
) -> Result<(), registry::Error> {
    let partial = path.with_extension("part");
    registry.layer(&layer, &partial, progress).await?;
    let failed = |source| registry::Error::Io { doing: format!("placing {}", path.display()), source };
    tokio::fs::rename(&partial, &path).await.map_err(failed)
}
