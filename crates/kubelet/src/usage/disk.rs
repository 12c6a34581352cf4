//! Space and inodes: of whole file systems, as the kernel counts them, and of trees, which are walked.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::Error;

/// Entries that are counted of one tree; a larger one is taken for this large.
const MAX_ENTRIES: u64 = 1_000_000;
/// What `st_blocks` counts in.
const BLOCK_BYTES: u64 = 512;

/// A file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) capacity_bytes: u64,
    pub(crate) available_bytes: u64,
    pub(crate) inodes: u64,
    pub(crate) inodes_free: u64,
}

impl Space {
    /// The file system that `path` is on.
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let disk = rustix::fs::statvfs(path).map_err(Error::io("reading the space of", path))?;
        Ok(Self {
            capacity_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
            available_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
            inodes: disk.f_files,
            inodes_free: disk.f_favail,
        })
    }
}

/// What a tree takes of its file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) bytes: u64,
    pub(crate) inodes: u64,
}

impl Tree {
    /// Walks the tree at `path`, staying on its file system; what is gone meanwhile takes nothing. Blocks.
    pub(crate) fn of(path: &Path) -> Self {
        let mut tree = Self::default();
        let Ok(root) = path.symlink_metadata() else { return tree };
        let mut linked = HashSet::new();
        let mut pending = vec![(path.to_path_buf(), root.clone())];
        while let Some((path, metadata)) = pending.pop() {
            // A file with several names takes its space once.
            if metadata.nlink() > 1 && !metadata.is_dir() && !linked.insert(metadata.ino()) {
                continue;
            }
            tree = tree.and(Self { bytes: metadata.blocks() * BLOCK_BYTES, inodes: 1 });
            if tree.inodes >= MAX_ENTRIES {
                break;
            }
            if metadata.is_dir() {
                let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
                let known = entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)));
                pending.extend(known.filter(|(_, metadata)| metadata.dev() == root.dev()));
            }
        }
        tree
    }

    /// The sum.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), inodes: self.inodes.saturating_add(other.inodes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), vec![1; 100_000]).unwrap();
        std::fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        std::fs::create_dir(dir.path().join("c")).unwrap();
        std::os::unix::fs::symlink("/proc", dir.path().join("d")).unwrap();
        let tree = Tree::of(dir.path());
        assert_eq!(tree.inodes, 4, "the directories, the file and the link");
        assert!((100_000..130_000).contains(&tree.bytes), "{tree:?}");
        assert_eq!(Tree::of(&dir.path().join("nothing")), Tree::default());
    }
}
