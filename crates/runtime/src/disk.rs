//! Small files that must be whole or absent: records of sandboxes and containers, the image catalogue.
//!
//! A record is written beside its place and renamed into it, so that a reader, or a restart after a crash at any
//! moment, sees the old or the new one. Durability across power loss is asked for with [`Durability::Synced`] only
//! where the data outlives a reboot.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Whether a write waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Survives the process; for state that a reboot ends anyway.
    Process,
    /// Survives power loss.
    Synced,
}

/// Replaces the file at `path` by `bytes`, atomically.
pub(crate) fn replace(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let staged = path.with_extension("new");
    let mut file = File::create(&staged)?;
    file.write_all(bytes)?;
    if durability == Durability::Synced {
        file.sync_all()?;
    }
    fs::rename(&staged, path)?;
    if durability == Durability::Synced
        && let Some(parent) = path.parent()
    {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Replaces the file at `path` by `value` as JSON, atomically.
pub(crate) fn replace_json(path: &Path, value: &impl Serialize, durability: Durability) -> io::Result<()> {
    replace(path, &serde_json::to_vec(value)?, durability)
}

/// Reads the JSON file at `path`; `None` where there is none.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names of the entries of the directory `path`; none where there is no such directory.
pub(crate) fn names(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
