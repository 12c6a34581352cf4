//! The volumes of a Pod: one file for each type, behind [`Provider`].
//!
//! Setting up is idempotent: it runs when the Pod starts, and again whenever an object behind a volume changes or a
//! token must be renewed. Tearing down knows no types: it unmounts whatever is mounted below the Pod's directory, so it
//! works for Pods whose specification is lost. Start at [`set_up`].

mod atomic;
mod config_map;
mod downward_api;
mod empty_dir;
mod host_path;
mod image;
mod mounting;
mod ownership;
mod payload;
mod projected;
mod secret;
mod subpath;
mod teardown;
mod tokens;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};

pub(crate) use subpath::{expose as expose_subpath, open_beneath};
pub(crate) use teardown::{orphans, remove_all, remove_volumes};
pub(crate) use tokens::Tokens;

use crate::config::env::Objects;
use crate::config::fields::Facts;
use crate::config::mounts::Place;
use crate::config::paths::PodPaths;
use crate::pod_certificates::PodCertificates;
use crate::{Error, spec};

/// What setting up a Pod's volumes needs.
pub(crate) struct Context<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) paths: &'a PodPaths,
    pub(crate) objects: &'a dyn Objects,
    pub(crate) facts: &'a Facts,
    pub(crate) tokens: &'a Tokens,
    pub(crate) certificates: &'a PodCertificates,
}

/// A Pod's volumes, set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    /// By volume name.
    pub(crate) places: BTreeMap<String, Place>,
    /// When something in them must be renewed.
    pub(crate) renew_at: Option<Timestamp>,
}

/// One volume, set up.
struct SetUp {
    place: Place,
    renew_at: Option<Timestamp>,
}

impl SetUp {
    fn writable(path: PathBuf) -> Self {
        Self { place: Place { path, read_only: false, image: false }, renew_at: None }
    }

    fn read_only(path: PathBuf) -> Self {
        Self { place: Place { path, read_only: true, image: false }, renew_at: None }
    }

    fn image() -> Self {
        Self { place: Place { path: PathBuf::new(), read_only: true, image: true }, renew_at: None }
    }
}

/// One type of volume.
#[async_trait]
trait Provider: Send + Sync {
    /// Makes the volume `name`, or brings it up to date.
    async fn set_up(&self, name: &str, context: &Context<'_>) -> Result<SetUp, Error>;
}

/// Gives the provider if the volume is of its type.
type Match = fn(&Volume) -> Option<Box<dyn Provider>>;

/// Every type of volume there is.
const TYPES: [Match; 7] =
    [empty_dir::of, config_map::of, secret::of, downward_api::of, projected::of, host_path::of, image::of];

/// Makes all volumes of the Pod, or brings them up to date: all that can be, whatever is wrong with the others.
pub(crate) async fn set_up(context: &Context<'_>) -> Result<Ready, Vec<Error>> {
    let (mut ready, mut wrong) = (Ready::default(), Vec::new());
    for volume in spec::of(context.pod).volumes.iter().flatten() {
        match set_up_one(volume, context).await {
            Ok(done) => {
                ready.places.insert(volume.name.clone(), done.place);
                ready.renew_at = ready.renew_at.into_iter().chain(done.renew_at).min();
            }
            Err(source) => wrong.push(Error::Volume { volume: volume.name.clone(), source: Box::new(source) }),
        }
    }
    if wrong.is_empty() { Ok(ready) } else { Err(wrong) }
}

async fn set_up_one(volume: &Volume, context: &Context<'_>) -> Result<SetUp, Error> {
    let provider = TYPES.iter().find_map(|of| of(volume));
    let unknown = || Error::Config("no volume plugin matched".to_owned());
    provider.ok_or_else(unknown)?.set_up(&volume.name, context).await
}

/// Runs file system work where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => Err(Error::Config(format!("setting up a volume: {panic}"))),
    }
}
