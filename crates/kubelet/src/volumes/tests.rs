//! Volumes in temporary directories, as root.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ClusterTrustBundleProjection, ConfigMap, Secret};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;

/// One ConfigMap and one Secret, which tests change.
#[derive(Default)]
struct Fixed {
    map: Mutex<Option<ConfigMap>>,
    secret: Mutex<Option<Secret>>,
}

impl Objects for Fixed {
    fn config_map(&self, _name: &str) -> Option<Arc<ConfigMap>> {
        self.map.lock().clone().map(Arc::new)
    }

    fn secret(&self, _name: &str) -> Option<Arc<Secret>> {
        self.secret.lock().clone().map(Arc::new)
    }

    fn trust_bundle(&self, projection: &ClusterTrustBundleProjection) -> Result<String, Error> {
        Ok(format!("bundle {}", projection.name.as_deref().unwrap_or_default()))
    }
}

struct World {
    dir: tempfile::TempDir,
    objects: Fixed,
    pod: Pod,
}

impl World {
    /// A Pod with `volumes`; `security` is its security context.
    fn new(volumes: Value, security: Value) -> Self {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u1", "labels": {"app": "x"}},
            "spec": {"containers": [{"name": "c"}], "volumes": volumes, "securityContext": security},
        });
        let dir = tempfile::Builder::new().prefix("sampan-t").tempdir().unwrap();
        Self { dir, objects: Fixed::default(), pod: serde_json::from_value(pod).unwrap() }
    }

    fn paths(&self) -> PodPaths {
        PodPaths::of(&self.pod, &self.dir.path().join("root"), &self.dir.path().join("logs"))
    }

    fn map(&self, data: &[(&str, &str)]) {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        *self.objects.map.lock() = Some(ConfigMap { data: Some(data), ..ConfigMap::default() });
    }

    fn secret(&self, data: &[(&str, &str)]) {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        *self.objects.secret.lock() = Some(Secret { data: Some(data.collect()), ..Secret::default() });
    }

    async fn set_up(&self) -> Result<Ready, String> {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("no API server here"))
        });
        let tokens = Tokens::new(&kube::Client::new(service, "default"));
        let certificates =
            crate::pod_certificates::PodCertificates::new(&crate::tests::client(), "n1", &sampan_client::Tasks::new());
        let (paths, facts) = (self.paths(), Facts::default());
        let context = Context {
            pod: &self.pod,
            paths: &paths,
            objects: &self.objects,
            facts: &facts,
            tokens: &tokens,
            certificates: &certificates,
        };
        set_up(&context).await.map_err(|wrong| wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    async fn place(&self) -> PathBuf {
        self.set_up().await.unwrap().places["v"].path.clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        remove_all(&self.paths()).unwrap();
    }
}

