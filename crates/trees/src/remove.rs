//! The end of a tree.
//!
//! A directory that is not empty gives what is in it to the top of the tree, under a name of no meaning, until it is. So
//! every directory is moved once at most, and is never far from the top.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, renameat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::{is_dots, open};

/// Removes the tree at `path`; an absent one is removed already. A mount in it is an error, and what is mounted stays.
pub fn remove(path: &Path) -> io::Result<()> {
    path.into_with_c_str(|path| remove_at(CWD, path)).map_err(Into::into)
}

/// Removes the tree, file or link `name` in the directory `parent`; an absent one is removed already.
pub fn remove_at(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    if is_gone(parent, name)? {
        return Ok(());
    }
    let mut tree = Doomed { top: open(parent, name)?, moved: 0 };
    while tree.thin_out()? {}
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Removes a file, a link or an empty directory. False for a directory with something in it.
fn is_gone(directory: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<bool> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error),
    }
    match unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

struct Doomed {
    top: OwnedFd,
    /// How many directories have been moved to the top: the next one's name.
    moved: u64,
}

impl Doomed {
    /// Takes one look at the top, and removes or empties what is there. False if there is nothing.
    fn thin_out(&mut self) -> rustix::io::Result<bool> {
        let mut found = false;
        for entry in Dir::read_from(&self.top)? {
            let entry = entry?;
            if !is_dots(entry.file_name()) {
                found = true;
                self.empty(entry.file_name())?;
            }
        }
        Ok(found)
    }

    /// Removes what is called `name` at the top, if it can be done without what is in it; that moves to the top.
    fn empty(&mut self, name: &CStr) -> rustix::io::Result<()> {
        if is_gone(self.top.as_fd(), name)? {
            return Ok(());
        }
        let directory = open(&self.top, name)?;
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            if !is_dots(entry.file_name()) && !is_gone(directory.as_fd(), entry.file_name())? {
                self.move_up(directory.as_fd(), entry.file_name())?;
            }
        }
        // What came in meanwhile is found at the next look.
        is_gone(self.top.as_fd(), name).map(drop)
    }

    fn move_up(&mut self, from: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
        loop {
            self.moved += 1;
            match renameat(from, name, &self.top, self.moved.to_string()) {
                // Somebody has called something by a number too. An empty directory of that name is replaced, and is to
                // go anyway.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                outcome => return outcome,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tests::{nest, on_a_small_stack};

    #[test]
    fn a_tree_of_any_depth_goes() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir(&top).unwrap();
        nest(&top, 3000);
        on_a_small_stack(move || remove(&top)).unwrap();
        assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
    }

    #[test]
    fn whatever_it_holds_goes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (top, beside) = (dir.path().join("top"), dir.path().join("beside"));
        fs::create_dir_all(beside.join("kept")).unwrap();
        // Some are called what others would be moved to.
        for name in ["1", "a/b/c", "a/2/3", "3/1/1", "e/f"] {
            fs::create_dir_all(top.join(name)).unwrap();
            fs::write(top.join(name).join("file"), name).unwrap();
        }
        std::os::unix::fs::symlink("../../beside", top.join("a/link")).unwrap();
        std::os::unix::fs::symlink("nowhere", top.join("dangling")).unwrap();
        remove(&top).unwrap();
        assert!(!top.exists() && beside.join("kept").exists());
        remove(&top).expect("what is absent is removed already");
    }

    #[test]
    fn a_link_goes_and_not_what_it_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("kept/inner")).unwrap();
        std::os::unix::fs::symlink("kept", dir.path().join("link")).unwrap();
        remove(&dir.path().join("link")).unwrap();
        assert!(dir.path().join("kept/inner").exists() && !dir.path().join("link").is_symlink());
        let at = open(CWD, dir.path()).unwrap();
        remove_at(at.as_fd(), c"kept").unwrap();
        assert!(!dir.path().join("kept").exists());
    }
}
