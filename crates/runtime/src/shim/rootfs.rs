//! The container's view of the filesystem, built inside its own mount namespace.
//!
//! Every path inside the container is resolved by the kernel within the container's root (`openat2`), and every mount
//! is attached by descriptor: nothing that an image, or a neighbour that shares a volume, does to a path can lead a
//! mount out of the root. Nothing is mounted in the node's namespace, so nothing can be left behind there.
//!
//! The order matters: what comes from the node is opened first ([`Sources::open`]), while the node's mounts are still
//! peers of ours; then the tree is cut off, the root assembled, and the old root let go ([`Root::enter`]).

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxDevice, Mount, Spec};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, readlinkat, symlinkat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_change,
    move_mount, open_tree, unmount,
};
use rustix::process::{chdir, fchdir, pivot_root, umask};

use super::options::{self, Options};
use super::users::UserSpace;
use super::wire::Overlay;
use super::{images, nodes};
use crate::kernel::{self, MountChange};
use crate::links::{MAX_LINKS, leads_to};

/// A failure, with what was being done.
pub(super) type Result<T> = std::result::Result<T, String>;

/// Links every container finds in `/dev`.
const DEVICE_LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
    ("pts/ptmx", "ptmx"),
];
const NULL_DEVICE: (u32, u32) = (1, 3);

/// What the mounts of a spec take from the node, opened and not yet attached; and `/dev/null`, to cover files with.
pub(super) struct Sources {
    binds: Vec<Option<OwnedFd>>,
    null: OwnedFd,
    /// The devices of the spec, for a container whose own root may not make any.
    nodes: Vec<OwnedFd>,
}

impl Sources {
    /// Opens every bind source of `spec`, with the owners that `users` see.
    pub(super) fn open(spec: &Spec, users: Option<&UserSpace>) -> Result<Self> {
        let null = openat(CWD, "/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| format!("opening /dev/null: {error}"))?;
        let device = rustix::fs::fstat(&null).map_err(|error| format!("looking at /dev/null: {error}"))?.st_rdev;
        if (rustix::fs::major(device), rustix::fs::minor(device)) != NULL_DEVICE {
            return Err("/dev/null on this node is not the null device".to_owned());
        }
        let open = |mount: &Mount| match (is_bind(mount), mount.source()) {
            (true, Some(source)) => {
                let recursive = parse(mount).recursive;
                let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
                let tree = open_tree(CWD, source.as_path(), flags)
                    .map_err(|error| format!("opening mount source {}: {error}", source.display()))?;
                show_to(users, &tree, source)?;
                Ok(Some(tree))
            }
            _ => Ok(None),
        };
        let binds = spec.mounts().iter().flatten().map(open).collect::<Result<_>>()?;
        Ok(Self { binds, null, nodes: Vec::new() })
    }
}

/// A root filesystem being assembled.
pub(super) struct Root {
    root: OwnedFd,
}

impl Root {
    /// Cuts this namespace's mounts off from the node's and mounts the layers on `path`; what `spec` wants of other
    /// images joins the sources.
    pub(super) fn mount(
        path: &Path,
        overlay: &Overlay,
        spec: &Spec,
        (sources, users): (&mut Sources, Option<&UserSpace>),
    ) -> Result<Self> {
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", slave).map_err(|error| format!("separating mounts from the node's: {error}"))?;
        let shown = users.map(|users| overlay_for(users, path, overlay)).transpose()?;
        let overlay = shown.as_ref().unwrap_or(overlay);
        chdir(&overlay.layers).map_err(|error| format!("entering {}: {error}", overlay.layers.display()))?;
        if let Some(users) = users {
            sources.nodes = nodes::make(spec.linux().as_ref(), path, users.root())?;
        }
        for (wanted, source) in spec.mounts().iter().flatten().zip(&mut sources.binds) {
            if wanted.typ().as_deref() == Some("image") {
                *source = Some(images::tree(wanted, path)?);
            }
        }
        let lower = overlay.lower.join(":");
        let data = format!("lowerdir={lower},upperdir={},workdir={}", overlay.upper.display(), overlay.work.display());
        let data = std::ffi::CString::new(data).map_err(|_| "a layer path contains a zero byte".to_owned())?;
        mount("overlay", path, "overlay", MountFlags::empty(), Some(data.as_c_str()))
            .map_err(|error| format!("mounting the image's layers on {}: {error}", path.display()))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, path, flags, Mode::empty()).map_err(|error| format!("opening the root: {error}"))?;
        Ok(Self { root })
    }

    /// Makes the root the working directory, which a new namespace of mounts takes along.
    pub(super) fn stand_on(&self) -> Result<()> {
        fchdir(&self.root).map_err(|error| format!("entering the root: {error}"))
    }

