//! Unpacking one layer into a directory that overlayfs can take as it is.
//!
//! Paths are resolved by the kernel within the layer's root; nothing in an archive can name anything outside. A layer
//! may go through symbolic links of the layers below it (`lib -> usr/lib`), so all but the lowest are unpacked
//! through an overlay mount over those, in a mount namespace that only the unpacking thread ever sees. That also makes
//! every deletion what it must be: a real one, which overlayfs records in its own form.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat,
    linkat, mkdirat, openat2, readlinkat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use tar::EntryType;

use super::Error;
use super::digest::Digesting;
use super::entries::Archive;
use super::source::{LayerSource, decompress};
use crate::links::{MAX_LINKS, leads_to};

/// Bounds on one layer, unpacked.
const MAX_ENTRIES: usize = 2_000_000;
const MAX_XATTR_BYTES: usize = 64 * 1024;
/// The paths of its directories, which are kept until their times are set.
const MAX_DIRECTORY_PATHS_BYTES: usize = 128 << 20;
/// Directories of the layers below, one in the other, that a layer may delete.
const MAX_DELETED_DEPTH: usize = 512;

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";
const XATTR_RECORD: &str = "SCHILY.xattr.";

/// The layers that the one to be unpacked lies on, and how large it may be.
#[derive(Clone, Copy)]
pub(super) struct Below<'a> {
    pub(super) layers: &'a Path,
    /// Topmost first.
    pub(super) names: &'a [String],
    pub(super) limit_bytes: u64,
}

/// Unpacks `layer` into `place/root` and returns the size of its files. Its bytes must have the digest `diff_id`.
pub(super) fn apply(layer: &LayerSource, diff_id: &str, place: &Path, below: &Below<'_>) -> Result<u64, Error> {
    let (root, work, merged) = (place.join("root"), place.join("work"), place.join("merged"));
    for directory in [&root, &work, &merged] {
        fs::create_dir_all(directory).map_err(Error::io(format!("creating {}", directory.display())))?;
    }
    if let Some(declared) = &layer.digest {
        verify_file(layer, declared)?;
    }
    if below.names.is_empty() {
        return unpack(layer, diff_id, &root, below.limit_bytes);
    }
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            mount_over(&root, &work, &merged, below).map_err(Error::io("mounting the layers below"))?;
            unpack(layer, diff_id, &merged, below.limit_bytes)
        });
        work.join().map_err(|_| Error::Layer("unpacking failed unexpectedly".to_owned()))?
    })
}

fn verify_file(layer: &LayerSource, declared: &str) -> Result<(), Error> {
    let what = layer.path.display().to_string();
    let file = File::open(&layer.path).map_err(Error::io(format!("opening {what}")))?;
    let actual = Digesting::new(file, u64::MAX).finish().map_err(Error::io(format!("reading {what}")))?;
    if actual == declared { Ok(()) } else { Err(Error::Digest { what, expected: declared.to_owned(), actual }) }
}

/// Gives the calling thread a mount namespace of its own, and in it the layers below with `root` on top.
fn mount_over(root: &Path, work: &Path, merged: &Path, below: &Below<'_>) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // Short relative names: the kernel takes one page of options.
    rustix::process::chdir(below.layers)?;
    let (root, work) = (root.display(), work.display());
    let data = format!("lowerdir={},upperdir={root},workdir={work}", below.names.join(":"));
    mount("overlay", merged, "overlay", MountFlags::empty(), Some(CString::new(data)?.as_c_str()))?;
    Ok(())
}

fn unpack(layer: &LayerSource, diff_id: &str, root: &Path, limit_bytes: u64) -> Result<u64, Error> {
    let what = layer.path.display().to_string();
    let file = File::open(&layer.path).map_err(Error::io(format!("opening {what}")))?;
    let plain = decompress(file).map_err(Error::io(format!("reading {what}")))?;
    let mut bytes = Digesting::new(plain, limit_bytes);
    let mut tree = Tree::open(root, limit_bytes).map_err(Error::io(format!("opening {}", root.display())))?;
    let mut archive = Archive::new(&mut bytes);
    let unreadable = |error: io::Error| Error::Layer(format!("{what} is not a readable tar: {error}"));
    for (number, entry) in archive.entries().map_err(unreadable)?.enumerate() {
        if number >= MAX_ENTRIES {
            return Err(Error::Layer(format!("{what} holds more than {MAX_ENTRIES} files")));
        }
        let mut entry = entry.map_err(unreadable)?;
        let path = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
        tree.add(&mut entry).map_err(|error| Error::Layer(format!("{path:?}: {error}")))?;
    }
    tree.finish().map_err(Error::io(format!("finishing {}", root.display())))?;
    let size = tree.size_bytes;
    let actual = bytes.finish().map_err(unreadable)?;
    if actual == diff_id { Ok(size) } else { Err(Error::Digest { what, expected: diff_id.to_owned(), actual }) }
}

/// A directory tree that takes the entries of a tar.
struct Tree {
    root: OwnedFd,
    size_bytes: u64,
    /// What `size_bytes` may become.
    limit_bytes: u64,
    /// Set last: making what is inside changes them.
    directory_times: Vec<(PathBuf, Timestamps)>,
    directory_paths_bytes: usize,
    own: Own,
}

