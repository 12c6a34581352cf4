//! Reading the files of variables that a container's environment names.

use std::collections::BTreeMap;
use std::io::Read;

use k8s_openapi::api::core::v1::Container;

use super::Env;
use crate::config::env::Files;
use crate::{Error, volumes};

/// More of a file is not read.
const MAX_BYTES: u64 = 1 << 20;

/// Every file that `container` names, by volume and path; nothing for one that is not there. Nobody who can write into the
/// volume can have a file read that lies elsewhere.
pub(super) async fn read(env: &Env, container: &Container) -> Result<Files, Error> {
    let sources =
        container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()?.file_key_ref.as_ref());
    let mut files: Files = BTreeMap::new();
    for source in sources {
        let place = env.places.lock().get(&source.volume_name).cloned().ok_or_else(|| {
            Error::Config(format!("cannot find the volume {:?} referenced by FileKeyRef", source.volume_name))
        })?;
        let path = source.path.clone();
        let text = tokio::task::spawn_blocking(move || {
            let Some(file) = volumes::open_beneath(&place.path, &path)? else { return Ok(None) };
            let mut text = String::new();
            match file.take(MAX_BYTES).read_to_string(&mut text) {
                Ok(_) => Ok(Some(text)),
                Err(error) => Err(Error::io("reading", &place.path.join(&path))(error)),
            }
        });
        let text = text.await.map_err(|panic| Error::Config(format!("reading {}: {panic}", source.path)))??;
        files.insert((source.volume_name.clone(), source.path.clone()), text);
    }
    Ok(files)
}