    /// The working directory as the root. The mount itself is locked in a namespace of lesser rights; a copy is not.
    pub(super) fn inherited() -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let copy = || -> io::Result<OwnedFd> {
            let here = openat(CWD, ".", flags, Mode::empty())?;
            let tree = clone_mount(here.as_fd(), true)?;
            attach(tree.as_fd(), here.as_fd())?;
            Ok(tree)
        };
        Ok(Self { root: copy().map_err(|error| format!("taking over the root: {error}"))? })
    }

    /// Attaches everything `spec` asks for.
    pub(super) fn assemble(&self, spec: &Spec, sources: &Sources, views: &[(String, Vec<String>)]) -> Result<()> {
        umask(Mode::empty());
        let mounts = spec.mounts().iter().flatten();
        for (mount, source) in mounts.zip(&sources.binds) {
            let at = |error| format!("mounting {}: {error}", mount.destination().display());
            match (source, mount.typ().as_deref()) {
                (Some(source), _) => self.bind(mount, source.as_fd()).map_err(at)?,
                (None, Some("cgroup")) => self.groups(mount, views).map_err(at)?,
                (None, Some("volume")) => self.volume(mount).map_err(at)?,
                (None, _) => self.filesystem(mount).map_err(at)?,
            }
            // Devices of the node's own, or of a volume, are left as they are.
            if mount.destination() == Path::new("/dev") && source.is_none() {
                self.devices(spec.linux().as_ref(), &sources.nodes)?;
            }
        }
        // Copies are made of mounts in the same namespace only.
        let own_null = match sources.nodes.is_empty() {
            true => None,
            false => Some(
                open_in(self.root.as_fd(), Path::new("/dev/null"), ResolveFlags::IN_ROOT)
                    .map_err(|error| format!("opening /dev/null: {error}"))?,
            ),
        };
        let null = own_null.as_ref().unwrap_or(&sources.null);
        let linux = spec.linux().as_ref();
        for path in linux.and_then(|linux| linux.masked_paths().as_ref()).into_iter().flatten() {
            self.mask(path, null).map_err(|error| format!("masking {path}: {error}"))?;
        }
        for path in linux.and_then(|linux| linux.readonly_paths().as_ref()).into_iter().flatten() {
            self.make_readonly(path).map_err(|error| format!("making {path} read-only: {error}"))?;
        }
        Ok(())
    }

    /// Opens the multiplexer of the container's own terminals.
    pub(super) fn open_terminal(&self) -> Result<OwnedFd> {
        open_multiplexer(self.root.as_fd())
    }

    /// Shows `terminal` as `/dev/console`.
    pub(super) fn show_console(&self, terminal: BorrowedFd<'_>) -> Result<()> {
        let show = || {
            let tree = clone_mount(terminal, false)?;
            attach(tree.as_fd(), self.target(Path::new("/dev/console"), Target::File)?.as_fd())
        };
        show().map_err(|error: io::Error| format!("mounting /dev/console: {error}"))
    }

    /// Makes the assembled root this process's `/` and lets go of the node's.
    pub(super) fn enter(self, readonly: bool) -> Result<()> {
        let change = |doing: &str, result: io::Result<()>| result.map_err(|error| format!("{doing}: {error}"));
        if readonly {
            // The path descriptor names the root of the overlay mount itself.
            let set = MountAttrFlags::MOUNT_ATTR_RDONLY;
            let readonly = MountChange { set, propagation: 0, recursive: false };
            change("making the root read-only", kernel::set_mount_attributes(self.root.as_fd(), readonly))?;
        }
        change("entering the root", fchdir(&self.root).map_err(Into::into))?;
        change("changing the root", pivot_root(".", ".").map_err(Into::into))?;
        change("leaving the node's root", unmount(".", UnmountFlags::DETACH).map_err(Into::into))?;
        change("entering the new root", chdir("/").map_err(Into::into))
    }

    fn bind(&self, mount: &Mount, source: BorrowedFd<'_>) -> io::Result<()> {
        let options = parse(mount);
        if options.attributes != MountAttrFlags::empty() {
            let set = options.attributes;
            let recursive = options.recursive_attributes;
            kernel::set_mount_attributes(source, MountChange { set, propagation: 0, recursive })?;
        }
        let propagation = if options.propagation == 0 { libc::MS_PRIVATE } else { options.propagation };
        let change = MountChange { set: MountAttrFlags::empty(), propagation, recursive: true };
        kernel::set_mount_attributes(source, change)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(source)?.st_mode);
        let target = if kind == FileType::Directory { Target::Directory } else { Target::File };
        attach(source, self.target(mount.destination(), target)?.as_fd())
    }

    /// A directory of the root's own as a mount of its own: it stays writable when the root does not.
    fn volume(&self, mount: &Mount) -> io::Result<()> {
        let place = self.target(mount.destination(), Target::Directory)?;
        attach(clone_mount(place.as_fd(), false)?.as_fd(), place.as_fd())
    }

    fn filesystem(&self, mount: &Mount) -> io::Result<()> {
        let options = parse(mount);
        let kind = mount.typ().as_deref().unwrap_or("none");
        // The kernel's own filesystems must be where they seem to be: masked paths are meant below them.
        let target = if matches!(kind, "proc" | "sysfs") { Target::PlainDirectory } else { Target::Directory };
        let target = self.target(mount.destination(), target)?;
        attach(make_filesystem(kind, &options)?.as_fd(), target.as_fd())
    }

    /// The control groups, as the container sees them: its own group is the root of each.
    fn groups(&self, mount: &Mount, views: &[(String, Vec<String>)]) -> io::Result<()> {
        let options = parse(mount);
        let target = self.target(mount.destination(), Target::Directory)?;
        if views.is_empty() {
            return attach(make_filesystem("cgroup2", &options)?.as_fd(), target.as_fd());
        }
        let frame = options::parse(["nosuid", "nodev", "noexec", "mode=755"]);
        attach(make_filesystem("tmpfs", &frame)?.as_fd(), target.as_fd())?;
        for (name, controllers) in views {
            let mut own = options.clone();
            own.filesystem = controllers.iter().flat_map(|controller| hierarchy_options(controller)).collect();
            let target = self.target(&mount.destination().join(name), Target::Directory)?;
            attach(make_filesystem("cgroup", &own)?.as_fd(), target.as_fd())?;
        }
        let frame = open_in(self.root.as_fd(), mount.destination(), ResolveFlags::IN_ROOT)?;
        let change = MountChange { set: options.attributes, propagation: 0, recursive: false };
        kernel::set_mount_attributes(frame.as_fd(), change)
    }

    fn devices(&self, linux: Option<&Linux>, nodes: &[OwnedFd]) -> Result<()> {
        let dev = open_in(self.root.as_fd(), Path::new("/dev"), ResolveFlags::IN_ROOT)
            .map_err(|error| format!("opening /dev: {error}"))?;
        for (target, name) in DEVICE_LINKS {
            symlinkat(target, &dev, name).map_err(|error| format!("linking /dev/{name}: {error}"))?;
        }
        for (number, device) in linux.and_then(|linux| linux.devices().as_ref()).into_iter().flatten().enumerate() {
            let made = match nodes.get(number) {
                Some(node) => {
                    self.target(device.path(), Target::File).and_then(|place| attach(node.as_fd(), place.as_fd()))
                }
                None => self.device(device),
            };
            made.map_err(|error| format!("making device {}: {error}", device.path().display()))?;
        }
        Ok(())
    }

    fn device(&self, device: &LinuxDevice) -> io::Result<()> {
        let path = device.path();
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "not a path to a device");
        let (parent, name) = path.parent().zip(path.file_name()).ok_or_else(invalid)?;
        let directory = self.target(parent, Target::Directory)?;
        let owner = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
        nodes::make_one(directory.as_fd(), name, device, owner)
    }

    /// Covers a file with the null device and a directory with an empty, read-only filesystem.
    fn mask(&self, path: &str, null: &OwnedFd) -> io::Result<()> {
        let Some(target) = absent_is_none(open_in(self.root.as_fd(), Path::new(path), ResolveFlags::IN_ROOT))? else {
            return Ok(());
        };
        if FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode) == FileType::Directory {
            let empty = options::parse(["ro", "nosuid", "nodev", "noexec", "size=0k"]);
            return attach(make_filesystem("tmpfs", &empty)?.as_fd(), target.as_fd());
        }
        attach(clone_mount(null.as_fd(), false)?.as_fd(), target.as_fd())
    }

    fn make_readonly(&self, path: &str) -> io::Result<()> {
        let Some(target) = absent_is_none(open_in(self.root.as_fd(), Path::new(path), ResolveFlags::IN_ROOT))? else {
            return Ok(());
        };
        let tree = clone_mount(target.as_fd(), true)?;
        let set = MountAttrFlags::MOUNT_ATTR_RDONLY;
        kernel::set_mount_attributes(tree.as_fd(), MountChange { set, propagation: 0, recursive: true })?;
        attach(tree.as_fd(), target.as_fd())
    }

    /// Opens the place of a mount, making what is missing on the way.
    fn target(&self, path: &Path, target: Target) -> io::Result<OwnedFd> {
        self.target_by(path, target, MAX_LINKS)
    }

    fn target_by(&self, path: &Path, target: Target, links: u32) -> io::Result<OwnedFd> {
        let resolve = match target {
            Target::PlainDirectory => ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
            Target::Directory | Target::File => ResolveFlags::IN_ROOT,
        };
        if let Some(found) = absent_is_none(open_in(self.root.as_fd(), path, resolve))? {
            return Ok(found);
        }
        let path = plain(path);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a place for a mount"));
        };
        let directory = self.target_by(parent, Target::Directory, links)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
        let made = match target {
            Target::File => openat(&directory, name, flags, Mode::from_raw_mode(0o644)).map(drop),
            _ => mkdirat(&directory, name, Mode::from_raw_mode(0o755)),
        };
        match made {
            // A link that leads to nothing yet.
            Err(rustix::io::Errno::EXIST) if links > 0 => {
                let link = readlinkat(&directory, name, Vec::new())?;
                let link = Path::new(OsStr::from_bytes(link.as_bytes()));
                self.target_by(&Path::new("/").join(leads_to(parent, link)), target, links - 1)?;
            }
            made => made?,
        }
        open_in(self.root.as_fd(), &path, resolve)
    }
}

