//! The program of the shims, where no container can write to it.
//!
//! A process that is about to become a container's program is for a moment visible in the container as a copy of the
//! shim, and `/proc/<pid>/exe` leads to the shim's file, which belongs to the node's administrator (CVE-2019-5736).
//! So shims run from a read-only mount of that file: through it nobody writes, whatever capabilities a container has.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};

use crate::error::{Error, Result};

/// Below the state directory; it is also how a shim is called in a list of processes.
const FILE: &str = "sampan-shim";

/// Mounts the program that `command` begins with, as it is now, and returns the command that runs it from there.
pub(crate) fn seal(command: &[OsString], state: &Path) -> Result<Vec<OsString>> {
    let (program, args) =
        command.split_first().ok_or_else(|| Error::Invalid("no shim command is configured".to_owned()))?;
    let path = end(state);
    let program = Path::new(program);
    let sealed = || -> io::Result<()> {
        File::create(&path)?;
        mount_bind(program, &path)?;
        Ok(mount_remount(&path, MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV, "")?)
    };
    sealed().map_err(Error::io(format!("mounting {} on {}", program.display(), path.display())))?;
    Ok(std::iter::once(path.into_os_string()).chain(args.iter().cloned()).collect())
}

/// Unmounts it; shims that run from it go on. Returns where it was.
pub(crate) fn end(state: &Path) -> PathBuf {
    let path = state.join(FILE);
    // Also one that a killed predecessor has left; the program may be another by now.
    while unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
    path
}
