//! Reading the files of variables that a container's environment names.

use std::collections::BTreeMap;
use std::io::Read;

use k8s_openapi::api::core::v1::Container;

use super::Env;
use crate::config::env::Files;
use crate::{Error, volumes};

/// A file that is longer is not a list of variables.
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
            read_whole(file).map(Some).map_err(Error::io("reading", &place.path.join(&path)))
        });
        let text = text.await.map_err(|panic| Error::Config(format!("reading {}: {panic}", source.path)))??;
        files.insert((source.volume_name.clone(), source.path.clone()), text);
    }
    Ok(files)
}

/// The text of a file, all of it or none.
fn read_whole(file: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    // One more, to see that it is too long.
    if file.take(MAX_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_BYTES {
        let why = format!("it is larger than the {MAX_BYTES} bytes that a file of variables may have");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let read = |bytes: u64| read_whole(std::io::repeat(b'a').take(bytes)).map(|text| text.len() as u64);
        assert_eq!(read(0).ok(), Some(0));
        assert_eq!(read(MAX_BYTES).ok(), Some(MAX_BYTES));
        let why = read(MAX_BYTES + 1).map_err(|error| error.to_string());
        assert_eq!(why, Err("it is larger than the 1048576 bytes that a file of variables may have".to_owned()));
    }
}
