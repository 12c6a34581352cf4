//! Where a Pod's files are on the node: upstream's layout below the kubelet's directory.
//!
//! ```text
//! <root>/pods/<uid>/etc-hosts, hostname
//!                  /volumes/kubernetes.io~<type>/<volume>/
//!                  /volume-subpaths/<volume>/<container>/<index>
//!                  /containers/<container>/<attempt>          termination message
//! <logs>/<namespace>_<name>_<uid>/<container>/<attempt>.log
//! ```

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

use crate::spec;

/// The directories of one Pod.
#[derive(Clone, Debug)]
pub(crate) struct PodPaths {
    /// Everything of the Pod but its logs.
    pub(crate) dir: PathBuf,
    /// The Pod's logs.
    pub(crate) logs: PathBuf,
}

impl PodPaths {
    /// The directories of `pod` below the kubelet's `root` and `log_dir`.
    pub(crate) fn of(pod: &Pod, root: &Path, log_dir: &Path) -> Self {
        Self::named(spec::namespace(pod), spec::name(pod), spec::uid(pod), (root, log_dir))
    }

    /// The same for a Pod of which no more is known.
    pub(crate) fn named(namespace: &str, name: &str, uid: &str, (root, log_dir): (&Path, &Path)) -> Self {
        Self { dir: pods_dir(root).join(uid), logs: log_dir.join(format!("{namespace}_{name}_{uid}")) }
    }

    pub(crate) fn etc_hosts(&self) -> PathBuf {
        self.dir.join("etc-hosts")
    }

    pub(crate) fn hostname(&self) -> PathBuf {
        self.dir.join("hostname")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.dir.join("volumes")
    }

    /// `kind` is the volume type as upstream writes it (`empty-dir`).
    pub(crate) fn volume(&self, kind: &str, name: &str) -> PathBuf {
        self.volumes().join(format!("kubernetes.io~{kind}")).join(name)
    }

    pub(crate) fn subpaths(&self) -> PathBuf {
        self.dir.join("volume-subpaths")
    }

    pub(crate) fn subpath(&self, volume: &str, container: &str, index: usize) -> PathBuf {
        self.subpaths().join(volume).join(container).join(index.to_string())
    }

    pub(crate) fn termination_messages(&self) -> PathBuf {
        self.dir.join("containers")
    }

    pub(crate) fn termination_message(&self, container: &str, attempt: u32) -> PathBuf {
        self.termination_messages().join(container).join(attempt.to_string())
    }
}

/// Where all Pods' directories are.
pub(crate) fn pods_dir(root: &Path) -> PathBuf {
    root.join("pods")
}

/// A container's log file, relative to its Pod's log directory.
pub(crate) fn log_path(container: &str, attempt: u32) -> String {
    format!("{container}/{attempt}.log")
}
