//! Image volumes: the files of an image, or a part of them, as a mount of their own.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::Mount;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::mount::{MountFlags, UnmountFlags, mount as mount_at, unmount};

use super::rootfs::{Result, clone_mount};
use crate::spec::PART_OPTION;

/// A detached mount of what `wanted` (of the type `image`) names. The layers lie in the working directory; `place` is a
/// directory that nothing is mounted on yet, in a namespace that is cut off from the node's.
pub(super) fn tree(wanted: &Mount, place: &Path) -> Result<OwnedFd> {
    let failed = |doing: &str, error: rustix::io::Errno| {
        format!("{doing} the image volume {}: {error}", wanted.destination().display())
    };
    let layers = wanted.source().as_deref().unwrap_or(Path::new(""));
    // Overlays are of two layers at least; one by itself is the tree.
    let alone = !layers.as_os_str().as_encoded_bytes().contains(&b':');
    if !alone {
        let data = CString::new(format!("lowerdir={}", layers.display())).map_err(|error| error.to_string())?;
        mount_at("overlay", place, "overlay", MountFlags::RDONLY, Some(data.as_c_str()))
            .map_err(|error| failed("mounting", error))?;
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let whole = openat(CWD, if alone { layers } else { place }, flags | OFlags::DIRECTORY, Mode::empty());
    let whole = whole.map_err(|error| failed("opening", error))?;
    let part = part(wanted);
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let wanted = match part {
        "" => Ok(whole),
        part => openat2(whole, part, flags, Mode::empty(), resolve),
    };
    let tree = clone_mount(wanted.map_err(|error| failed(&format!("opening {part:?} in"), error))?.as_fd(), false);
    if !alone {
        unmount(place, UnmountFlags::DETACH).map_err(|error| failed("detaching", error))?;
    }
    tree.map_err(|error| format!("copying an image volume's mount: {error}"))
}

fn part(wanted: &Mount) -> &str {
    let words = wanted.options().iter().flatten();
    let found = words.filter_map(|word| word.split_once('=')).find(|(key, _)| *key == PART_OPTION);
    found.map_or("", |(_, value)| value)
}
