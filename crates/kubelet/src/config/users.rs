//! Which of the node's users are a Pod's own (`hostUsers: false`): a range for each Pod, which no other Pod has.
//!
//! It is kept in the Pod's directory, in upstream's file and form, and is free again when that directory is gone.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use parking_lot::Mutex;
use sampan_cri::v1::{IdMapping, NamespaceMode, UserNamespace};
use serde::{Deserialize, Serialize};

use super::paths::PodPaths;

const FILE: &str = "userns";
/// Every id that a program may expect to exist.
const LENGTH: u32 = 65_536;
/// Below are the node's own users.
const FIRST: u32 = 65_536;
const MAX_RANGES: u32 = 4096;

/// Held while a range is chosen: two Pods at once would choose the same.
static CHOOSING: Mutex<()> = Mutex::new(());

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    uid_mappings: Vec<Mapping>,
    gid_mappings: Vec<Mapping>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    host_id: u32,
    container_id: u32,
    length: u32,
}

/// The range of the Pod with these paths; it gets one if it has none. Blocks.
pub(crate) fn of(paths: &PodPaths) -> io::Result<UserNamespace> {
    let _choosing = CHOOSING.lock();
    let pods = paths.dir.parent().unwrap_or(Path::new(""));
    let first = match kept(&paths.dir) {
        Some(first) => first,
        None => {
            let taken = std::fs::read_dir(pods)?.flatten().filter_map(|pod| kept(&pod.path())).collect();
            let first = free(&taken).ok_or_else(|| io::Error::other("every range of users is taken by a Pod"))?;
            let mapping = vec![Mapping { host_id: first, container_id: 0, length: LENGTH }];
            let text = serde_json::to_vec(&Kept { uid_mappings: mapping.clone(), gid_mappings: mapping })?;
            std::fs::write(paths.dir.join(FILE), text)?;
            first
        }
    };
    let map = vec![IdMapping { container_id: 0, host_id: first, length: LENGTH }];
    Ok(UserNamespace { mode: NamespaceMode::Pod.into(), uids: map.clone(), gids: map })
}

/// The first id of the range that a Pod's directory speaks of.
fn kept(pod: &Path) -> Option<u32> {
    let kept: Kept = serde_json::from_slice(&std::fs::read(pod.join(FILE)).ok()?).ok()?;
    kept.uid_mappings.first().map(|mapping| mapping.host_id)
}

/// The first id of the first range that nobody has.
fn free(taken: &BTreeSet<u32>) -> Option<u32> {
    (0..MAX_RANGES).map(|number| FIRST + number * LENGTH).find(|first| !taken.contains(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_kept_and_never_shared() {
        let root = tempfile::tempdir().unwrap();
        let paths = |name: &str| {
            let dir = root.path().join("pods").join(name);
            std::fs::create_dir_all(&dir).unwrap();
            PodPaths { dir, logs: root.path().join("logs") }
        };
        let first = |paths: &PodPaths| of(paths).unwrap().uids[0].host_id;
        let (a, b) = (paths("a"), paths("b"));
        assert_eq!([first(&a), first(&b), first(&a)], [65_536, 131_072, 65_536]);
        std::fs::remove_dir_all(&a.dir).unwrap();
        assert_eq!(first(&paths("c")), 65_536);
    }
}