/// What a layer itself has put in its place: an opaque mark hides only what was there before. Of a million files, the
/// paths would take more memory than all the rest; a hash that nobody can foresee does.
#[derive(Default)]
struct Own {
    hashes: HashSet<u64>,
    state: RandomState,
}

impl Own {
    fn insert(&mut self, path: &Path) {
        self.hashes.insert(self.state.hash_one(path));
    }

    fn contains(&self, path: &Path) -> bool {
        self.hashes.contains(&self.state.hash_one(path))
    }
}

/// What an entry in a layer is for.
#[derive(Debug, PartialEq, Eq)]
enum Meaning<'a> {
    /// Hides everything that lower layers have in this directory.
    Opaque,
    /// Deletes this name.
    Whiteout(&'a OsStr),
    /// A file to be made.
    File,
}

fn meaning(name: &OsStr) -> Meaning<'_> {
    if name == OPAQUE {
        return Meaning::Opaque;
    }
    match name.as_bytes().strip_prefix(WHITEOUT.as_bytes()) {
        Some(hidden) => Meaning::Whiteout(OsStr::from_bytes(hidden)),
        None => Meaning::File,
    }
}

impl Tree {
    fn open(root: &Path, limit_bytes: u64) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, root, flags, Mode::empty())?;
        let (directory_times, own) = (Vec::new(), Own::default());
        Ok(Self { root, size_bytes: 0, limit_bytes, directory_times, directory_paths_bytes: 0, own })
    }

    fn add(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> io::Result<()> {
        let path = confine(Path::new(OsStr::from_bytes(&entry.path_bytes())))?;
        let Some(name) = path.file_name() else {
            return self.describe_root(entry);
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        let directory = self.directory(parent)?;
        match meaning(name) {
            Meaning::Opaque => self.clear(&directory, parent),
            Meaning::Whiteout(hidden) if matches!(hidden.as_bytes(), b"" | b"." | b"..") => {
                Err(invalid("a deletion mark that names nothing"))
            }
            Meaning::Whiteout(hidden) => remove(&directory, hidden, MAX_DELETED_DEPTH),
            Meaning::File => {
                self.make(entry, &directory, name)?;
                self.dress(entry, &directory, &path)?;
                self.own.insert(&path);
                Ok(())
            }
        }
    }

    fn describe_root(&mut self, entry: &tar::Entry<'_, impl Read>) -> io::Result<()> {
        let header = entry.header();
        let root = self.directory(Path::new(""))?;
        rustix::fs::fchown(
            &root,
            Some(Uid::from_raw(number(header.uid()?)?)),
            Some(Gid::from_raw(number(header.gid()?)?)),
        )?;
        rustix::fs::fchmod(&root, Mode::from_raw_mode(header.mode()? & 0o7777))?;
        Ok(())
    }

    /// Opens the directory `path`, making what is missing.
    fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        self.directory_by(path, MAX_LINKS)
    }

    fn directory_by(&self, path: &Path, links: u32) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let name = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match openat2(&self.root, name, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::NOENT) => {}
            other => return Ok(other?),
        }
        let name = path.file_name().ok_or_else(|| invalid("not a path"))?;
        let above = path.parent().unwrap_or(Path::new(""));
        let parent = self.directory_by(above, links)?;
        match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            // A link that leads to nothing yet.
            Err(rustix::io::Errno::EXIST) if links > 0 => {
                let link = readlinkat(&parent, name, Vec::new())?;
                let link = Path::new(OsStr::from_bytes(link.as_bytes()));
                self.directory_by(&leads_to(above, link), links - 1)?;
            }
            made => made?,
        }
        Ok(openat2(&self.root, path, flags, Mode::empty(), resolve)?)
    }

    fn make(&mut self, entry: &mut tar::Entry<'_, impl Read>, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let kind = entry.header().entry_type();
        let there = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let is_directory = there.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        if there.is_some() && !(kind.is_dir() && is_directory) {
            remove(directory, name, MAX_DELETED_DEPTH)?;
        }
        match kind {
            EntryType::Directory if is_directory => Ok(()),
            EntryType::Directory => Ok(mkdirat(directory, name, Mode::from_raw_mode(0o755))?),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.write(entry, directory, name),
            EntryType::Symlink => Ok(symlinkat(link_name(entry)?, directory, name)?),
            EntryType::Link => self.link(&link_name(entry)?, directory, name),
            EntryType::Char | EntryType::Block | EntryType::Fifo => make_device(entry, directory, name),
            other => Err(invalid(&format!("an entry of the unknown type {:?}", other.as_byte() as char))),
        }
    }

    fn write(&mut self, entry: &mut tar::Entry<'_, impl Read>, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600))?);
        // Holes count: they are written as zeros, and a few bytes of an archive can speak of as many as they like.
        let room = self.limit_bytes.saturating_sub(self.size_bytes);
        let written = io::copy(&mut entry.take(room.saturating_add(1)), &mut file)?;
        self.size_bytes += written;
        if written > room { Err(invalid("more data than an image may have")) } else { Ok(()) }
    }

    /// A hard link to a file that is in the tree already.
    fn link(&self, target: &OsStr, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let target = confine(Path::new(target))?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = openat2(&self.root, &target, flags, Mode::empty(), resolve)?;
        Ok(linkat(&file, "", directory, name, AtFlags::EMPTY_PATH)?)
    }

    /// Owner, extended attributes, mode and times, in the order in which one does not undo another.
    fn dress(&mut self, entry: &mut tar::Entry<'_, impl Read>, directory: &OwnedFd, path: &Path) -> io::Result<()> {
        let kind = entry.header().entry_type();
        let name = path.file_name().unwrap_or_default();
        if kind == EntryType::Link {
            return Ok(());
        }
        let (uid, gid) = (number(entry.header().uid()?)?, number(entry.header().gid()?)?);
        chownat(directory, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)?;
        if kind != EntryType::Symlink {
            if matches!(kind, EntryType::Regular | EntryType::Directory) {
                set_attributes(entry, directory, name)?;
            }
            chmodat(directory, name, Mode::from_raw_mode(entry.header().mode()? & 0o7777), AtFlags::empty())?;
        }
        let time = Timespec { tv_sec: entry.header().mtime()? as i64, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        if kind.is_dir() {
            self.directory_paths_bytes += path.as_os_str().len();
            if self.directory_paths_bytes > MAX_DIRECTORY_PATHS_BYTES {
                return Err(invalid("more directories than an image may have"));
            }
            self.directory_times.push((path.to_path_buf(), times));
            return Ok(());
        }
        Ok(utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Removes everything in a directory that this layer has not put there itself.
    fn clear(&self, directory: &OwnedFd, path: &Path) -> io::Result<()> {
        for entry in rustix::fs::Dir::read_from(directory)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if !matches!(name.as_bytes(), b"." | b"..") && !self.own.contains(&path.join(name)) {
                remove(directory, name, MAX_DELETED_DEPTH)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        for (path, times) in self.directory_times.drain(..).rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            // A later entry may have replaced it by something else, which has its own time.
            if let Ok(directory) = openat2(&self.root, &path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
                rustix::fs::futimens(&directory, &times)?;
            }
        }
        Ok(())
    }
}

/// The path within the root: no `..`, no root of its own.
fn confine(path: &Path) -> io::Result<PathBuf> {
    let mut confined = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => confined.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(invalid("a path that leads out of the image")),
        }
    }
    Ok(confined)
}

