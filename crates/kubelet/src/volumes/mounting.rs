//! Directories and tmpfs mounts for volumes.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags, fchmod, openat, statx};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    move_mount,
};

use crate::Error;

/// Makes the directory with exactly `mode`, and its parents.
pub(super) fn make_dir(path: &Path, mode: u32) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(Error::io("creating", path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(Error::io("setting the mode of", path))
}

/// Whether a file system is mounted at `path`.
pub(super) fn is_mounted(path: &Path) -> Result<bool, Error> {
    let device =
        |path: &Path| path.symlink_metadata().map(|metadata| metadata.dev()).map_err(Error::io("reading", path));
    match path.parent() {
        Some(parent) => Ok(device(path)? != device(parent)?),
        None => Ok(true),
    }
}

/// Whether `found` itself is mounted at `point`.
pub(super) fn shows(point: &Path, found: &OwnedFd) -> Result<bool, Error> {
    let wanted = StatxFlags::INO | StatxFlags::TYPE;
    let there = match statx(CWD, point, AtFlags::SYMLINK_NOFOLLOW, wanted) {
        Ok(there) => there,
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        Err(error) => return Err(Error::io("reading", point)(error)),
    };
    let found = statx(found, "", AtFlags::EMPTY_PATH, wanted).map_err(Error::io("reading what is for", point))?;
    let identity = |of: &rustix::fs::Statx| (of.stx_dev_major, of.stx_dev_minor, of.stx_ino);
    Ok(there.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) && identity(&there) == identity(&found))
}

/// Unmounts what is mounted at `point`, with all that is mounted within; nothing may be. What a mount shares with others
/// is made its own first: an unmount within it would happen to them too, and they may be the node's `/`.
pub(super) fn unmount(point: &Path) -> Result<(), Error> {
    match mount(None::<&str>, point, None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>) {
        Ok(()) => {}
        Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
        Err(error) => return Err(Error::io("making private", point)(error)),
    }
    umount2(point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).map_err(Error::io("unmounting", point))
}

/// Mounts a file system in memory on the directory `path`, for everybody and `group`, of at most `limit_bytes`.
pub(super) fn mount_tmpfs(path: &Path, group: Option<i64>, limit_bytes: Option<i64>) -> Result<(), Error> {
    let size = limit_bytes.map(|limit| format!(",size={limit}")).unwrap_or_default();
    let options = format!("{}{size}", open_to(group));
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options.as_str()))
        .map_err(Error::io("mounting tmpfs on", path))
}

/// The options that make a root that everybody may write to; with a group, new files in it are the group's. All at once
/// with the mount: what is mounted is whole.
fn open_to(group: Option<i64>) -> String {
    group.map_or_else(|| "mode=777".to_owned(), |group| format!("mode=2777,gid={group}"))
}

/// Mounts huge pages of `page_size` (`2Mi`) on the directory `path`, for everybody and `group`.
pub(super) fn mount_huge_pages(path: &Path, group: Option<i64>, page_size: &str) -> Result<(), Error> {
    huge_pages(path, group, page_size).map_err(Error::io("mounting huge pages on", path))
}

fn huge_pages(path: &Path, group: Option<i64>, page_size: &str) -> rustix::io::Result<()> {
    let made = fsopen("hugetlbfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(made.as_fd(), "pagesize", page_size.trim_end_matches('i'))?;
    if let Some(group) = group {
        fsconfig_set_string(made.as_fd(), "gid", group.to_string())?;
    }
    fsconfig_create(made.as_fd())?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mounted = fsmount(made.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    // The mount option for this takes no set-group-id bit, and what is mounted is whole.
    let root = openat(&mounted, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    fchmod(&root, Mode::from_raw_mode(if group.is_some() { 0o2777 } else { 0o777 }))?;
    move_mount(mounted.as_fd(), "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}
