//! The end of a Pod's files: unmount whatever is mounted below its directory, then remove it. Nothing is removed while
//! something is still mounted there, so that what a mount shows of the node is never touched.

use std::path::{Path, PathBuf};

use super::mounting;
use crate::Error;
use crate::config::paths::{PodPaths, pods_dir};

/// Unmounts and removes the Pod's volumes; its other files and logs stay.
pub(crate) fn remove_volumes(paths: &PodPaths) -> Result<(), Error> {
    for dir in [paths.subpaths(), paths.volumes()] {
        unmount_below(&dir)?;
        remove_dir(&dir)?;
    }
    Ok(())
}

/// Unmounts and removes everything of the Pod, logs too.
pub(crate) fn remove_all(paths: &PodPaths) -> Result<(), Error> {
    unmount_below(&paths.dir)?;
    remove_dir(&paths.dir)?;
    remove_dir(&paths.logs)
}

/// Uids of the Pods that have a directory on this node.
pub(crate) fn orphans(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(pods_dir(root)).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn remove_dir(dir: &Path) -> Result<(), Error> {
    sampan_trees::remove(dir).map_err(Error::io("removing", dir))
}

/// Mounts on one point that are taken away at most.
const MAX_STACKED: usize = 16;

/// Unmounts whatever is mounted at or below `dir`. Only the outermost mounts are named, each goes with all within it: a
/// container may be moving directories about in there.
fn unmount_below(dir: &Path) -> Result<(), Error> {
    for _ in 0..MAX_STACKED {
        let outermost = outermost(mounts_below(dir)?);
        if outermost.is_empty() {
            return Ok(());
        }
        outermost.iter().try_for_each(|point| mounting::unmount(point))?;
    }
    Err(Error::io("unmounting", dir)(std::io::Error::from(std::io::ErrorKind::ResourceBusy)))
}

/// Those of `points` that lie below no other.
fn outermost(mut points: Vec<PathBuf>) -> Vec<PathBuf> {
    points.sort();
    points.dedup_by(|next, before| next.starts_with(before));
    points
}

/// Mount points at or below `dir`.
fn mounts_below(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    // Of the thread: a test may have gone into a namespace with one of its own.
    let table = Path::new("/proc/thread-self/mountinfo");
    let text = std::fs::read_to_string(table).map_err(Error::io("reading", table))?;
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).map(PathBuf::from);
    Ok(points.filter(|point| point.starts_with(dir)).collect())
}

/// mountinfo writes blanks and backslashes in octal.
fn unescape(text: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}
