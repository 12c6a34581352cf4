//! A link for each container's log under a name that says whose it is: what log agents look for in
//! `/var/log/containers`.
//!
//! ```text
//! <links>/<pod>_<namespace>_<container>-<id>.log -> <logs>/<namespace>_<pod>_<uid>/<container>/<attempt>.log
//! ```

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

use crate::config::paths::pods_dir;
use crate::{Error, spec};

const SUFFIX: &str = ".log";
/// The longest name that a file can have.
const NAME_BYTES: usize = 255;

/// The link to one container's log.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    link: PathBuf,
    log: PathBuf,
}

impl Link {
    /// The link below `links` to `log`, which is that of the container `id`.
    pub(crate) fn of(links: &Path, pod: &Pod, (container, id): (&str, &str), log: PathBuf) -> Self {
        Self { link: links.join(name(pod, container, id)), log }
    }

    /// Makes it.
    pub(crate) fn make(&self) -> Result<(), Error> {
        if let Some(links) = self.link.parent() {
            std::fs::create_dir_all(links).map_err(Error::io("creating", links))?;
        }
        let _ = std::fs::remove_file(&self.link);
        std::os::unix::fs::symlink(&self.log, &self.link).map_err(Error::io("linking", &self.link))
    }

    /// Removes it, unless it leads to another log: containers whose names are cut may have one name.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        if std::fs::read_link(&self.link).is_ok_and(|log| log == self.log) {
            return std::fs::remove_file(&self.link).or_else(allow_missing).map_err(Error::io("removing", &self.link));
        }
        Ok(())
    }
}

fn allow_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Upstream's; what is too long for a file has only its beginning.
fn name(pod: &Pod, container: &str, id: &str) -> String {
    let mut name = format!("{}_{}_{container}-{id}", spec::name(pod), spec::namespace(pod));
    name.truncate(NAME_BYTES - SUFFIX.len());
    name + SUFFIX
}

/// Removes links to logs below `logs` that are not there any more.
pub(crate) fn sweep(links: &Path, logs: &Path) {
    let leads_below = |link: &PathBuf| std::fs::read_link(link).is_ok_and(|log| log.starts_with(logs));
    let entries = std::fs::read_dir(links).into_iter().flatten().flatten().map(|entry| entry.path());
    for link in entries.filter(|link| leads_below(link) && !link.exists()) {
        if let Err(error) = std::fs::remove_file(&link) {
            tracing::warn!(link = %link.display(), %error, "the link to a log was not removed");
        }
    }
}

/// Removes the logs of every Pod that has a directory below `root`, and the links to them: for a kubelet that is gone for
/// good and whose logs stand among those of others.
pub fn remove_logs(root: &Path, logs: &Path, links: &Path) -> std::io::Result<()> {
    let names = |dir: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let ours: Vec<String> =
        names(&pods_dir(root)).iter().filter_map(|pod| Some(format!("_{}", pod.file_name()?.to_str()?))).collect();
    for dir in names(logs) {
        if ours.iter().any(|uid| dir.to_string_lossy().ends_with(uid)) {
            std::fs::remove_dir_all(&dir)?;
        }
    }
    sweep(links, logs);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_log_has_a_link_until_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (root, logs, links) = (dir.path().join("root"), dir.path().join("logs"), dir.path().join("links"));
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}})).unwrap();
        let log = logs.join("ns_p_u/c/0.log");
        std::fs::create_dir_all(log.parent().unwrap()).unwrap();
        std::fs::create_dir_all(logs.join("ns_other_v")).unwrap();
        std::fs::create_dir_all(pods_dir(&root).join("u")).unwrap();
        std::fs::write(&log, "a line").unwrap();
        let there = || -> Vec<String> {
            let entries = std::fs::read_dir(&links).unwrap().flatten();
            let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let [first, second] = ["1a", "2b"].map(|id| Link::of(&links, &pod, ("c", id), log.clone()));
        for link in [&first, &second] {
            link.make().unwrap();
        }
        assert_eq!(there(), ["p_ns_c-1a.log", "p_ns_c-2b.log"]);
        assert_eq!(std::fs::read_to_string(links.join("p_ns_c-1a.log")).unwrap(), "a line");
        first.remove().unwrap();
        first.remove().unwrap();
        sweep(&links, &logs);
        assert_eq!(there(), ["p_ns_c-2b.log"]);
        remove_logs(&root, &logs, &links).unwrap();
        assert!(there().is_empty() && !logs.join("ns_p_u").exists() && logs.join("ns_other_v").exists());
    }

    #[test]
    fn containers_whose_names_are_cut_keep_their_own_links() {
        let dir = tempfile::tempdir().unwrap();
        let link = |pod: usize, id: &str, log: &str| {
            let pod = json!({"metadata": {"name": "p".repeat(pod), "namespace": "ns"}});
            let pod = serde_json::from_value(pod).unwrap();
            Link::of(dir.path(), &pod, ("c", id), dir.path().join(log))
        };
        let check = |(first, second): (Link, Link), left: bool| {
            assert!([&first, &second].iter().all(|one| {
                let name = one.link.file_name().unwrap().to_str().unwrap();
                name.len() == NAME_BYTES && name.ends_with(SUFFIX)
            }));
            first.make().unwrap();
            second.make().unwrap();
            first.remove().unwrap();
            assert_eq!(std::fs::read_link(&second.link).is_ok(), left);
            second.remove().unwrap();
            assert!(second.link.symlink_metadata().is_err());
        };
        let (one, two) = ("1a".repeat(32), "1b".repeat(32));
        // One digit of the id is left, or none: then the next attempt has the name.
        check((link(244, &one, "0.log"), link(243, &two, "1.log")), true);
        check((link(250, &one, "0.log"), link(250, &two, "1.log")), true);
        check((link(250, &one, "0.log"), link(250, &one, "0.log")), false);
    }
}
