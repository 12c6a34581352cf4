//! Archives: an OCI layout (directory or tar), what `docker save` writes, or a plain root filesystem.
//!
//! A tar is first taken apart into a flat staging directory, so that nothing in it names a path on this machine.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::config::{Config, ImageConfig, RootFs};
use super::digest::{self, Digesting};
use super::entries::Archive;
use super::manifest::{self, Descriptor, Document, Manifest, architecture};
use super::source::{LayerSource, Source, decompress};
use super::{Error, Import};

/// Bounds on what is taken from a file somebody made.
const MAX_FILES: usize = 10_000;
const MAX_ARCHIVE_BYTES: u64 = 64 << 30;
const MAX_JSON_BYTES: u64 = 16 << 20;
const MAX_INDEX_DEPTH: usize = 4;

/// Finds the images that `import` means; `staging` is an empty directory to use.
pub(super) fn read(import: &Import, staging: &Path) -> Result<Vec<Source>, Error> {
    if let Some(config) = &import.rootfs {
        return root_filesystem(import, config).map(|source| vec![source]);
    }
    let files = Files::open(&import.path, staging)?;
    let mut sources = match files.find("manifest.json") {
        Some(path) => docker(&files, &read_json::<Vec<DockerImage>>(&path, "manifest.json")?)?,
        None => oci(&files)?,
    };
    if let Some(name) = &import.name {
        if sources.len() != 1 {
            return Err(files.invalid(format!("it holds {} images, and --name names one", sources.len())));
        }
        sources[0].names = vec![name.clone()];
    }
    match sources.iter().find(|source| source.names.is_empty()) {
        Some(_) => {
            Err(files.invalid("it does not say what its image is called: give it a name with --name".to_owned()))
        }
        None => Ok(sources),
    }
}

fn root_filesystem(import: &Import, config: &Config) -> Result<Source, Error> {
    let path = &import.path;
    let invalid = |reason: &str| Error::Archive { path: path.clone(), reason: reason.to_owned() };
    let name = import
        .name
        .clone()
        .ok_or_else(|| invalid("a root filesystem has no name of its own: give it one with --name"))?;
    let file = File::open(path).map_err(Error::io(format!("opening {}", path.display())))?;
    let reader = decompress(file).map_err(Error::io(format!("reading {}", path.display())))?;
    let diff_id =
        Digesting::new(reader, MAX_ARCHIVE_BYTES).finish().map_err(Error::io(format!("reading {}", path.display())))?;
    let config = ImageConfig {
        architecture: architecture().to_owned(),
        os: "linux".to_owned(),
        config: config.clone(),
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![diff_id] },
    };
    let text = serde_json::to_vec(&config).map_err(|error| invalid(&error.to_string()))?;
    let layers = vec![LayerSource { path: path.clone(), digest: None }];
    Ok(Source { id: digest::of(&text), names: vec![name], manifest: None, config, layers, imported: true })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

fn docker(files: &Files, images: &[DockerImage]) -> Result<Vec<Source>, Error> {
    let source = |image: &DockerImage| {
        let text = read_small(&files.get(&image.config)?, &image.config)?;
        let config = parse(&text, &image.config)?;
        let layer = |name: &String| files.get(name).map(|path| LayerSource { path, digest: None });
        let layers = image.layers.iter().map(layer).collect::<Result<Vec<_>, _>>()?;
        let names = image.repo_tags.clone().unwrap_or_default();
        files.checked(Source { id: digest::of(&text), names, manifest: None, config, layers, imported: true })
    };
    images.iter().map(source).collect()
}

