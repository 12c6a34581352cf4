//! A runtime for one test, a client for it, and short ways to say what a test wants.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sampan_cri::v1::image_service_client::ImageServiceClient;
use sampan_cri::v1::runtime_service_client::RuntimeServiceClient;
use sampan_cri::v1::*;
use sampan_network::{Attachment, HostPort, PodNetwork};
use sampan_runtime::archive::image_archive_client::ImageArchiveClient;
use sampan_runtime::archive::{ImportRequest, RootfsConfig};
use sampan_runtime::{Handle, Options, Proxy, PullOptions, Runtime};
use tonic::transport::Channel;

use super::registry::Registry;

pub(crate) const IMAGE: &str = "docker.io/library/busybox:latest";

/// No network: a Pod has its loopback, and an address only on paper.
struct Nowhere;

#[async_trait]
impl PodNetwork for Nowhere {
    async fn attach(&self, _: &str, _: &Path) -> Result<Attachment, sampan_network::Error> {
        let addresses = vec![IpAddr::from([10, 42, 0, 9])];
        Ok(Attachment { addresses, interface: "eth0".to_owned() })
    }

    async fn publish(&self, _: &str, _: &[HostPort]) -> Result<(), sampan_network::Error> {
        Ok(())
    }

    async fn detach(&self, _: &str) -> Result<(), sampan_network::Error> {
        Ok(())
    }

    async fn adopt(&self, _: &[String]) -> Result<Vec<(String, Attachment)>, sampan_network::Error> {
        Ok(Vec::new())
    }
}

/// A runtime with everything of its own.
pub(crate) struct Fixture {
    pub(crate) directory: PathBuf,
    pub(crate) cgroup: String,
    handle: Option<Handle>,
    pub(crate) cri: RuntimeServiceClient<Channel>,
    pub(crate) images: ImageServiceClient<Channel>,
    pub(crate) archive: ImageArchiveClient<Channel>,
}

impl Fixture {
    /// After a test that failed.
    pub(crate) async fn clean_up(name: &str) {
        discard(&unique(std::process::id(), name)).await.unwrap();
    }

