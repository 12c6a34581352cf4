//! What a Pod keeps on the node's disk beside its containers' own layers: volumes below its directory, and logs.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Space, Tree};
use crate::config::paths::PodPaths;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ephemeral {
    pub(crate) volumes: Vec<VolumeUsage>,
    /// By container.
    pub(crate) logs: BTreeMap<String, Tree>,
    /// The files that its containers are shown one by one and can write: `/etc/hosts`, termination messages.
    pub(crate) files: Tree,
}

/// A volume below the Pod's directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct VolumeUsage {
    pub(crate) name: String,
    /// Its type as upstream writes it (`empty-dir`).
    pub(crate) kind: String,
    pub(crate) tree: Tree,
    /// A file system of its own (memory), which takes nothing of the node's disk.
    pub(crate) own: Option<Space>,
}

impl Ephemeral {
    /// Walks the Pod's directories. Blocks.
    pub(crate) fn measure(paths: &PodPaths) -> Self {
        let mut volumes = Vec::new();
        for (kind, dir) in entries(&paths.volumes()) {
            let Some(kind) = kind.strip_prefix("kubernetes.io~") else { continue };
            volumes.extend(entries(&dir).into_iter().filter_map(|(name, path)| volume(kind, name, &path)));
        }
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        let logs = entries(&paths.logs).into_iter().map(|(name, dir)| (name, Tree::of(&dir))).collect();
        let files = [paths.etc_hosts(), paths.hostname(), paths.termination_messages()];
        let files = files.iter().map(|path| Tree::of(path)).fold(Tree::default(), Tree::and);
        Self { volumes, logs, files }
    }

    /// What of it is on the node's disk.
    pub(crate) fn on_disk(&self) -> Tree {
        let volumes = self.volumes.iter().filter(|volume| volume.own.is_none()).map(|volume| volume.tree);
        volumes.chain(self.logs.values().copied()).fold(self.files, Tree::and)
    }
}

fn entries(dir: &Path) -> Vec<(String, std::path::PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect()
}

fn volume(kind: &str, name: String, path: &Path) -> Option<VolumeUsage> {
    let device = |path: &Path| path.metadata().ok().map(|metadata| metadata.dev());
    let own = match device(path) == device(path.parent()?) {
        true => None,
        false => Space::of(path).ok(),
    };
    Some(VolumeUsage { name, kind: kind.to_owned(), tree: Tree::of(path), own })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_and_logs_of_a_pod() {
        let dir = tempfile::tempdir().unwrap();
        let paths = PodPaths { dir: dir.path().join("pod"), logs: dir.path().join("logs") };
        let (volume, log) = (paths.volume("empty-dir", "scratch"), paths.logs.join("c"));
        for (dir, bytes) in [(&volume, 50_000), (&log, 20_000)] {
            std::fs::create_dir_all(dir).unwrap();
            std::fs::write(dir.join("file"), vec![1; bytes]).unwrap();
        }
        std::fs::write(paths.etc_hosts(), vec![1; 30_000]).unwrap();
        let usage = Ephemeral::measure(&paths);
        assert_eq!((usage.volumes[0].name.as_str(), usage.volumes[0].kind.as_str()), ("scratch", "empty-dir"));
        assert!(usage.volumes[0].tree.bytes >= 50_000 && usage.logs["c"].bytes >= 20_000, "{usage:?}");
        assert!(usage.on_disk().bytes >= 100_000, "what fills /etc/hosts fills the disk");
        assert_eq!(usage.on_disk().inodes, 5);
    }
}
