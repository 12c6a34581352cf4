//! An image found somewhere, its bytes lying in files, on its way into the store.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

use super::config::ImageConfig;

/// An image, not yet in the store.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    /// The digest of its configuration.
    pub(super) id: String,
    pub(super) names: Vec<String>,
    /// The digest of what those names mean: a manifest, or an index that leads to one.
    pub(super) manifest: Option<String>,
    pub(super) config: ImageConfig,
    /// Lowest first, as many as the configuration's diff ids.
    pub(super) layers: Vec<LayerSource>,
    /// It came from a file, and nowhere else can it be had again.
    pub(super) imported: bool,
}

/// Where a layer's bytes are.
#[derive(Debug, Clone, Default)]
pub(super) struct LayerSource {
    pub(super) path: PathBuf,
    /// The digest of the file as it lies there, where one was declared and is still to be verified.
    pub(super) digest: Option<String>,
}

/// The plain bytes of `file`, which may be gzip or zstd, as its first bytes tell.
pub(super) fn decompress(mut file: File) -> io::Result<Box<dyn Read>> {
    let mut magic = Vec::new();
    (&mut file).take(4).read_to_end(&mut magic)?;
    io::Seek::rewind(&mut file)?;
    Ok(match magic[..] {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(file)?),
        _ => Box::new(BufReader::new(file)),
    })
}