    /// After runs that were killed.
    pub(crate) async fn sweep() {
        for entry in fs::read_dir(PLACE).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            if owner(&name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                eprintln!("removing what is left of {name}");
                // Another run may be at it too.
                discard(&name).await.unwrap_or_else(|error| eprintln!("cleaning up: {error}"));
            }
        }
    }

    pub(crate) async fn new(name: &str) -> Self {
        let unique = unique(std::process::id(), name);
        let directory = Path::new(PLACE).join(&unique);
        fs::create_dir_all(directory.join("logs")).unwrap();
        let mut fixture = Self::connected(directory, unique).await;
        let tar = fixture.directory.join("busybox.tar");
        busybox(&tar);
        let cmd = vec!["sh".to_owned()];
        let rootfs = Some(RootfsConfig { cmd, ..Default::default() });
        let path = tar.display().to_string();
        fixture.archive.import(ImportRequest { path, name: "busybox".to_owned(), rootfs }).await.unwrap();
        fixture
    }

    async fn connected(directory: PathBuf, cgroup: String) -> Self {
        let handle = Runtime::start(options(&directory, &cgroup)).await.unwrap();
        let channel = sampan_cri::connect(&directory.join("cri.sock")).await.unwrap();
        Self {
            cri: RuntimeServiceClient::new(channel.clone()),
            images: ImageServiceClient::new(channel.clone()),
            archive: ImageArchiveClient::new(channel),
            handle: Some(handle),
            directory,
            cgroup,
        }
    }

    /// One more client of the same runtime.
    pub(crate) fn view(&self) -> Self {
        Self {
            directory: self.directory.clone(),
            cgroup: self.cgroup.clone(),
            handle: None,
            cri: self.cri.clone(),
            images: self.images.clone(),
            archive: self.archive.clone(),
        }
    }

    /// Stops the runtime and starts another one on the same directories.
    pub(crate) async fn restart(mut self, meanwhile: impl FnOnce()) -> Self {
        self.handle.take().unwrap().shutdown().await;
        meanwhile();
        Self::connected(self.directory.clone(), self.cgroup.clone()).await
    }

    /// Ends everything and looks for remains.
    pub(crate) async fn finish(mut self) {
        self.handle.take().unwrap().shutdown().await;
        Runtime::purge(options(&self.directory, &self.cgroup)).await.unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let left: Vec<_> = mounts.lines().filter(|line| line.contains(&self.cgroup)).collect();
        assert!(left.is_empty(), "mounts are left: {left:?}");
        let trees = fs::read_dir("/sys/fs/cgroup").unwrap().map(|tree| tree.unwrap().path());
        for tree in trees.chain(["/sys/fs/cgroup".into()]) {
            let group = tree.join(&self.cgroup);
            assert!(!group.exists(), "{} is left", group.display());
        }
        let empty = |name: &str| fs::read_dir(self.directory.join(name)).unwrap().next().is_none();
        assert!(empty("state/sandboxes") && empty("state/containers") && empty("state/netns"), "records are left");
        assert!(empty("root/containers"), "writable layers are left");
        fs::remove_dir_all(&self.directory).unwrap();
    }

    /// The control group at `path` below this test's own, where `controller` rules: each has a tree of its own, or all
    /// share one.
    pub(crate) fn group(&self, controller: &str, path: &str) -> PathBuf {
        let root = Path::new("/sys/fs/cgroup");
        let unified = root.join("cgroup.controllers").exists();
        let root = if unified { root.to_path_buf() } else { root.join(controller) };
        root.join(&self.cgroup).join(path)
    }

    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join("logs").join(name)).unwrap_or_default()
    }

    /// The messages of a log, without times and tags.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        self.log(name).lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned()).collect()
    }

    pub(crate) async fn sandbox(&mut self) -> String {
        self.sandbox_with(|_| {}).await
    }

    pub(crate) async fn sandbox_with(&mut self, change: impl FnOnce(&mut PodSandboxConfig)) -> String {
        self.sandbox_of("", change).await.unwrap()
    }

    /// A sandbox by the runtime of this name.
    pub(crate) async fn sandbox_of(
        &mut self,
        handler: &str,
        change: impl FnOnce(&mut PodSandboxConfig),
    ) -> Result<String, tonic::Status> {
        let options = NamespaceOption { pid: NamespaceMode::Container.into(), ..Default::default() };
        let security = LinuxSandboxSecurityContext { namespace_options: Some(options), ..Default::default() };
        let linux = LinuxPodSandboxConfig {
            cgroup_parent: format!("/{}/pod", self.cgroup),
            security_context: Some(security),
            ..Default::default()
        };
        let mut config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata { name: "pod".to_owned(), ..Default::default() }),
            hostname: "pod-name".to_owned(),
            log_directory: self.directory.join("logs").display().to_string(),
            dns_config: Some(DnsConfig { servers: vec!["10.43.0.10".to_owned()], ..Default::default() }),
            linux: Some(linux),
            ..Default::default()
        };
        change(&mut config);
        let request = RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
        Ok(self.cri.run_pod_sandbox(request).await?.into_inner().pod_sandbox_id)
    }

    /// Makes a container that runs `script` and logs to `<name>.log`.
    pub(crate) async fn create(&mut self, sandbox: &str, name: &str, script: &str) -> String {
        self.create_with(sandbox, name, script, |_| {}).await.unwrap()
    }

    pub(crate) async fn create_with(
        &mut self,
        sandbox: &str,
        name: &str,
        script: &str,
        change: impl FnOnce(&mut ContainerConfig),
    ) -> Result<String, tonic::Status> {
        let mut config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.to_owned(), attempt: 0 }),
            image: Some(ImageSpec { image: IMAGE.to_owned(), ..Default::default() }),
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            log_path: format!("{name}.log"),
            labels: HashMap::from([("name".to_owned(), name.to_owned())]),
            ..Default::default()
        };
        change(&mut config);
        let request =
            CreateContainerRequest { pod_sandbox_id: sandbox.to_owned(), config: Some(config), sandbox_config: None };
        Ok(self.cri.create_container(request).await?.into_inner().container_id)
    }

    pub(crate) async fn start(&mut self, id: &str) -> Result<(), tonic::Status> {
        self.cri.start_container(StartContainerRequest { container_id: id.to_owned() }).await.map(drop)
    }

    /// Makes, starts, and waits for the end.
    pub(crate) async fn run(&mut self, sandbox: &str, name: &str, script: &str) -> ContainerStatus {
        self.run_with(sandbox, name, script, |_| {}).await
    }

    pub(crate) async fn run_with(
        &mut self,
        sandbox: &str,
        name: &str,
        script: &str,
        change: impl FnOnce(&mut ContainerConfig),
    ) -> ContainerStatus {
        let id = self.create_with(sandbox, name, script, change).await.unwrap();
        self.start(&id).await.unwrap();
        self.ended(&id).await
    }

    /// Waits, by events, until the container has ended.
    pub(crate) async fn ended(&mut self, id: &str) -> ContainerStatus {
        let mut events = self.cri.get_container_events(GetEventsRequest {}).await.unwrap().into_inner();
        loop {
            let status = self.status(id).await;
            if status.state() == ContainerState::ContainerExited {
                return status;
            }
            events.message().await.unwrap();
        }
    }

    pub(crate) async fn status(&mut self, id: &str) -> ContainerStatus {
        let request = ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        self.cri.container_status(request).await.unwrap().into_inner().status.unwrap()
    }

    pub(crate) async fn exec(&mut self, id: &str, script: &str, timeout: i64) -> Result<(String, i32), tonic::Status> {
        let cmd = ["sh", "-c", script].map(str::to_owned).to_vec();
        let request = ExecSyncRequest { container_id: id.to_owned(), cmd, timeout };
        let response = self.cri.exec_sync(request).await?.into_inner();
        let text = String::from_utf8(response.stdout).unwrap() + &String::from_utf8(response.stderr).unwrap();
        Ok((text, response.exit_code))
    }

    pub(crate) async fn pull(&mut self, name: &str, auth: Option<AuthConfig>) -> Result<String, tonic::Status> {
        let image = Some(ImageSpec { image: name.to_owned(), ..Default::default() });
        let request = PullImageRequest { image, auth, sandbox_config: None };
        Ok(self.images.pull_image(request).await?.into_inner().image_ref)
    }

    pub(crate) async fn image(&mut self, name: &str) -> Option<Image> {
        let image = Some(ImageSpec { image: name.to_owned(), ..Default::default() });
        self.images.image_status(ImageStatusRequest { image, verbose: false }).await.unwrap().into_inner().image
    }

    pub(crate) async fn remove_image(&mut self, name: &str) {
        let image = Some(ImageSpec { image: name.to_owned(), ..Default::default() });
        self.images.remove_image(RemoveImageRequest { image }).await.unwrap();
    }

    /// Says how `registry` is to be spoken to; `authority` lies beside as `ca.crt`.
    pub(crate) fn hosts(&self, registry: &Registry, text: &str, authority: &str) {
        self.hosts_of(&registry.address.to_string(), text);
        fs::write(self.directory.join("registries.d").join(registry.address.to_string()).join("ca.crt"), authority)
            .unwrap();
    }

    pub(crate) fn hosts_of(&self, registry: &str, text: &str) {
        let place = self.directory.join("registries.d").join(registry);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("hosts.toml"), text).unwrap();
    }

    /// How many layers there are, and how many transfers have left something.
    pub(crate) fn footprint(&self) -> (usize, usize) {
        let count = |name: &str| fs::read_dir(self.directory.join(name)).unwrap().count();
        (count("root/layers"), count("root/images/staging"))
    }

    pub(crate) async fn stop(&mut self, id: &str, timeout: i64) {
        self.cri.stop_container(StopContainerRequest { container_id: id.to_owned(), timeout }).await.unwrap();
    }
}

