//! From what CRI asks for to the OCI runtime specification of one container. Pure: start at [`spec`].
//!
//! What has to be looked up on the node (the user in the image's files, devices, profiles) is looked up
//! before and handed in with [`Inputs`].

mod mounts;
mod process;
mod resources;
mod security;
mod user;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    LinuxBuilder, LinuxDevice, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxSeccomp, RootBuilder,
    Spec, SpecBuilder,
};
use sampan_cri::v1::{ContainerConfig, LinuxContainerSecurityContext, PodSandboxConfig};

use crate::images::Config;

pub(crate) use mounts::PART_OPTION;
pub(crate) use resources::{limits, merged};
pub(crate) use user::{Accounts, Identity, WantedUser, resolve as resolve_user};

/// Why there is no specification.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Neither the container nor its image says what to run.
    #[error("no command specified")]
    NoCommand,
    /// A capability that does not exist.
    #[error("unknown capability {0:?}")]
    Capability(String),
    /// A user or group that the image does not know.
    #[error("unable to find user or group {0:?} in the image")]
    User(String),
    /// A path that must be absolute.
    #[error("{what} {path:?} is not an absolute path")]
    Relative {
        /// Which path.
        what: &'static str,
        /// The path.
        path: String,
    },
    /// A path of an image that is not inside of it.
    #[error("{what} {path:?} leads out of the image")]
    Outside {
        /// Which path.
        what: &'static str,
        /// The path.
        path: String,
    },
    /// Wishes about a mount that contradict each other.
    #[error("mount on {path:?}: {reason}")]
    Mount {
        /// Where it was to be.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A group without the user that it is for.
    #[error("user group {0} is specified without user")]
    GroupWithoutUser(i64),
    /// A mount over the kernel's view of processes.
    #[error("mounting on {0:?} is not allowed: it is inside /proc")]
    InProc(String),
}

/// Everything a specification is made from.
pub(crate) struct Inputs<'a> {
    pub(crate) config: &'a ContainerConfig,
    pub(crate) sandbox: &'a PodSandboxConfig,
    pub(crate) image: &'a Config,
    pub(crate) identity: &'a Identity,
    /// The group of the container, below every hierarchy's root.
    pub(crate) cgroup: &'a str,
    /// Where the root is mounted in the container's own mount namespace.
    pub(crate) rootfs: &'a Path,
    /// Files of the Pod, and the directory its containers share as `/dev/shm`.
    pub(crate) pod_files: &'a PodFiles,
    pub(crate) processes: ProcessNamespace,
    /// Devices asked for, or every one of the node for a privileged container, with their rights.
    pub(crate) devices: &'a [(LinuxDevice, String)],
    /// The profile read from a file, where one was named.
    pub(crate) seccomp_file: Option<LinuxSeccomp>,
    /// The AppArmor profile that confines the container, which the kernel has.
    pub(crate) apparmor: Option<&'a str>,
    /// The layers (topmost first) of images that are mounted as volumes, by id.
    pub(crate) volumes: &'a HashMap<String, Vec<String>>,
}

/// What every container of a Pod gets of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PodFiles {
    pub(crate) resolv_conf: PathBuf,
    pub(crate) hostname: PathBuf,
    pub(crate) shm: PathBuf,
}

/// Whose processes a container sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProcessNamespace {
    /// Its own.
    Own,
    /// The node's.
    Node,
    /// Those in the namespace that this path stands for.
    Joined(PathBuf),
}

/// The specification of the container that `inputs` describe.
pub(crate) fn spec(inputs: &Inputs<'_>) -> Result<Spec, Error> {
    let security = security_context(inputs.config);
    let (masked, readonly) = match security.privileged {
        true => (Vec::new(), Vec::new()),
        false => (security.masked_paths.clone(), security.readonly_paths.clone()),
    };
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces(&inputs.processes))
        .cgroups_path(inputs.cgroup)
        .resources(resources::of(inputs))
        .devices(security::devices(inputs.devices))
        .masked_paths(masked)
        .readonly_paths(readonly);
    if let Some(policy) = security::seccomp(inputs, &security::capabilities(&security)?) {
        linux = linux.seccomp(policy);
    }
    let root = RootBuilder::default().path(inputs.rootfs).readonly(security.readonly_rootfs);
    let spec = SpecBuilder::default()
        .version("1.2.0")
        .hostname(&inputs.sandbox.hostname)
        .root(root.build().expect("invariant: a root has a path"))
        .process(process::of(inputs, &security)?)
        .mounts(mounts::of(inputs, &security)?)
        .linux(linux.build().expect("invariant: nothing in the linux section is required"))
        .build()
        .expect("invariant: a version is set");
    Ok(spec)
}

/// The security context, or the one that asks for nothing.
pub(crate) fn security_context(config: &ContainerConfig) -> LinuxContainerSecurityContext {
    config.linux.as_ref().and_then(|linux| linux.security_context.clone()).unwrap_or_default()
}

/// Network, IPC and UTS come from the shim, which lives in the Pod's; named here are those made for the container.
fn namespaces(processes: &ProcessNamespace) -> Vec<LinuxNamespace> {
    let new = |typ| LinuxNamespaceBuilder::default().typ(typ);
    let mut namespaces = vec![new(LinuxNamespaceType::Mount), new(LinuxNamespaceType::Cgroup)];
    match processes {
        ProcessNamespace::Own => namespaces.push(new(LinuxNamespaceType::Pid)),
        ProcessNamespace::Joined(path) => namespaces.push(new(LinuxNamespaceType::Pid).path(path)),
        ProcessNamespace::Node => {}
    }
    let build = |namespace: LinuxNamespaceBuilder| namespace.build().expect("invariant: a namespace has a type");
    namespaces.into_iter().map(build).collect()
}

#[cfg(test)]
mod tests;
