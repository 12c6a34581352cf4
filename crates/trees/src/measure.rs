//! What a tree takes of its file system.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Stat, fstat, statat};

use crate::{is_dots, open};

/// Entries that are looked at in one tree; a larger one is taken for this large.
const MAX_ENTRIES: u64 = 1_000_000;
/// What `st_blocks` counts in.
const BLOCK_BYTES: u64 = 512;

/// A tree's space and inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Blocks on the disk, in bytes.
    pub bytes: u64,
    /// Files, links and directories, the tree's top among them.
    pub inodes: u64,
}

impl Tree {
    /// Walks the tree at `path`, staying on its file system; what is gone meanwhile takes nothing.
    pub fn of(path: &Path) -> Self {
        let mut walk = Walk::default();
        // An error ends the walk early: the tree is going, or its disk is.
        let _incomplete = walk.through(path);
        walk.found
    }

    /// The sum.
    pub fn and(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), inodes: self.inodes.saturating_add(other.inodes) }
    }
}

/// A directory on the way down, and those in it that are still to be walked.
struct Level {
    name: CString,
    identity: (u64, u64),
    below: Vec<CString>,
}

#[derive(Default)]
struct Walk {
    found: Tree,
    /// Entries looked at, a file by each of its names.
    looked_at: u64,
    /// Files with several names that have been counted: they take their space once.
    linked: HashSet<u64>,
}

impl Walk {
    fn through(&mut self, path: &Path) -> rustix::io::Result<()> {
        let top = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
        self.count(&top);
        if !is_directory(&top) {
            return Ok(());
        }
        let mut here = open(CWD, path)?;
        let mut way = vec![self.level(&here, &top, CString::default())?];
        while self.looked_at < MAX_ENTRIES
            && let Some(level) = way.last_mut()
        {
            if let Some(name) = level.below.pop() {
                let Ok(directory) = open(&here, &name) else { continue };
                let stat = fstat(&directory)?;
                if stat.st_dev == top.st_dev {
                    way.push(self.level(&directory, &stat, name)?);
                    here = directory;
                }
                continue;
            }
            way.pop();
            let Some(above) = way.last() else { break };
            let up = open(&here, c"..").ok().filter(|up| is(up, above.identity));
            here = match up {
                Some(up) => up,
                None => self.find_again(path, &mut way)?,
            };
        }
        Ok(())
    }

    /// Goes down again from the top, after somebody has moved a directory that was being walked: as far as names lead to
    /// what they led to before.
    fn find_again(&mut self, path: &Path, way: &mut Vec<Level>) -> rustix::io::Result<OwnedFd> {
        let mut here = open(CWD, path)?;
        let mut found = 1;
        for level in way.iter().skip(1) {
            self.looked_at += 1;
            let Some(next) = open(&here, &level.name).ok().filter(|next| is(next, level.identity)) else { break };
            (here, found) = (next, found + 1);
        }
        way.truncate(found);
        Ok(here)
    }

    /// Counts what is in a directory.
    fn level(&mut self, directory: &OwnedFd, stat: &Stat, name: CString) -> rustix::io::Result<Level> {
        let mut below = Vec::new();
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let inner = entry.file_name();
            if is_dots(inner) {
                continue;
            }
            self.looked_at += 1;
            let Ok(found) = statat(directory, inner, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if found.st_dev != stat.st_dev {
                continue;
            }
            self.count(&found);
            if is_directory(&found) {
                below.push(inner.to_owned());
            }
            if self.looked_at >= MAX_ENTRIES {
                break;
            }
        }
        Ok(Level { name, identity: identity(stat), below })
    }

    fn count(&mut self, stat: &Stat) {
        if stat.st_nlink > 1 && !is_directory(stat) && !self.linked.insert(stat.st_ino) {
            return;
        }
        let bytes = u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(BLOCK_BYTES);
        self.found = self.found.and(Tree { bytes, inodes: 1 });
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn is(directory: &OwnedFd, known: (u64, u64)) -> bool {
    fstat(directory).is_ok_and(|stat| identity(&stat) == known)
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tests::{nest, on_a_small_stack};

    #[test]
    fn a_tree_is_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), vec![1; 100_000]).unwrap();
        fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        fs::create_dir_all(dir.path().join("c/d")).unwrap();
        std::os::unix::fs::symlink("/proc", dir.path().join("e")).unwrap();
        let tree = Tree::of(dir.path());
        assert_eq!(tree.inodes, 5, "the directories, the file and the link");
        assert!((100_000..130_000).contains(&tree.bytes), "{tree:?}");
        assert_eq!(Tree::of(&dir.path().join("a")).inodes, 1);
        assert_eq!(Tree::of(&dir.path().join("nothing")), Tree::default());
    }

    #[test]
    fn nothing_is_too_deep_to_be_counted() {
        let dir = tempfile::tempdir().unwrap();
        let depth = 3000;
        let inner = nest(dir.path(), depth);
        let file = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
        let file = rustix::fs::openat(&inner, "file", file, rustix::fs::Mode::RUSR).unwrap();
        rustix::io::write(&file, &[1; 100_000]).unwrap();
        let top = dir.path().to_path_buf();
        let tree = on_a_small_stack(move || Tree::of(&top));
        assert_eq!(tree.inodes, depth as u64 + 2);
        assert!(tree.bytes >= 100_000, "{tree:?}");
        crate::remove(dir.path()).unwrap();
    }
}
