//! The files of one container's log: found and opened so that none of them lies outside of the Pod's log directory.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Where one instance of a container writes, and wrote before rotation: `<log>.<time>`.
#[derive(Clone, Debug)]
pub(super) struct LogFiles {
    /// The Pod's log directory.
    root: PathBuf,
    /// The current log.
    log: PathBuf,
}

impl LogFiles {
    /// The files of `log`, which must lie below `root`.
    pub(super) fn new(root: PathBuf, log: PathBuf) -> io::Result<Self> {
        if log.strip_prefix(&root).is_err() || log.file_name().is_none() {
            return Err(io::Error::other("the container's log is outside of its Pod's log directory"));
        }
        Ok(Self { root, log })
    }

    /// Where the current log is, and where a new one appears after rotation.
    pub(super) fn directory(&self) -> &Path {
        self.log.parent().unwrap_or(&self.root)
    }

    /// The current log.
    pub(super) fn current(&self) -> &Path {
        &self.log
    }

    /// All files, oldest first, the current one last. Those that were compressed are left out.
    pub(super) fn all(&self) -> Vec<PathBuf> {
        let prefix = format!("{}.", self.log.file_name().unwrap_or_default().to_string_lossy());
        let entries = std::fs::read_dir(self.directory()).into_iter().flatten().flatten();
        let is_rotated = |entry: &std::fs::DirEntry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Dates begin with a digit; that leaves out what a rotation in progress may have made.
            name.strip_prefix(&prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
                && !name.ends_with(".gz")
                && !name.ends_with(".tmp")
        };
        let mut files: Vec<PathBuf> = entries.filter(is_rotated).map(|entry| entry.path()).collect();
        files.sort();
        files.push(self.log.clone());
        files
    }

    /// Opens one of the files. The kernel refuses every way out of the log directory; a pipe or device is no log.
    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        let inside = path.strip_prefix(&self.root).map_err(io::Error::other)?;
        let root = rustix::fs::open(&self.root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let file: OwnedFd =
            rustix::fs::openat2(&root, inside, flags, Mode::empty(), resolve).map_err(|errno| match errno {
                Errno::XDEV => io::Error::other("the container's log leads out of its Pod's log directory"),
                errno => errno.into(),
            })?;
        let file = File::from(file);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("the container's log is not a regular file"));
        }
        Ok(file)
    }

    /// The inode of the current log; none while a rotation has moved it away.
    pub(super) fn current_inode(&self) -> Option<u64> {
        std::fs::symlink_metadata(&self.log).ok().map(|metadata| metadata.ino())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn rotated_files_come_first_and_nothing_else() {
        let dir = tempfile::tempdir().expect("dir");
        let log = dir.path().join("0.log");
        for name in
            ["0.log", "0.log.20260102-000000", "0.log.20260101-000000", "1.log", "0.log.20250101-000000.gz", "0.logx"]
        {
            fs::write(dir.path().join(name), name).expect("write");
        }
        let files = LogFiles::new(dir.path().to_path_buf(), log).expect("inside").all();
        let names: Vec<_> = files.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["0.log.20260101-000000", "0.log.20260102-000000", "0.log"]);
    }

    #[test]
    fn no_way_leads_out() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path().join("pod");
        fs::create_dir_all(root.join("c")).expect("mkdir");
        fs::write(dir.path().join("secret"), "secret").expect("write");
        fs::write(root.join("c/inside.log"), "fine").expect("write");
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, root.join("c").join(name)).expect("link");
        link("../../secret", "relative.log");
        link("/etc/passwd", "absolute.log");
        link("inside.log", "link.log");
        rustix::fs::mknodat(rustix::fs::CWD, root.join("c/fifo.log"), rustix::fs::FileType::Fifo, Mode::RUSR, 0)
            .expect("fifo");
        let open = |name: &str| {
            let log = root.join("c").join(name);
            LogFiles::new(root.clone(), log.clone()).and_then(|files| files.open(&log))
        };
        assert!(open("inside.log").is_ok());
        assert!(open("link.log").is_ok());
        for (name, why) in [
            ("relative.log", "leads out"),
            ("absolute.log", "leads out"),
            ("../../secret", "leads out"),
            ("fifo.log", "not a regular file"),
            ("missing.log", "No such file"),
        ] {
            let said = open(name).expect_err(name).to_string();
            assert!(said.contains(why), "{name}: {said}");
        }
        assert!(LogFiles::new(root, "/etc/passwd".into()).is_err());
    }
}
