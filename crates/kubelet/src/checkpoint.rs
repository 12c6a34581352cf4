//! Small files that the kubelet remembers things in: each is replaced as a whole.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::Error;

/// Replaces `file`, so that a reader, or who comes after a loss of power, finds the old content or the new. Blocks.
pub(crate) fn replace(file: &Path, content: &[u8]) -> Result<(), Error> {
    let fresh = file.with_extension("new");
    let mut written = File::create(&fresh).map_err(Error::io("creating", &fresh))?;
    written.write_all(content).and_then(|()| written.sync_all()).map_err(Error::io("writing", &fresh))?;
    fs::rename(&fresh, file).map_err(Error::io("replacing", file))?;
    let directory = file.parent().unwrap_or(file);
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(Error::io("writing", directory))
}
