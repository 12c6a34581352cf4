//! Sub-paths of volumes, resolved so that no symlink leads out of the volume, not even one that a container swaps in
//! meanwhile: the kernel resolves beneath an open directory, and the very file it found is bind-mounted where
//! containers cannot reach.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use nix::mount::{MsFlags, mount};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fchmod, fstat, mkdirat, openat, openat2};

use super::mounting;
use crate::{Error, regular_file};

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// Bind-mounts `sub_path` of `volume` at `target`, making directories that are missing, and gives the target. A container
/// that starts again finds it mounted: what is mounted belongs to the volume, and is neither opened nor changed here.
pub(crate) fn expose(volume: &Path, sub_path: &str, target: &Path) -> Result<PathBuf, Error> {
    let found = open(volume, sub_path)?;
    if mounting::shows(target, &found)? {
        return Ok(target.to_path_buf());
    }
    mounting::unmount(target)?;
    make_point(target, &found)?;
    let source = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    mount(Some(&source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(Error::io("bind-mounting", target))?;
    Ok(target.to_path_buf())
}

/// Makes what `found` is mounted on: a directory for a directory, a file for everything else. Nothing is mounted there.
fn make_point(target: &Path, found: &OwnedFd) -> Result<(), Error> {
    if let Some(parent) = target.parent() {
        mounting::make_dir(parent, 0o750)?;
    }
    let stat = fstat(found).map_err(Error::io("reading", target))?;
    let wants_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    // The sub-path may have been of the other sort when it was mounted before.
    match target.symlink_metadata().map(|metadata| metadata.is_dir()) {
        Ok(is_dir) if is_dir == wants_dir => return Ok(()),
        Ok(true) => std::fs::remove_dir(target).map_err(Error::io("removing", target))?,
        Ok(false) => std::fs::remove_file(target).map_err(Error::io("removing", target))?,
        Err(_) => {}
    }
    let made = match wants_dir {
        true => std::fs::DirBuilder::new().mode(0o750).create(target),
        false => std::fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(target).map(drop),
    };
    made.map_err(Error::io("creating", target))
}

/// Opens `sub_path` beneath `volume`, making directories that are missing.
fn open(volume: &Path, sub_path: &str) -> Result<OwnedFd, Error> {
    let relative = Path::new(sub_path.trim_start_matches("./"));
    if !relative.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir)) {
        return Err(Error::Config(format!("subPath {sub_path:?} must be relative and must not contain '..'")));
    }
    let root =
        openat(CWD, volume, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).map_err(Error::io("opening", volume))?;
    let refused = |error: rustix::io::Errno| match error {
        rustix::io::Errno::XDEV | rustix::io::Errno::LOOP => {
            Error::Config(format!("subPath {sub_path:?} leads out of its volume"))
        }
        other => Error::Io { doing: "opening sub-path", path: volume.join(sub_path), source: other.into() },
    };
    match openat2(&root, relative, OFlags::PATH, Mode::empty(), BENEATH) {
        Err(rustix::io::Errno::NOENT) => make(&root, relative).map_err(refused),
        found => found.map_err(refused),
    }
}

/// Opens the regular file `path` beneath `volume` for reading; nothing if there is none. No symlink leads out of the
/// volume.
pub(crate) fn open_beneath(volume: &Path, path: &str) -> Result<Option<std::fs::File>, Error> {
    let root =
        openat(CWD, volume, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).map_err(Error::io("opening", volume))?;
    let found = match openat2(&root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), BENEATH) {
        Ok(found) => found,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(Error::io("opening", &volume.join(path))(error)),
    };
    regular_file::reopen(&found).map(Some).map_err(Error::io("opening", &volume.join(path)))
}

/// Makes what is missing of `relative` with the mode that the volume itself has: whoever may write there, may here.
fn make(root: &OwnedFd, relative: &Path) -> rustix::io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(fstat(root)?.st_mode & 0o7777);
    let mut at: Option<OwnedFd> = None;
    let mut so_far = PathBuf::new();
    for component in relative.components() {
        so_far.push(component);
        let parent = at.as_ref().map_or(root.as_fd(), AsFd::as_fd);
        match mkdirat(parent, component.as_os_str(), mode) {
            Ok(()) => {
                // The umask has taken from the mode, and a set-group-id bit is nothing that is given here.
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                fchmod(openat(parent, component.as_os_str(), flags, Mode::empty())?, mode)?;
            }
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        at = Some(openat2(root, &so_far, OFlags::PATH, Mode::empty(), BENEATH)?);
    }
    at.ok_or(rustix::io::Errno::INVAL)
}