/// Where the tests' directories are.
const PLACE: &str = "/var/tmp";
/// Their names begin with this; an id of a process and the name of a test follow.
const PREFIX: &str = "sampan-t";

fn unique(pid: u32, name: &str) -> String {
    format!("{PREFIX}{pid}-{name}")
}

/// The process whose test has this name, if it is one that [`unique`] makes.
fn owner(name: &str) -> Option<u32> {
    let (pid, test) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let pid = pid.parse().ok()?;
    (name == unique(pid, test)).then_some(pid)
}

/// Ends whatever runs of a test and removes all of it.
async fn discard(unique: &str) -> Result<(), Box<dyn std::error::Error>> {
    let directory = Path::new(PLACE).join(unique);
    Runtime::purge(options(&directory, unique)).await?;
    Ok(fs::remove_dir_all(&directory)?)
}

fn options(directory: &Path, unique: &str) -> Options {
    Options {
        root: directory.join("root"),
        state: directory.join("state"),
        socket: directory.join("cri.sock"),
        cgroup_root: unique.to_owned(),
        shim: vec![std::env::current_exe().unwrap().into(), "shim".into()],
        network: Arc::new(Nowhere),
        instance: unique.to_owned(),
        pulls: PullOptions {
            registries: directory.join("registries.d"),
            stall_timeout: Duration::from_secs(1),
            max_image_bytes: 16 << 20,
            proxy: proxy(directory),
        },
    }
}

