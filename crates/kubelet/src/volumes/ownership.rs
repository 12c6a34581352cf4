//! `fsGroup`: gives a volume to a group, with what the group needs to use it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, chmodat, chownat, openat, statat};

use crate::Error;

/// What the group may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    ReadWrite,
}

/// Directories nested deeper than this are left as they are.
const MAX_DEPTH: usize = 64;

/// Gives everything below `path` to `group`; new files will belong to it too. Symlinks are not followed.
pub(super) fn give_to_group(path: &Path, group: Option<i64>, access: Access) -> Result<(), Error> {
    let Some(group) = group.and_then(|group| u32::try_from(group).ok()) else { return Ok(()) };
    let group = Gid::from_raw(group);
    give(CWD, path, group, access, 0).map_err(Error::io("giving to the Pod's fsGroup", path))
}

fn give(parent: BorrowedFd<'_>, name: &Path, group: Gid, access: Access, depth: usize) -> rustix::io::Result<()> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    chownat(parent, name, None, Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Symlink {
        return Ok(());
    }
    let wanted = match (access, kind) {
        (Access::Read, FileType::Directory) => 0o2550,
        (Access::ReadWrite, FileType::Directory) => 0o2770,
        (Access::Read, _) => 0o440,
        (Access::ReadWrite, _) => 0o660,
    };
    chmodat(parent, name, Mode::from_raw_mode((stat.st_mode & 0o7777) | wanted), AtFlags::empty())?;
    if kind != FileType::Directory || depth >= MAX_DEPTH {
        return Ok(());
    }
    let directory = openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            let name = Path::new(OsStr::from_bytes(name.to_bytes()));
            give(directory.as_fd(), name, group, access, depth + 1)?;
        }
    }
    Ok(())
}