/// Removes a file or a whole directory; what is not there is gone already. Not by moving anything, which an overlay does
/// not do with directories of the layers below.
fn remove(directory: &OwnedFd, name: &OsStr, depth: usize) -> io::Result<()> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let below = depth.checked_sub(1).ok_or_else(|| invalid("directories that are nested too deeply to be deleted"))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    for entry in rustix::fs::Dir::read_from(&inner)? {
        let entry = entry?;
        let child = OsStr::from_bytes(entry.file_name().to_bytes());
        if !matches!(child.as_bytes(), b"." | b"..") {
            remove(&inner, child, below)?;
        }
    }
    Ok(unlinkat(directory, name, AtFlags::REMOVEDIR)?)
}

fn make_device(entry: &tar::Entry<'_, impl Read>, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let header = entry.header();
    let kind = match header.entry_type() {
        EntryType::Char => libc::S_IFCHR,
        EntryType::Block => libc::S_IFBLK,
        _ => libc::S_IFIFO,
    };
    let (major, minor) = (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0));
    if kind == libc::S_IFCHR && (major, minor) == (0, 0) {
        return Err(invalid("a device that overlayfs would take for a deletion"));
    }
    let device = if kind == libc::S_IFIFO { 0 } else { rustix::fs::makedev(major, minor) };
    crate::kernel::make_node(directory.as_fd(), &CString::new(name.as_bytes())?, kind | 0o600, device)
}

fn set_attributes(entry: &mut tar::Entry<'_, impl Read>, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let Some(records) = entry.pax_extensions()? else { return Ok(()) };
    let mut total = 0;
    for record in records {
        let record = record?;
        let Some(attribute) = record.key().ok().and_then(|key| key.strip_prefix(XATTR_RECORD)) else { continue };
        total += record.value_bytes().len();
        // What overlayfs keeps for itself is not an image's to set.
        if attribute.starts_with("trusted.overlay.") || attribute.starts_with("user.overlay.") {
            return Err(invalid("an attribute that belongs to overlayfs"));
        }
        if total > MAX_XATTR_BYTES {
            return Err(invalid("too many extended attributes"));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
        match rustix::fs::fsetxattr(&file, attribute, record.value_bytes(), XattrFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn link_name(entry: &tar::Entry<'_, impl Read>) -> io::Result<std::ffi::OsString> {
    let name = entry.link_name_bytes().ok_or_else(|| invalid("a link to nothing"))?;
    Ok(OsStr::from_bytes(&name).to_os_string())
}

fn number(id: u64) -> io::Result<u32> {
    u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or_else(|| invalid("an owner that does not exist"))
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests;
