//! Static Pods: those that stand in files of a directory on the node and run without the API server's say. The kernel
//! tells when a file changes; then the whole directory is read again. Start at [`follow`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Toleration};
use rustix::fs::inotify::WatchFlags;
use sampan_api::decode::{self, FieldValidation, Format};
use sampan_api::kind::KindRef;
use sampan_api::kinds::POD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::directory::Watch;
use crate::{Error, spec};

/// The digest of what a static Pod's file says, in the Pod and in its mirror.
pub(crate) const CONFIG_HASH: &str = "kubernetes.io/config.hash";
const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
/// Files larger than this are no Pod.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// So many files are read at most.
const MAX_FILES: usize = 500;

/// The static Pods by uid, which changes with what a file says.
pub(crate) type StaticPods = BTreeMap<String, Arc<Pod>>;

/// Whether `pod` comes from a file.
pub(crate) fn is_static(pod: &Pod) -> bool {
    annotation(pod, CONFIG_SOURCE) == Some("file")
}

fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Tells `on_change` what the directory says, now and whenever it says something else; ends only with an error.
pub(crate) async fn follow(dir: &Path, node: &str, on_change: impl Fn(StaticPods)) -> Result<(), Error> {
    tokio::fs::create_dir_all(dir).await.map_err(Error::io("creating", dir))?;
    let changes = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::DELETE;
    let watch = Watch::of(dir, changes)?;
    loop {
        on_change(read(dir, node).await);
        watch.changed().await?;
    }
}

/// What the directory says.
pub(crate) async fn read(dir: &Path, node: &str) -> StaticPods {
    let mut pods = StaticPods::new();
    let Ok(mut entries) = tokio::fs::read_dir(dir).await else { return pods };
    while let Ok(Some(entry)) = entries.next_entry().await
        && pods.len() < MAX_FILES
    {
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let small = entry.metadata().await.is_ok_and(|file| file.is_file() && file.len() <= MAX_FILE_BYTES);
        if hidden || !small {
            continue;
        }
        match tokio::fs::read(&path).await.map_err(|error| error.to_string()).and_then(|text| parse(&text, node)) {
            Ok(pod) => drop(pods.insert(spec::uid(&pod).to_owned(), Arc::new(pod))),
            Err(error) => tracing::warn!(file = %path.display(), %error, "a static Pod's file is not understood"),
        }
    }
    pods
}

/// The Pod that a file describes: named after its node too, bound to it, and staying whatever taints it has.
fn parse(text: &[u8], node: &str) -> Result<Pod, String> {
    let (said, _) = decode::any(text, Format::Yaml).map_err(|error| error.message)?;
    if said["kind"] != "Pod" {
        return Err(format!("kind {} is not Pod", said["kind"]));
    }
    // As the API server reads a Pod: from here on everything is of its type.
    let kind = KindRef::BuiltIn(&POD);
    let read = kind.model().and_then(|model| model.decode(text, Format::Yaml, FieldValidation::Ignore));
    let (mut object, _) = read.map_err(|error| error.message)?;
    let hash = hex::encode(&Sha256::digest([node.as_bytes(), text].concat())[..16]);
    let metadata = &mut object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default().to_owned();
    metadata["name"] = format!("{name}-{node}").into();
    metadata["uid"] = hash.clone().into();
    if metadata["namespace"].as_str().is_none_or(str::is_empty) {
        metadata["namespace"] = "default".into();
    }
    metadata["annotations"][CONFIG_HASH] = hash.into();
    metadata["annotations"][CONFIG_SOURCE] = "file".into();
    object["spec"]["nodeName"] = node.into();
    object["status"] = json!({"phase": "Pending"});
    kind.rules().default(&mut object);
    if let Some(fault) = kind.rules().validate(&object).first() {
        return Err(fault.to_string());
    }
    finish(object)
}

fn finish(object: Value) -> Result<Pod, String> {
    let mut pod: Pod = serde_json::from_value(object).map_err(|error| error.to_string())?;
    let all = Toleration { operator: Some("Exists".into()), effect: Some("NoExecute".into()), ..Toleration::default() };
    pod.spec.get_or_insert_default().tolerations.get_or_insert_default().push(all);
    Ok(pod)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: i}]}\n";

    #[test]
    fn a_file_is_a_pod_of_its_node() {
        let pod = parse(FILE.as_bytes(), "n1").unwrap();
        assert_eq!((spec::name(&pod), spec::namespace(&pod)), ("web-n1", "default"));
        assert!(is_static(&pod) && spec::is_critical(&pod));
        assert_eq!(spec::of(&pod).node_name.as_deref(), Some("n1"));
        assert_eq!(annotation(&pod, CONFIG_HASH), Some(spec::uid(&pod)));
        let other = parse(FILE.replace("image: i", "image: j").as_bytes(), "n1").unwrap();
        assert_ne!(spec::uid(&pod), spec::uid(&other));
        assert!(parse(FILE.replace("kind: Pod", "kind: Job").as_bytes(), "n1").is_err());
        assert!(parse(FILE.replace("image: i", "").as_bytes(), "n1").unwrap_err().contains("image"));
    }

    #[test]
    fn a_malformed_file_says_what_is_wrong() {
        let check = |file: &str, want: &str| {
            let why = parse(file.as_bytes(), "n1").unwrap_err();
            assert!(why.contains(want), "{file:?}: {why}");
        };
        check("kind: Pod\nmetadata: web\n", "metadata");
        check("kind: Pod\nmetadata: {name: web, annotations: [a]}\n", "annotations");
        check("kind: Pod\nmetadata: {name: web}\nspec: []\n", "spec");
        check("kind: Pod\nmetadata: {name: web}\nspec: {containers: {name: c}}\n", "containers");
        check("kind: Pod\nmetadata: {name: web}\nspec: {containers: [c]}\n", "containers");
        check("kind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, ports: x}]}\n", "ports");
        check("kind: Pod\nmetadata:\nspec:\n", "containers");
        check("kind: Pod\n", "containers");
        check("kind: [Pod]\n", "is not Pod");
        check("metadata: web\n", "is not Pod");
        check("[1, 2]", "is not Pod");
        check("web", "is not Pod");
        check("", "error decoding YAML");
        check("a: b: c", "error decoding YAML");
    }

    #[tokio::test]
    async fn a_malformed_file_keeps_no_other_pod_away() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.yaml"), "kind: Pod\nmetadata: web\n").unwrap();
        std::fs::write(dir.path().join("b.yaml"), FILE).unwrap();
        std::fs::write(dir.path().join("c.yaml"), "kind: Pod\nspec: []\n").unwrap();
        assert_eq!(read(dir.path(), "n1").await.len(), 1);
    }

    #[tokio::test]
    async fn the_directory_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
        let following = tokio::spawn(async move { follow(&path, "n1", |pods| told.send(pods.len()).unwrap()).await });
        assert_eq!(tell.recv().await, Some(0));
        std::fs::write(dir.path().join("web.yaml"), FILE).unwrap();
        assert_eq!(tell.recv().await, Some(1));
        std::fs::remove_file(dir.path().join("web.yaml")).unwrap();
        while tell.recv().await != Some(0) {}
        following.abort();
    }
}