fn oci(files: &Files) -> Result<Vec<Source>, Error> {
    let Some(path) = files.find("index.json") else {
        return Err(files.invalid(
            "neither an OCI layout (index.json) nor a docker archive (manifest.json); \
             for a plain root filesystem add --rootfs"
                .to_owned(),
        ));
    };
    let text = read_small(&path, "index.json")?;
    let manifests = match manifest::parse(&text, "").map_err(|reason| files.invalid(format!("index.json: {reason}")))? {
        Document::Index(manifests) => manifests,
        Document::Image(_) => return Err(files.invalid("its index.json is a manifest".to_owned())),
    };
    let mut sources = Vec::<Source>::new();
    for descriptor in manifests.iter().filter(|descriptor| descriptor.is_for_us()) {
        let (digest, manifest) = resolve(files, descriptor, MAX_INDEX_DEPTH)?;
        let config_text = files.blob(&manifest.config.digest)?;
        let config = parse(&config_text, &manifest.config.digest)?;
        let layer = |layer: &Descriptor| {
            let path = files.get(&blob_path(&layer.digest)?)?;
            Ok(LayerSource { path, digest: Some(layer.digest.clone()) })
        };
        let layers = manifest.layers.iter().map(layer).collect::<Result<Vec<_>, Error>>()?;
        let id = manifest.config.digest.clone();
        let names: Vec<_> = descriptor.name().cloned().into_iter().collect();
        match sources.iter_mut().find(|source| source.id == id) {
            Some(known) => known.names.extend(names),
            None => {
                let manifest = Some(digest);
                sources.push(files.checked(Source { id, names, manifest, config, layers, imported: true })?);
            }
        }
    }
    if sources.is_empty() {
        return Err(files.invalid(format!("it holds no image for linux/{}", architecture())));
    }
    Ok(sources)
}

fn resolve(files: &Files, descriptor: &Descriptor, depth: usize) -> Result<(String, Manifest), Error> {
    let digest = &descriptor.digest;
    let document = manifest::parse(&files.blob(digest)?, "");
    match document.map_err(|reason| files.invalid(format!("{digest}: {reason}")))? {
        Document::Image(manifest) => Ok((digest.clone(), manifest)),
        Document::Index(_) if depth == 0 => Err(files.invalid(format!("{digest} is an index of indexes without end"))),
        Document::Index(manifests) => match manifests.iter().find(|manifest| manifest.is_for_us()) {
            Some(manifest) => resolve(files, manifest, depth - 1),
            None => Err(files.invalid(format!("it holds no image for linux/{}", architecture()))),
        },
    }
}

/// The files of an archive, by the names they have in it.
struct Files {
    origin: PathBuf,
    paths: HashMap<String, PathBuf>,
}

impl Files {
    fn open(origin: &Path, staging: &Path) -> Result<Self, Error> {
        let metadata = fs::metadata(origin).map_err(Error::io(format!("opening {}", origin.display())))?;
        let paths = if metadata.is_dir() { Self::walk(origin)? } else { Self::unpack(origin, staging)? };
        Ok(Self { origin: origin.to_path_buf(), paths })
    }

    /// A layout directory holds two levels of plain files below `blobs`.
    fn walk(origin: &Path) -> Result<HashMap<String, PathBuf>, Error> {
        let mut paths = HashMap::new();
        let mut pending = vec![PathBuf::new()];
        while let Some(directory) = pending.pop() {
            let doing = || Error::io(format!("reading {}", origin.join(&directory).display()));
            for entry in fs::read_dir(origin.join(&directory)).map_err(doing())? {
                let entry = entry.map_err(doing())?;
                let (name, kind) = (directory.join(entry.file_name()), entry.file_type().map_err(doing())?);
                if kind.is_dir() {
                    pending.push(name);
                } else if kind.is_file() {
                    paths.insert(name.to_string_lossy().into_owned(), entry.path());
                }
                if paths.len() + pending.len() > MAX_FILES {
                    let reason = format!("it holds more than {MAX_FILES} files");
                    return Err(Error::Archive { path: origin.to_path_buf(), reason });
                }
            }
        }
        Ok(paths)
    }

