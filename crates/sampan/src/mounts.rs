//! What is mounted below a directory: a directory is deleted only when nothing is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::mount::{MountPropagationFlags, UnmountFlags};

/// Unmounts everything below `dir`, the last mounted first.
pub(crate) fn unmount_below(dir: &Path) -> Result<()> {
    let points = below(dir)?;
    for path in &points {
        // An unmount within a shared mount would happen to what it is shared with too: the node's own directories.
        rustix::mount::mount_change(path, MountPropagationFlags::PRIVATE)
            .with_context(|| format!("making {} private", path.display()))?;
    }
    for path in points.into_iter().rev() {
        rustix::mount::unmount(&path, UnmountFlags::DETACH)
            .with_context(|| format!("unmounting {}", path.display()))?;
    }
    Ok(())
}

/// Deletes `dir` with all that is in it. What is mounted there belongs to someone else and is never touched.
pub(crate) fn remove_dir(dir: &Path) -> Result<()> {
    if let Some(mounted) = below(dir)?.first() {
        bail!(
            "{} is still mounted, so {} is not deleted; unmount it and run this again",
            mounted.display(),
            dir.display()
        );
    }
    sampan_trees::remove(dir).with_context(|| format!("deleting {}", dir.display()))
}

/// The mount points below `dir`, in the order they were mounted.
fn below(dir: &Path) -> Result<Vec<PathBuf>> {
    let Ok(dir) = dir.canonicalize() else { return Ok(Vec::new()) };
    let table = std::fs::read_to_string("/proc/self/mountinfo").context("reading the mount table")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    Ok(points.filter(|point| point.starts_with(&dir)).collect())
}

/// The kernel writes blanks and backslashes in paths as octal numbers.
fn unescape(text: &str) -> PathBuf {
    let mut path = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        path.push_str(plain);
        let code = escaped.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                path.push(code.into());
                rest = &escaped[3..];
            }
            None => {
                path.push('\\');
                rest = escaped;
            }
        }
    }
    path.push_str(rest);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_the_kernel_writes_them() {
        assert_eq!(unescape(r"/a\040b\134c"), Path::new(r"/a b\c"));
        assert_eq!(unescape("/plain"), Path::new("/plain"));
    }

    #[test]
    fn a_directory_that_is_gone_is_no_error() {
        remove_dir(Path::new("/nonexistent/sampan")).unwrap();
        unmount_below(Path::new("/nonexistent/sampan")).unwrap();
    }
}