/// What a test has written down.
fn proxy(directory: &Path) -> Proxy {
    Proxy { url: fs::read_to_string(directory.join("proxy")).unwrap_or_default(), ..Proxy::default() }
}

/// A root filesystem made of busybox.
fn busybox(path: &Path) {
    let mut tar = tar::Builder::new(fs::File::create(path).unwrap());
    for directory in ["bin/", "etc/", "tmp/", "data/"] {
        entry(&mut tar, directory, tar::EntryType::Directory, 0o777, b"");
    }
    entry(&mut tar, "bin/busybox", tar::EntryType::Regular, 0o755, &fs::read("/bin/busybox").unwrap());
    for applet in [
        "sh", "cat", "echo", "sleep", "id", "ls", "hostname", "mount", "dd", "ps", "stty", "nc", "mknod", "unshare",
        "kill", "touch", "grep", "tail", "true", "yes", "head", "ip",
    ] {
        link(&mut tar, &format!("bin/{applet}"), "busybox", tar::EntryType::Symlink);
    }
    // As images have it that leave making `/run` to others.
    link(&mut tar, "waiting", "/nowhere/yet", tar::EntryType::Symlink);
    entry(
        &mut tar,
        "etc/passwd",
        tar::EntryType::Regular,
        0o644,
        b"root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n",
    );
    entry(&mut tar, "etc/group", tar::EntryType::Regular, 0o644, b"root:x:0:\nlog:x:4:web\n");
    tar.finish().unwrap();
}

/// A layer, uncompressed.
pub(crate) fn layer(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    fill(&mut tar);
    tar.into_inner().unwrap()
}

/// Appends one entry, whatever its name.
pub(crate) fn entry(
    tar: &mut tar::Builder<impl std::io::Write>,
    name: &str,
    kind: tar::EntryType,
    mode: u32,
    bytes: &[u8],
) {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    tar.append(&header, bytes).unwrap();
}

/// Appends one link, wherever it leads.
pub(crate) fn link(tar: &mut tar::Builder<impl std::io::Write>, name: &str, target: &str, kind: tar::EntryType) {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o777);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    tar.append(&header, &b""[..]).unwrap();
}
