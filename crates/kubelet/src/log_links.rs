//! A link for each container's log under a name that says whose it is: what log agents look for in
//! `/var/log/containers`.
//!
//! ```text
//! <links>/<pod>_<namespace>_<container>-<id>.log -> <logs>/<namespace>_<pod>_<uid>/<container>/<attempt>.log
//! ```

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

use crate::config::paths::pods_dir;
use crate::{Error, spec};

const SUFFIX: &str = ".log";
/// The longest name that a file can have.
const NAME_BYTES: usize = 255;

/// Links the log of the container `id`.
pub(crate) fn make(links: &Path, pod: &Pod, (container, id): (&str, &str), log: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(links).map_err(Error::io("creating", links))?;
    let link = links.join(name(pod, container, id));
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(log, &link).map_err(Error::io("linking", &link))
}

fn name(pod: &Pod, container: &str, id: &str) -> String {
    let mut name = format!("{}_{}_{container}-{id}", spec::name(pod), spec::namespace(pod));
    name.truncate(NAME_BYTES - SUFFIX.len());
    name + SUFFIX
}

/// Removes the links of the container `id`.
pub(crate) fn remove(links: &Path, id: &str) {
    remove_if(links, |link| link.file_name().is_some_and(|name| is_of(&name.to_string_lossy(), id)));
}

/// Whether the name is that of a link to the log of the container `id`, of which a long name has only the beginning.
fn is_of(name: &str, id: &str) -> bool {
    let Some((_, tail)) = name.strip_suffix(SUFFIX).and_then(|stem| stem.rsplit_once('-')) else { return false };
    tail == id || (name.len() == NAME_BYTES && !tail.is_empty() && id.starts_with(tail))
}

/// Removes links to logs below `logs` that are not there any more.
pub(crate) fn sweep(links: &Path, logs: &Path) {
    remove_if(links, |link| leads_below(link, logs) && !link.exists());
}

fn leads_below(link: &Path, logs: &Path) -> bool {
    std::fs::read_link(link).is_ok_and(|target| target.starts_with(logs))
}

fn remove_if(links: &Path, doomed: impl Fn(&Path) -> bool) {
    let entries = std::fs::read_dir(links).into_iter().flatten().flatten().map(|entry| entry.path());
    for link in entries.filter(|link| link.is_symlink() && doomed(link)) {
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
        for id in ["1a", "2b"] {
            make(&links, &pod, ("c", id), &log).unwrap();
        }
        assert_eq!(there(), ["p_ns_c-1a.log", "p_ns_c-2b.log"]);
        assert_eq!(std::fs::read_to_string(links.join("p_ns_c-1a.log")).unwrap(), "a line");
        remove(&links, "1a");
        sweep(&links, &logs);
        assert_eq!(there(), ["p_ns_c-2b.log"]);
        remove_logs(&root, &logs, &links).unwrap();
        assert!(there().is_empty() && !logs.join("ns_p_u").exists() && logs.join("ns_other_v").exists());
    }

    #[test]
    fn a_name_fits_into_a_directory() {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p".repeat(250), "namespace": "ns"}})).unwrap();
        let long = name(&pod, "c", "1a");
        assert!(long.len() == NAME_BYTES && long.ends_with(SUFFIX));
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p".repeat(200), "namespace": "ns"}})).unwrap();
        let id = "1a".repeat(32);
        let cut = name(&pod, "c", &id);
        assert!(cut.len() == NAME_BYTES && is_of(&cut, &id) && !is_of(&cut, "2b"));
        assert!(is_of("p_ns_c-1a.log", "1a") && !is_of("p_ns_c-1.log", "1a"));
    }
}