/// What has to be where a mount goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Directory,
    /// A directory that no symbolic link leads to.
    PlainDirectory,
    File,
}

/// Shows the files in the detached `tree` with the owners that `users` see.
fn show_to(users: Option<&UserSpace>, tree: &OwnedFd, source: &Path) -> Result<()> {
    let Some(users) = users else { return Ok(()) };
    kernel::map_mount(tree.as_fd(), users.namespace()).map_err(|error| {
        format!("showing {} to the Pod's users: {error}; does its file system know id-mapped mounts?", source.display())
    })
}

/// The layers as `users` see them, attached beside `path`: an overlay takes its layers by name only. What the container
/// writes belongs to the same users on the disk: an overlay's own work is done by the node's root, whom a layer that is
/// shown to others would not know.
fn overlay_for(users: &UserSpace, path: &Path, overlay: &Overlay) -> Result<Overlay> {
    let place = path.with_file_name("layers");
    let failed = |error: io::Error| format!("showing the image's layers to the Pod's users: {error}");
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, &overlay.layers, flags).map_err(|error| failed(error.into()))?;
    show_to(Some(users), &tree, &overlay.layers)?;
    std::fs::create_dir_all(&place).map_err(failed)?;
    let directory = openat(CWD, &place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    attach(tree.as_fd(), directory.map_err(|error| failed(error.into()))?.as_fd()).map_err(failed)?;
    let (uid, gid) = users.root();
    std::os::unix::fs::chown(&overlay.upper, Some(uid), Some(gid)).map_err(failed)?;
    Ok(Overlay { layers: place, ..overlay.clone() })
}

