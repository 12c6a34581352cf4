//! What has to be looked up on the node before a container can be specified: its user in the image's files, devices,
//! a seccomp profile, the processes it is to see.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType, LinuxSeccomp};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat, openat2};
use sampan_cri::v1::security_profile::ProfileType;
use sampan_cri::v1::{ContainerConfig, LinuxContainerSecurityContext, NamespaceMode, SupplementalGroupsPolicy};

use crate::error::{Error, Result};
use crate::images::Image;
use crate::node::{Node, Sandbox};
use crate::spec::{self, Accounts, Identity, ProcessNamespace, WantedUser};
use crate::{disk, records, sandboxes};

/// Account files larger than this belong to no image.
const MAX_ACCOUNTS_BYTES: u64 = 8 << 20;
const MAX_DEVICES: usize = 4096;

/// The kernel from which on overlays take id-mapped layers, and tmpfs (where a Pod's files lie) can be one.
const MAPPING_KERNEL: (u32, u32) = (6, 3);

/// Whether this kernel can show files to a Pod's own users.
pub(crate) fn maps_users() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= MAPPING_KERNEL && Path::new("/proc/self/ns/user").exists()
}

/// Whose processes the container sees.
pub(crate) fn processes(
    node: &Node,
    sandbox: &Sandbox,
    security: &LinuxContainerSecurityContext,
) -> Result<ProcessNamespace> {
    let options = security.namespace_options.clone().unwrap_or_else(|| sandboxes::namespace_options(&sandbox.config));
    let of = |pid: i32| ProcessNamespace::Joined(format!("/proc/{pid}/ns/pid").into());
    match options.pid() {
        NamespaceMode::Container => Ok(ProcessNamespace::Own),
        NamespaceMode::Node => Ok(ProcessNamespace::Node),
        NamespaceMode::Pod => Ok(sandbox.ready().holder.map_or(ProcessNamespace::Own, of)),
        NamespaceMode::Target => {
            let target = node.container(&options.target_id)?;
            if target.record.sandbox != sandbox.id || !target.is_running() {
                return Err(Error::State(format!("target container {:?} is not running in this sandbox", target.id)));
            }
            let started = records::read_started(&node.places.container(&target.id))?;
            Ok(started.map_or(ProcessNamespace::Own, |running| of(running.pid)))
        }
    }
}

/// Who the container runs as, by its image's account files.
pub(crate) fn identity(node: &Node, image: &Image, security: &LinuxContainerSecurityContext) -> Result<Identity> {
    if let (Some(group), None, "") = (&security.run_as_group, &security.run_as_user, &*security.run_as_username) {
        return Err(spec::Error::GroupWithoutUser(group.value).into());
    }
    let accounts =
        Accounts { passwd: read_in_image(node, image, "etc/passwd"), group: read_in_image(node, image, "etc/group") };
    let wanted = WantedUser {
        image: &image.config.user,
        uid: security.run_as_user.as_ref().map(|user| user.value),
        name: &security.run_as_username,
        gid: security.run_as_group.as_ref().map(|group| group.value),
        groups: &security.supplemental_groups,
        strict_groups: security.supplemental_groups_policy() == SupplementalGroupsPolicy::Strict,
    };
    Ok(spec::resolve_user(&wanted, &accounts)?)
}

/// Finds the images that `config` mounts as volumes and notes which they are; their layers, by id.
pub(crate) fn volumes(node: &Node, config: &mut ContainerConfig) -> Result<HashMap<String, Vec<String>>> {
    let mut volumes = HashMap::new();
    for mount in &mut config.mounts {
        let Some(wanted) = &mut mount.image else { continue };
        let image = node.images.find(&wanted.image).ok_or_else(|| Error::ImageMissing(wanted.image.clone()))?;
        wanted.image_ref.clone_from(&image.id);
        let part = &mount.image_sub_path;
        if !part.is_empty() && !is_in_image(node, &image, part) {
            return Err(Error::Invalid(format!("image sub-path {part:?} does not exist in image {:?}", wanted.image)));
        }
        volumes.insert(image.id, image.layers);
    }
    Ok(volumes)
}

/// Whether the image has something at `path`.
fn is_in_image(node: &Node, image: &Image, path: &str) -> bool {
    find_in_image(node, image, path).is_some()
}

