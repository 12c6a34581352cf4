//! Files that change all at once: a container sees the old ones or the new ones, never a mixture.
//!
//! ```text
//! <volume>/..2026_11_22_14_05_06.1234/key    the files
//! <volume>/..data -> ..2026_...              swapped with one rename
//! <volume>/key -> ..data/key                 what containers open
//! ```

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use super::payload::{File, Payload};
use super::{Context, blocking, mounting, ownership};
use crate::{Error, spec};

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_tmp";

/// Where a volume's files are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    Disk,
    Memory,
}

/// Makes the volume at `path` show `payload`.
pub(super) async fn provide(context: &Context<'_>, path: &Path, payload: Payload, medium: Medium) -> Result<(), Error> {
    let group = spec::of(context.pod).security_context.as_ref().and_then(|security| security.fs_group);
    let path = path.to_path_buf();
    blocking(move || {
        if !path.exists() {
            mounting::make_dir(&path, 0o777)?;
        }
        if medium == Medium::Memory && !mounting::is_mounted(&path)? {
            mounting::mount_tmpfs(&path, None, None)?;
        }
        write(&path, &payload, group)
    })
    .await
}

/// Swaps `payload` in, unless it is there already. A predecessor may have been killed at any point of this: names are
/// made, and what is left over is removed, in either case.
pub(super) fn write(volume: &Path, payload: &Payload, group: Option<i64>) -> Result<(), Error> {
    let current = std::fs::read_link(volume.join(DATA)).ok();
    let shown = match current.filter(|current| shows(&volume.join(current), payload)) {
        Some(current) => current,
        None => swap(volume, payload, group)?,
    };
    link_names(volume, payload)?;
    sweep(volume, &shown)
}

/// Shows `payload` from now on; gives the name of its directory.
fn swap(volume: &Path, payload: &Payload, group: Option<i64>) -> Result<PathBuf, Error> {
    let data = volume.join(DATA);
    let stamp = sampan_clock::now().strftime("..%Y_%m_%d_%H_%M_%S").to_string();
    let fresh = unused(volume, &stamp);
    let dir = volume.join(&fresh);
    mounting::make_dir(&dir, 0o755)?;
    for (path, file) in payload {
        write_file(&dir, path, file)?;
    }
    ownership::give_to_group(&dir, group, ownership::Access::Read)?;
    let next = volume.join(DATA_NEXT);
    let _ = std::fs::remove_file(&next);
    symlink(&fresh, &next).map_err(Error::io("linking", &next))?;
    std::fs::rename(&next, &data).map_err(Error::io("swapping in", &data))?;
    Ok(fresh.into())
}

/// Removes the directories of files that are not `shown`.
fn sweep(volume: &Path, shown: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(volume).map_err(Error::io("reading", volume))?.flatten() {
        let name = entry.file_name();
        let ours = name.to_string_lossy().starts_with("..") && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if ours && name != shown {
            let _ = sampan_trees::remove(&entry.path());
        }
    }
    Ok(())
}

fn unused(volume: &Path, stamp: &str) -> String {
    let candidates = (0u32..).map(|n| format!("{stamp}.{n}"));
    candidates.into_iter().find(|name| !volume.join(name).exists()).unwrap_or_else(|| stamp.to_owned())
}

fn write_file(dir: &Path, path: &str, file: &File) -> Result<(), Error> {
    let at = dir.join(path);
    if let Some(parent) = at.parent() {
        std::fs::create_dir_all(parent).map_err(Error::io("creating", parent))?;
    }
    std::fs::write(&at, &file.data).map_err(Error::io("writing", &at))?;
    std::fs::set_permissions(&at, std::fs::Permissions::from_mode(file.mode))
        .map_err(Error::io("setting the mode of", &at))?;
    match file.owner {
        Some(owner) => chown(&at, Some(owner), None).map_err(Error::io("giving away", &at)),
        None => Ok(()),
    }
}

/// Whether the directory holds exactly `payload`.
fn shows(dir: &Path, payload: &Payload) -> bool {
    files_below(dir).is_some_and(|files| files.len() == payload.len())
        && payload.iter().all(|(path, file)| std::fs::read(dir.join(path)).is_ok_and(|data| data == file.data))
}

fn files_below(dir: &Path) -> Option<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    let mut pending = vec![dir.to_path_buf()];
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(&next).ok()? {
            let entry = entry.ok()?;
            if entry.file_type().ok()?.is_dir() {
                pending.push(entry.path());
            } else {
                files.insert(entry.path());
            }
        }
    }
    Some(files)
}

/// Makes the names that containers open, and removes those of files that are gone.
fn link_names(volume: &Path, payload: &Payload) -> Result<(), Error> {
    let first = |path: &String| path.split('/').next().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = payload.keys().map(first).collect();
    for name in &names {
        let link = volume.join(name);
        if link.symlink_metadata().is_err() {
            symlink(Path::new(DATA).join(name), &link).map_err(Error::io("linking", &link))?;
        }
    }
    for entry in std::fs::read_dir(volume).map_err(Error::io("reading", volume))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !names.contains(&name) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}