fn read(dir: &Path, file: &str) -> String {
    std::fs::read_to_string(dir.join(file)).unwrap_or_else(|error| error.to_string())
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_config_map_is_shown_and_followed() {
    let world = World::new(json!([{"name": "v", "configMap": {"name": "cfg"}}]), json!({}));
    let error = world.set_up().await.unwrap_err();
    assert_eq!(error, "MountVolume.SetUp failed for volume \"v\" : configmap \"cfg\" not found");
    world.map(&[("a", "1"), ("b", "2")]);
    let dir = world.place().await;
    assert_eq!((read(&dir, "a").as_str(), read(&dir, "b").as_str()), ("1", "2"));
    assert_eq!(mode(&dir.join("a")), 0o644);
    let data = dir.join("..data").read_link().unwrap();
    world.place().await;
    assert_eq!(dir.join("..data").read_link().unwrap(), data, "an unchanged volume is left alone");
    world.map(&[("a", "3")]);
    world.place().await;
    assert_eq!(read(&dir, "a"), "3");
    assert!(!dir.join("b").exists() && dir.join("b").symlink_metadata().is_err());
    assert!(!dir.join(data).exists());
}

#[tokio::test]
async fn what_a_killed_kubelet_left_undone_is_done() {
    let world = World::new(json!([{"name": "v", "configMap": {"name": "cfg"}}]), json!({}));
    world.map(&[("a", "1"), ("b", "2")]);
    let dir = world.place().await;
    std::fs::remove_file(dir.join("b")).unwrap();
    symlink("..data/c", dir.join("c")).unwrap();
    std::fs::create_dir(dir.join("..2026_01_01_00_00_00.0")).unwrap();
    std::fs::write(dir.join("..2026_01_01_00_00_00.0/c"), "old").unwrap();
    world.place().await;
    assert_eq!(read(&dir, "b"), "2");
    let mut names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let data = dir.join("..data").read_link().unwrap();
    assert_eq!(names, [data.as_os_str(), "..data".as_ref(), "a".as_ref(), "b".as_ref()]);
}

#[tokio::test]
async fn keys_are_chosen_and_have_modes() {
    let items = json!([{"key": "a", "path": "deep/er/a", "mode": 0o400}, {"key": "b", "path": "b"}]);
    let volume = json!([{"name": "v", "configMap": {"name": "cfg", "items": items, "defaultMode": 0o600}}]);
    let world = World::new(volume, json!({}));
    world.map(&[("a", "1")]);
    let error = world.set_up().await.unwrap_err();
    assert_eq!(error, "MountVolume.SetUp failed for volume \"v\" : references non-existent config key: b");
    world.map(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let dir = world.place().await;
    assert_eq!(read(&dir, "deep/er/a"), "1");
    assert_eq!((mode(&dir.join("deep/er/a")), mode(&dir.join("b"))), (0o400, 0o600));
    assert!(!dir.join("c").exists());
}

#[tokio::test]
async fn an_optional_object_may_be_missing() {
    let world = World::new(json!([{"name": "v", "secret": {"secretName": "s", "optional": true}}]), json!({}));
    let dir = world.place().await;
    assert!(dir.join("..data").exists());
    world.secret(&[("k", "v")]);
    world.place().await;
    assert_eq!(read(&dir, "k"), "v");
}

#[tokio::test]
async fn secrets_are_in_memory_and_readable_by_the_group() {
    let volume = json!([{"name": "v", "secret": {"secretName": "s", "defaultMode": 0o400}}]);
    let world = World::new(volume, json!({"fsGroup": 4242}));
    world.secret(&[("k", "v")]);
    let dir = world.place().await;
    assert!(mounting::is_mounted(&dir).unwrap());
    let file = dir.join("k");
    assert_eq!((file.metadata().unwrap().gid(), mode(&file)), (4242, 0o440));
}

#[tokio::test]
async fn an_empty_dir_keeps_its_files() {
    for medium in ["", "Memory"] {
        let volume = json!([{"name": "v", "emptyDir": {"medium": medium, "sizeLimit": "1Mi"}}]);
        let world = World::new(volume, json!({"fsGroup": 4242}));
        // A kubelet was killed while it made the directory.
        let unfinished = world.paths().volume("empty-dir", "..v");
        std::fs::create_dir_all(&unfinished).unwrap();
        std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o700)).unwrap();
        let dir = world.place().await;
        assert_eq!(mounting::is_mounted(&dir).unwrap(), medium == "Memory");
        assert_eq!((dir.metadata().unwrap().gid(), mode(&dir)), (4242, 0o2777));
        std::fs::write(dir.join("f"), "x").unwrap();
        world.place().await;
        assert_eq!(read(&dir, "f"), "x");
        let large = vec![0u8; 2 << 20];
        assert_eq!(std::fs::write(dir.join("large"), large).is_err(), medium == "Memory");
    }
}

#[tokio::test]
async fn facts_are_projected_beside_objects() {
    let sources = json!([
        {"configMap": {"name": "cfg"}},
        {"secret": {"name": "s", "items": [{"key": "k", "path": "secret/k"}]}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]);
    let world = World::new(json!([{"name": "v", "projected": {"sources": sources}}]), json!({}));
    world.map(&[("a", "1")]);
    world.secret(&[("k", "v")]);
    let dir = world.place().await;
    assert_eq!((read(&dir, "a").as_str(), read(&dir, "secret/k").as_str()), ("1", "v"));
    assert_eq!(read(&dir, "labels"), "app=\"x\"");
}

#[tokio::test]
async fn host_paths_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    for (name, kind, want) in [
        ("file", "", Ok(())),
        ("file", "File", Ok(())),
        ("new/dir", "DirectoryOrCreate", Ok(())),
        ("new/file", "FileOrCreate", Ok(())),
        ("file", "Directory", Err("is not a directory")),
        ("none", "File", Err("is not a file")),
        ("file", "Socket", Err("is not a socket file")),
    ] {
        let volume = json!([{"name": "v", "hostPath": {"path": at(name), "type": kind}}]);
        let got = World::new(volume, json!({})).set_up().await.map(|_| ());
        match want {
            Ok(()) => assert_eq!(got, Ok(()), "{name} {kind}"),
            Err(text) => assert!(got.as_ref().is_err_and(|error| error.ends_with(text)), "{name} {kind}: {got:?}"),
        }
    }
}