/// Opens the terminal multiplexer below `root` and makes sure that it is one.
pub(super) fn open_multiplexer(root: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let master = openat2(root, "dev/pts/ptmx", flags, Mode::empty(), resolve)
        .map_err(|error| format!("opening a terminal: {error}"))?;
    let device = rustix::fs::fstat(&master).map_err(|error| format!("looking at the terminal: {error}"))?.st_rdev;
    if (rustix::fs::major(device), rustix::fs::minor(device)) != (5, 2) {
        return Err("/dev/pts/ptmx in the container is not a terminal multiplexer".to_owned());
    }
    Ok(master)
}

/// A new instance of the filesystem `kind`, not yet attached.
fn make_filesystem(kind: &str, options: &Options) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in &options.filesystem {
        match value {
            Some(value) => fsconfig_set_string(&context, key.as_str(), value.as_str())?,
            None => fsconfig_set_flag(&context, key.as_str())?,
        }
    }
    fsconfig_create(&context)?;
    // A hierarchy of groups belongs to the whole node: "read-only" may be said of this mount, never of the hierarchy.
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, options.attributes)?)
}

fn hierarchy_options(controller: &str) -> Vec<(String, Option<String>)> {
    match controller.split_once('=') {
        Some((key, value)) => vec![("none".to_owned(), None), (key.to_owned(), Some(value.to_owned()))],
        None => vec![(controller.to_owned(), None)],
    }
}

/// A detached copy of the mount, or the part of one, that `place` names.
pub(super) fn clone_mount(place: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    Ok(open_tree(place, "", flags)?)
}

pub(super) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree, "", target, "", flags)?)
}

fn open_in(root: BorrowedFd<'_>, path: &Path, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(openat2(root, path, flags, Mode::empty(), resolve | ResolveFlags::NO_MAGICLINKS)?)
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::RootDir | Component::Normal(_))).collect()
}

fn is_bind(mount: &Mount) -> bool {
    let named = mount.options().iter().flatten().any(|option| matches!(option.as_str(), "bind" | "rbind"));
    named || mount.typ().as_deref() == Some("bind")
}

fn parse(mount: &Mount) -> Options {
    options::parse(mount.options().iter().flatten().map(String::as_str))
}