    fn unpack(origin: &Path, staging: &Path) -> Result<HashMap<String, PathBuf>, Error> {
        let invalid = |reason: String| Error::Archive { path: origin.to_path_buf(), reason };
        let unreadable = |error: io::Error| invalid(format!("not a readable tar: {error}"));
        let file = File::open(origin).map_err(Error::io(format!("opening {}", origin.display())))?;
        let mut archive = Archive::new(decompress(file).map_err(unreadable)?.take(MAX_ARCHIVE_BYTES));
        let (mut paths, mut links) = (HashMap::new(), Vec::new());
        for (number, entry) in archive.entries().map_err(unreadable)?.enumerate() {
            let mut entry = entry.map_err(unreadable)?;
            let name = tidy(&String::from_utf8_lossy(&entry.path_bytes()));
            if number >= MAX_FILES {
                return Err(invalid(format!("it holds more than {MAX_FILES} files")));
            }
            if entry.header().entry_type().is_symlink() {
                let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
                links.extend(target.map(|target| (name, target)));
            } else if entry.header().entry_type().is_file() {
                let path = staging.join(number.to_string());
                let copied = File::create(&path).and_then(|mut file| io::copy(&mut entry, &mut file));
                copied.map_err(Error::io(format!("unpacking {name} from {}", origin.display())))?;
                paths.insert(name, path);
            }
        }
        // Old `docker save` links equal layers to each other: `<id>/layer.tar -> ../<other id>/layer.tar`.
        for (name, target) in links {
            let beside = Path::new(&name).parent().unwrap_or(Path::new("")).join(&target);
            if let Some(path) = paths.get(&tidy(&beside.to_string_lossy())).cloned() {
                paths.insert(name, path);
            }
        }
        Ok(paths)
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        self.paths.get(&tidy(name)).cloned()
    }

    fn get(&self, name: &str) -> Result<PathBuf, Error> {
        self.find(name).ok_or_else(|| self.invalid(format!("{name} is missing from it")))
    }

    /// A small blob, with its digest verified.
    fn blob(&self, digest: &str) -> Result<Vec<u8>, Error> {
        let bytes = read_small(&self.get(&blob_path(digest)?)?, digest)?;
        let actual = digest::of(&bytes);
        if actual == digest {
            return Ok(bytes);
        }
        Err(Error::Digest { what: self.origin.display().to_string(), expected: digest.to_owned(), actual })
    }

    fn checked(&self, source: Source) -> Result<Source, Error> {
        let (layers, ids) = (source.layers.len(), source.config.rootfs.diff_ids.len());
        if layers != ids {
            return Err(self.invalid(format!("an image of it has {layers} layers, but its configuration names {ids}")));
        }
        Ok(source)
    }

    fn invalid(&self, reason: String) -> Error {
        Error::Archive { path: self.origin.clone(), reason }
    }
}

/// `a/./b/../c` is `a/c`: names are keys here, never paths.
fn tidy(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn blob_path(digest: &str) -> Result<String, Error> {
    if !super::reference::is_digest(digest) {
        return Err(Error::Layer(format!("{digest:?} is not a sha256 digest")));
    }
    Ok(format!("blobs/{}", digest.replace(':', "/")))
}

fn read_json<T: DeserializeOwned>(path: &Path, name: &str) -> Result<T, Error> {
    parse(&read_small(path, name)?, name)
}

fn parse<T: DeserializeOwned>(text: &[u8], name: &str) -> Result<T, Error> {
    serde_json::from_slice(text).map_err(|error| Error::Archive { path: name.into(), reason: error.to_string() })
}

fn read_small(path: &Path, name: &str) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_JSON_BYTES + 1).read_to_end(&mut text));
    read.map_err(Error::io(format!("reading {name}")))?;
    if text.len() as u64 > MAX_JSON_BYTES {
        return Err(Error::Archive { path: name.into(), reason: format!("is larger than {MAX_JSON_BYTES} bytes") });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_archive() {
        assert_eq!(tidy("./blobs/../../../etc/passwd"), "etc/passwd");
        assert_eq!(tidy("a/./b//c"), "a/b/c");
    }
}