#[tokio::test]
async fn sub_paths_stay_inside_their_volume() {
    let world = World::new(json!([{"name": "v", "emptyDir": {}}]), json!({}));
    let dir = world.place().await;
    let outside = world.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("f"), "secret").unwrap();
    std::fs::create_dir(dir.join("in")).unwrap();
    std::fs::write(dir.join("in/f"), "inside").unwrap();
    symlink("in", dir.join("good")).unwrap();
    symlink(&outside, dir.join("absolute")).unwrap();
    symlink("../../../../../..", dir.join("relative")).unwrap();
    symlink("/etc/shadow", dir.join("file")).unwrap();
    let target = |index| world.paths().subpath("v", "c", index);
    for (index, sub_path) in
        ["absolute", "relative", "relative/etc", "file", "absolute/new", "../x", "/etc"].iter().enumerate()
    {
        let error = expose_subpath(&dir, sub_path, &target(index)).unwrap_err().to_string();
        assert!(error.contains("leads out of its volume") || error.contains("must be relative"), "{sub_path}: {error}");
    }
    let good = expose_subpath(&dir, "good", &target(10)).unwrap();
    assert_eq!(read(&good, "f"), "inside");
    let file = expose_subpath(&dir, "in/f", &target(11)).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "inside");
    let made = expose_subpath(&dir, "made/deep", &target(12)).unwrap();
    std::fs::write(made.join("x"), "y").unwrap();
    assert_eq!(read(&dir, "made/deep/x"), "y");
}

#[tokio::test]
async fn a_sub_path_that_is_made_is_for_those_who_have_the_volume() {
    for (security, want) in [(json!({}), (0, 0o777)), (json!({"fsGroup": 4242}), (4242, 0o2777))] {
        let world = World::new(json!([{"name": "v", "emptyDir": {}}]), security);
        let dir = world.place().await;
        expose_subpath(&dir, "data/deep", &world.paths().subpath("v", "c", 0)).unwrap();
        for made in ["data", "data/deep"] {
            let made = dir.join(made);
            assert_eq!((made.metadata().unwrap().gid(), mode(&made)), want, "{}", made.display());
        }
    }
}

#[tokio::test]
async fn a_sub_path_is_left_as_it_is_when_its_container_starts_again() {
    let world = World::new(json!([{"name": "v", "emptyDir": {}}]), json!({}));
    let dir = world.place().await;
    let target = |index| world.paths().subpath("v", "c", index);
    let inode = |path: &Path| path.symlink_metadata().unwrap().ino();
    expose_subpath(&dir, "data", &target(0)).unwrap();
    std::fs::set_permissions(dir.join("data"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    expose_subpath(&dir, "data", &target(0)).unwrap();
    assert_eq!(mode(&dir.join("data")), 0o1777);
    // Opening a pipe for writing waits for a reader.
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    for _ in 0..2 {
        expose_subpath(&dir, "pipe", &target(1)).unwrap();
        assert_eq!(inode(&target(1)), inode(&dir.join("pipe")));
    }
    // What stands there now is another file, or of another sort.
    for remake in [|at: &Path| std::fs::write(at, "new").unwrap(), |at: &Path| std::fs::create_dir(at).unwrap()] {
        std::fs::rename(dir.join("pipe"), tempfile::tempdir_in(&dir).unwrap().keep().join("old")).unwrap();
        remake(&dir.join("pipe"));
        expose_subpath(&dir, "pipe", &target(1)).unwrap();
        assert_eq!(inode(&target(1)), inode(&dir.join("pipe")));
    }
}

#[tokio::test]
async fn only_regular_files_of_a_volume_are_read() {
    let world = World::new(json!([{"name": "v", "emptyDir": {}}]), json!({}));
    let dir = world.place().await;
    std::fs::write(dir.join("file"), "inside").unwrap();
    symlink("file", dir.join("link")).unwrap();
    symlink("/etc/passwd", dir.join("out")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let (kind, device) = (rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(510, 77));
    rustix::fs::mknodat(rustix::fs::CWD, dir.join("device"), kind, mode, device).unwrap();
    let read = |path: &str| {
        let file = open_beneath(&dir, path).map_err(|error| error.to_string())?;
        Ok::<_, String>(file.map(|file| std::io::read_to_string(file).unwrap()))
    };
    assert_eq!(read("file"), Ok(Some("inside".to_owned())));
    assert_eq!(read("link"), Ok(Some("inside".to_owned())));
    assert_eq!(read("none"), Ok(None));
    for (path, why) in [("out", "Invalid cross-device link"), ("device", "not a regular file"), (".", "is a directory")]
    {
        assert!(read(path).is_err_and(|error| error.contains(why)), "{path}: {:?}", read(path));
    }
}

/// Runs `work` in a mount namespace of its own, whose mounts below `dir` are shared as systemd shares all of a node.
fn with_shared_mounts(dir: &Path, work: impl FnOnce() + Send) {
    use nix::mount::{MsFlags, mount};
    let none = None::<&str>;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), none).unwrap();
            mount(none, dir, none, MsFlags::MS_SHARED, none).unwrap();
            work();
        });
    });
}

