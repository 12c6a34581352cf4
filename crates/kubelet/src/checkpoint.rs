//! Small files that the kubelet remembers things in: each is replaced as a whole.

use std::fs::{self, File};
use std::path::Path;

use crate::Error;

/// Replaces `file`, so that whoever reads it finds the old content or the new. Blocks.
pub(crate) fn replace(file: &Path, content: &[u8]) -> Result<(), Error> {
    let fresh = file.with_extension("new");
    fs::write(&fresh, content).map_err(Error::io("writing", &fresh))?;
    fs::rename(&fresh, file).map_err(Error::io("replacing", file))
}

/// [`replace`], which is on the disk when it returns: for what a loss of power must not undo. Blocks longer.
pub(crate) fn replace_durably(file: &Path, content: &[u8]) -> Result<(), Error> {
    let fresh = file.with_extension("new");
    fs::write(&fresh, content).map_err(Error::io("writing", &fresh))?;
    File::open(&fresh).and_then(|fresh| fresh.sync_all()).map_err(Error::io("writing", &fresh))?;
    fs::rename(&fresh, file).map_err(Error::io("replacing", file))?;
    let directory = file.parent().unwrap_or(file);
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(Error::io("writing", directory))
}
