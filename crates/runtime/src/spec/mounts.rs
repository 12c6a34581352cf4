//! What is mounted where: the kernel's filesystems, the Pod's files, and what the container asks for.

use std::path::{Component, Path};

use oci_spec::runtime::{Mount, MountBuilder};
use sampan_cri::v1::{ImageSpec, LinuxContainerSecurityContext, Mount as Asked, MountPropagation};

use super::{Error, Inputs};

/// The option of an image's mount that names the part of it that is wanted.
pub(crate) const PART_OPTION: &str = "part";

/// Mounts in the order in which they are made: what lies below another comes after it.
pub(super) fn of(inputs: &Inputs<'_>, security: &LinuxContainerSecurityContext) -> Result<Vec<Mount>, Error> {
    let asked = inputs.config.mounts.iter().map(|mount| asked(mount, inputs)).collect::<Result<Vec<_>, _>>()?;
    let mut mounts = kernel(security.privileged);
    mounts.extend(pod(inputs));
    for volume in volumes(inputs)? {
        if mounts.iter().all(|own| own.destination() != volume.destination()) {
            mounts.push(volume);
        }
    }
    mounts.retain(|own| !asked.iter().any(|asked| replaces(asked, own)));
    mounts.extend(asked);
    mounts.sort_by_key(|mount| mount.destination().components().count());
    Ok(mounts)
}

/// Whether `asked` stands where `own` would. What is shown as `/dev` may be the node's, where the directory for queues would
/// be made; terminals and shared memory have theirs everywhere.
fn replaces(asked: &Mount, own: &Mount) -> bool {
    let has_queues = own.destination() == Path::new("/dev/mqueue");
    asked.destination() == own.destination() || (has_queues && asked.destination() == Path::new("/dev"))
}

fn kernel(privileged: bool) -> Vec<Mount> {
    let access = if privileged { "rw" } else { "ro" };
    vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", access]),
    ]
}

/// What the containers of a Pod share. A read-only root holds for the files too.
fn pod(inputs: &Inputs<'_>) -> Vec<Mount> {
    let files = inputs.pod_files;
    let readonly = super::security_context(inputs.config).readonly_rootfs;
    let mut options = vec!["rbind", "rprivate"];
    if readonly {
        options.push("ro");
    }
    let shared = |path: &str, source: &Path, options: &[&str]| {
        let source = source.to_str().filter(|source| !source.is_empty())?;
        Some(mount(path, "bind", source, options))
    };
    [
        shared("/etc/resolv.conf", &files.resolv_conf, &options),
        shared("/etc/hostname", &files.hostname, &options),
        shared("/dev/shm", &files.shm, &["rbind", "rprivate", "nosuid", "noexec", "nodev"]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The directories that the image calls its volumes: writable whatever the root is, with what the image has in them.
fn volumes(inputs: &Inputs<'_>) -> Result<Vec<Mount>, Error> {
    let volume = |path: &String| {
        let path = format!("/{}", path.trim_start_matches('/'));
        if !is_plain(&path[1..]) {
            return Err(Error::Outside { what: "volume", path });
        }
        outside_proc(&path)?;
        Ok(mount(path.trim_end_matches('/'), "volume", "volume", &[]))
    };
    inputs.image.volumes.keys().map(volume).collect()
}

/// Whether `path` goes down only.
fn is_plain(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

fn outside_proc(path: &str) -> Result<(), Error> {
    let inside = Path::new(path).components().nth(1).is_some_and(|first| first.as_os_str() == "proc");
    if inside { Err(Error::InProc(path.to_owned())) } else { Ok(()) }
}

/// The files of an image, or a part of them.
fn image(asked: &Asked, image: &ImageSpec, inputs: &Inputs<'_>) -> Result<Mount, Error> {
    let (path, part) = (&asked.container_path, &asked.image_sub_path);
    let wrong = |reason| Err(Error::Mount { path: path.clone(), reason });
    if !asked.readonly {
        return wrong("an image volume has to be read-only");
    }
    if !part.is_empty() && !is_plain(part) {
        return Err(Error::Outside { what: "image sub-path", path: part.clone() });
    }
    let Some(layers) = inputs.volumes.get(&image.image_ref).filter(|layers| !layers.is_empty()) else {
        return wrong("the image has no files");
    };
    let part = format!("{PART_OPTION}={part}");
    Ok(mount(path, "image", &layers.join(":"), &["ro", "nosuid", "nodev", &part]))
}

fn asked(asked: &Asked, inputs: &Inputs<'_>) -> Result<Mount, Error> {
    let path = &asked.container_path;
    if !path.starts_with('/') {
        return Err(Error::Relative { what: "mount path", path: path.clone() });
    }
    outside_proc(path)?;
    if let Some(spec) = &asked.image {
        return image(asked, spec, inputs);
    }
    if asked.recursive_read_only && !asked.readonly {
        return Err(Error::Mount { path: path.clone(), reason: "recursive read-only conflicts with read-write" });
    }
    if asked.recursive_read_only && asked.propagation() != MountPropagation::PropagationPrivate {
        let reason = "recursive read-only mounts have to be private, without propagation";
        return Err(Error::Mount { path: path.clone(), reason });
    }
    let propagation = match asked.propagation() {
        MountPropagation::PropagationPrivate => "rprivate",
        MountPropagation::PropagationHostToContainer => "rslave",
        MountPropagation::PropagationBidirectional => "rshared",
    };
    let access = match (asked.readonly, asked.recursive_read_only) {
        (true, true) => "rro",
        (true, false) => "ro",
        (false, _) => "rw",
    };
    let mut options = vec!["rbind", propagation, access];
    options.extend(asked.mount_options.iter().map(String::as_str));
    Ok(mount(path, "bind", &asked.host_path, &options))
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    MountBuilder::default()
        .destination(destination)
        .typ(kind)
        .source(source)
        .options(options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
        .build()
        .expect("invariant: a mount has a destination")
}
