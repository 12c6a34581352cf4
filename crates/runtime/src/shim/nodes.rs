//! Device nodes: made in a container's `/dev`, or, where its root may not make any, made for it elsewhere.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, chownat, openat};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::rootfs::{Result, clone_mount};
use crate::kernel;

/// Makes every device of `linux`, as detached mounts to be attached over files. They are made on `place`, a directory that
/// nothing is mounted on yet, in a namespace that is cut off from the node's. What belongs to the node's root then
/// belongs to `root`.
pub(super) fn make(linux: Option<&Linux>, place: &Path, root: (u32, u32)) -> Result<Vec<OwnedFd>> {
    let failed = |error: io::Error| format!("making devices: {error}");
    mount("devices", place, "tmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, Some(c"mode=755"))
        .map_err(|error| failed(error.into()))?;
    let nodes = make_all(linux, place, root).map_err(failed);
    unmount(place, UnmountFlags::DETACH).map_err(|error| failed(error.into()))?;
    nodes
}

fn make_all(linux: Option<&Linux>, place: &Path, root: (u32, u32)) -> io::Result<Vec<OwnedFd>> {
    let directory = openat(CWD, place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut nodes = Vec::new();
    for (number, device) in linux.and_then(|linux| linux.devices().as_ref()).into_iter().flatten().enumerate() {
        let name = number.to_string();
        let shifted = |id: Option<u32>, base: u32| base.saturating_add(id.unwrap_or(0));
        let owner = (shifted(device.uid(), root.0), shifted(device.gid(), root.1));
        make_one(directory.as_fd(), OsStr::new(&name), device, owner)?;
        let node = openat(&directory, &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        nodes.push(clone_mount(node.as_fd(), false)?);
    }
    Ok(nodes)
}

/// Makes the node of `device`, called `name`, in `directory`.
pub(super) fn make_one(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    device: &LinuxDevice,
    owner: (u32, u32),
) -> io::Result<()> {
    let name = CString::new(name.as_encoded_bytes())?;
    let kind = match device.typ() {
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::P => libc::S_IFIFO,
        _ => libc::S_IFCHR,
    };
    let number = rustix::fs::makedev(device.major() as u32, device.minor() as u32);
    kernel::make_node(directory, &name, kind | device.file_mode().unwrap_or(0o666), number)?;
    if owner != (0, 0) {
        let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        chownat(directory, name.as_c_str(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}
