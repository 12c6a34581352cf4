//! Regular files where containers can write, opened by the kubelet: never a device, whose opening may do something, nor a
//! pipe, whose opening waits.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat};

/// Opens the file `path` for reading; its last step may be no link.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    reopen(&rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens for reading what was found with `O_PATH`, which opens nothing yet.
pub(crate) fn reopen(found: &OwnedFd) -> io::Result<File> {
    match FileType::from_raw_mode(fstat(found)?.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(io::ErrorKind::IsADirectory.into()),
        _ => return Err(io::Error::other("not a regular file")),
    }
    // The kernel's own name of the very file that was looked at.
    let name = format!("/proc/self/fd/{}", found.as_raw_fd());
    Ok(rustix::fs::open(name, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustix::fs::{CWD, makedev, mknodat};

    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        let make = |name: &str, kind: FileType, device: u64| {
            mknodat(CWD, at(name), kind, Mode::from_raw_mode(0o600), device).unwrap();
        };
        make("pipe", FileType::Fifo, 0);
        // Nothing drives it: whoever opens it gets ENXIO.
        make("device", FileType::CharacterDevice, makedev(510, 77));
        let read = |name: &str| {
            let mut text = String::new();
            open(&at(name)).and_then(|mut file| file.read_to_string(&mut text)).map(|_| text)
        };
        assert_eq!(read("file").unwrap(), "text");
        for (name, want) in [
            ("link", "not a regular file"),
            ("pipe", "not a regular file"),
            ("device", "not a regular file"),
            (".", "is a directory"),
            ("none", "No such file or directory (os error 2)"),
        ] {
            assert_eq!(read(name).unwrap_err().to_string(), want, "{name}");
        }
    }
}