/// The text of a file in the image; nothing where it has none.
fn read_in_image(node: &Node, image: &Image, path: &str) -> String {
    let read = |found: OwnedFd| -> io::Result<String> {
        // What was found is only named so far; opening it must not wait for anybody, whatever it is.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(CWD, format!("/proc/self/fd/{}", found.as_raw_fd()), flags, Mode::empty())?);
        io::read_to_string(io::Read::take(file, MAX_ACCOUNTS_BYTES))
    };
    find_in_image(node, image, path).and_then(|found| read(found).ok()).unwrap_or_default()
}

/// What the topmost layer that knows `path` has there, unless that is the mark of a deletion.
fn find_in_image(node: &Node, image: &Image, path: &str) -> Option<OwnedFd> {
    let look = |layer: &String| -> Option<Option<OwnedFd>> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root = openat(CWD, node.images.layers().join(layer), flags | OFlags::DIRECTORY, Mode::empty()).ok()?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match openat2(&root, path, flags, Mode::empty(), resolve) {
            Ok(found) => {
                let stat = rustix::fs::fstat(&found).ok()?;
                let deleted = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0;
                Some(Some(found).filter(|_| !deleted))
            }
            // A layer below may know it.
            Err(rustix::io::Errno::NOENT) => None,
            // What is on the way here, hides what is there.
            Err(_) => Some(None),
        }
    };
    image.layers.iter().find_map(look).flatten()
}

/// The devices asked for; all of the node's for a privileged container.
pub(crate) fn devices(
    config: &ContainerConfig,
    security: &LinuxContainerSecurityContext,
) -> Result<Vec<(LinuxDevice, String)>> {
    let mut devices = Vec::new();
    if security.privileged {
        collect_devices(Path::new("/dev"), Path::new("/dev"), "rwm", &mut devices)?;
    }
    for device in &config.devices {
        let rights = if device.permissions.is_empty() { "rwm" } else { &device.permissions };
        // Names that udev gives are links.
        let host = Path::new(&device.host_path);
        let host = &host.canonicalize().map_err(Error::io_at("looking for device", host))?;
        let before = devices.len();
        collect_devices(host, Path::new(&device.container_path), rights, &mut devices)?;
        if devices.len() == before {
            return Err(Error::Invalid(format!("{} is not a device", host.display())));
        }
    }
    Ok(devices)
}

fn collect_devices(host: &Path, place: &Path, rights: &str, found: &mut Vec<(LinuxDevice, String)>) -> Result<()> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    /// Filled in by the container's own mounts.
    const OWN: [&str; 6] = ["pts", "ptmx", "shm", "mqueue", "fd", "console"];
    let metadata = match fs::symlink_metadata(host) {
        // Devices come and go while a directory of them is read.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata.map_err(Error::io_at("looking at device", host))?,
    };
    let kind = metadata.file_type();
    if kind.is_dir() {
        for name in disk::names(host).map_err(Error::io_at("reading", host))? {
            if !OWN.contains(&name.as_str()) && found.len() < MAX_DEVICES {
                collect_devices(&host.join(&name), &place.join(&name), rights, found)?;
            }
        }
        return Ok(());
    }
    if !kind.is_char_device() && !kind.is_block_device() {
        return Ok(());
    }
    let device = LinuxDeviceBuilder::default()
        .path(place)
        .typ(if kind.is_char_device() { LinuxDeviceType::C } else { LinuxDeviceType::B })
        .major(i64::from(rustix::fs::major(metadata.rdev())))
        .minor(i64::from(rustix::fs::minor(metadata.rdev())))
        .file_mode(metadata.mode() & 0o777)
        .uid(metadata.uid())
        .gid(metadata.gid());
    found.push((device.build().expect("invariant: a device has a path, a type and numbers"), rights.to_owned()));
    Ok(())
}

/// The profile that a container names. One that is missing keeps the container from starting.
pub(crate) fn seccomp_file(security: &LinuxContainerSecurityContext) -> Result<Option<LinuxSeccomp>> {
    let Some(profile) = security.seccomp.as_ref().filter(|profile| profile.profile_type() == ProfileType::Localhost)
    else {
        return Ok(None);
    };
    let path = Path::new(profile.localhost_ref.trim_start_matches("localhost/"));
    let text = fs::read(path).map_err(Error::io_at("reading seccomp profile", path))?;
    let policy = serde_json::from_slice(&text);
    policy.map(Some).map_err(|error| Error::Invalid(format!("seccomp profile {}: {error}", path.display())))
}