#[test]
fn the_end_of_a_sub_path_takes_no_mount_of_the_node() {
    use nix::mount::{MsFlags, mount};
    let dir = tempfile::tempdir().unwrap();
    let (host, root) = (dir.path().join("host"), dir.path().join("root"));
    let paths = PodPaths::named("ns", "p", "u1", (&root, &dir.path().join("logs")));
    let mount_at = |name: &str| {
        let at = host.join(name);
        std::fs::create_dir_all(&at).unwrap();
        mount(Some("tmpfs"), &at, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        std::fs::write(at.join("precious"), name).unwrap();
    };
    with_shared_mounts(dir.path(), || {
        mount_at("dev/pts");
        let target = paths.subpath("v", "c", 0);
        expose_subpath(&host, "dev", &target).unwrap();
        mount_at("dev/later");
        assert_eq!(read(&target, "later/precious"), "dev/later", "what is mounted on the node later is seen");
        // The sub-path is another directory now, and its container starts again.
        std::fs::rename(host.join("dev"), host.join("was")).unwrap();
        mount_at("dev/shm");
        expose_subpath(&host, "dev", &target).unwrap();
        mount_at("dev/last");
        remove_all(&paths).unwrap();
        assert!(!paths.dir.exists());
        for (name, want) in
            [("was/pts", "dev/pts"), ("was/later", "dev/later"), ("dev/shm", "dev/shm"), ("dev/last", "dev/last")]
        {
            assert_eq!(read(&host.join(name), "precious"), want, "{name}");
        }
    });
}

#[tokio::test]
async fn a_directory_in_memory_is_no_larger_than_its_pod() {
    for (own, of_pod, want) in [(None, "3Mi", 3), (Some("1Mi"), "3Mi", 1), (Some("9Mi"), "3Mi", 3)] {
        let volume = json!([{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": own}}]);
        let mut world = World::new(volume, json!({}));
        let resources = json!({"limits": {"memory": of_pod}});
        world.pod.spec.as_mut().unwrap().containers[0].resources = serde_json::from_value(resources).unwrap();
        let dir = world.place().await;
        let size = rustix::fs::statvfs(&dir).unwrap();
        assert_eq!(size.f_blocks * size.f_frsize, want << 20, "{own:?} {of_pod}");
    }
}

#[tokio::test]
async fn a_directory_of_huge_pages_has_pages_of_the_size_that_the_pod_asks_for() {
    for medium in ["HugePages", "HugePages-2Mi"] {
        let volume = json!([{"name": "v", "emptyDir": {"medium": medium}}]);
        let mut world = World::new(volume, json!({"fsGroup": 4242}));
        let resources = json!({"requests": {"hugepages-2Mi": "4Mi"}, "limits": {"hugepages-2Mi": "4Mi"}});
        world.pod.spec.as_mut().unwrap().containers[0].resources = serde_json::from_value(resources).unwrap();
        let dir = world.place().await;
        let is = nix::sys::statfs::statfs(&dir).unwrap();
        assert_eq!((is.filesystem_type(), is.block_size()), (nix::sys::statfs::HUGETLBFS_MAGIC, 2 << 20), "{medium}");
        assert_eq!((dir.metadata().unwrap().gid(), mode(&dir)), (4242, 0o2777));
    }
    let world = World::new(json!([{"name": "v", "emptyDir": {"medium": "HugePages"}}]), json!({}));
    assert!(world.set_up().await.unwrap_err().contains("needs a Pod that asks for huge pages of one size"));
}

#[tokio::test]
async fn removal_leaves_what_mounts_show() {
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("precious"), "x").unwrap();
    let volume = json!([{"name": "v", "hostPath": {"path": host.path().display().to_string()}}]);
    let world = World::new(volume, json!({}));
    let dir = world.place().await;
    std::fs::create_dir(host.path().join("sub")).unwrap();
    std::fs::write(host.path().join("sub/precious"), "x").unwrap();
    let shown = expose_subpath(&dir, "sub", &world.paths().subpath("v", "c", 0)).unwrap();
    assert_eq!(read(&shown, "precious"), "x");
    symlink(host.path(), world.paths().dir.join("link")).unwrap();
    remove_all(&world.paths()).unwrap();
    assert!(!world.paths().dir.exists());
    assert_eq!(read(host.path(), "sub/precious"), "x");
    assert_eq!(read(host.path(), "precious"), "x");
}
