//! The life of a container: made, started, stopped, removed.
//!
//! ```text
//!   Created ──start──> Running ──its program ends──> Exited          removed from any of the three
//!      └──────start fails (StartError, 128)────────────┘
//! ```
//!
//! Making one only writes down what it is to be; everything that touches the kernel happens in its shim at the start.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sampan_cri::v1::{ContainerConfig, ContainerEventType, LinuxContainerResources, MountPropagation};

use crate::cgroups::Group;
use crate::disk::{self, Durability};
use crate::error::{Error, Result};
use crate::images::Image;
use crate::node::{Container, ContainerState, Node, Sandbox};
use crate::records::{self, ContainerRecord};
use crate::sandboxes;
use crate::shim::wire::{Answer, BUNDLE_FILE, Bundle, Call, Exit, Overlay, Running};
use crate::spec::{self, Inputs};
use crate::{lookup, propagation, shims, signals};

/// How long the kernel may take to end a container that was killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);
/// The exit code of a container that could not be started, as containerd has it.
const START_ERROR_CODE: i32 = 128;
/// The exit code of a container whose end nobody saw.
const UNKNOWN_CODE: i32 = 255;

/// Makes a container in a sandbox.
pub(crate) async fn create(node: &Arc<Node>, sandbox: &str, config: ContainerConfig) -> Result<String> {
    let sandbox = node.sandbox(sandbox)?;
    if !sandbox.is_ready() {
        return Err(Error::State(format!("sandbox {:?} is not ready", sandbox.id)));
    }
    let apparmor = node.apparmor.confinement(&spec::security_context(&config)).await?;
    let name = config.image.as_ref().map(|image| image.image.clone()).unwrap_or_default();
    let node = Arc::clone(node);
    // Files are read and written: not on a thread that serves others.
    blocking(move || {
        let _held = node.images.hold();
        let image = node.images.find(&name).ok_or(Error::ImageMissing(name))?;
        write_down(&node, &sandbox, config, (&image, apparmor.as_deref()))
    })
    .await
}

fn write_down(
    node: &Arc<Node>,
    sandbox: &Arc<Sandbox>,
    mut config: ContainerConfig,
    (image, apparmor): (&Image, Option<&str>),
) -> Result<String> {
    let id = sandboxes::new_id();
    let volumes = lookup::volumes(node, &mut config)?;
    let directory = node.places.container(&id);
    let security = spec::security_context(&config);
    let record = ContainerRecord {
        sandbox: sandbox.id.clone(),
        created_at: sampan_clock::now(),
        image: image.id.clone(),
        layers: image.layers.iter().chain(volumes.values().flatten()).cloned().collect(),
        identity: lookup::identity(node, image, &security)?,
        cgroup: format!("{}/{id}", sandbox.record.cgroup),
        stop_signal: signals::stop_signal(config.stop_signal(), &image.config.stop_signal)?,
        log: log_path(sandbox, &config)?,
    };
    let parts = Parts { id: &id, image, record: &record, volumes: &volumes, apparmor };
    let bundle = bundle(node, sandbox, &config, &parts)?;
    let written = write_files(&directory, &config, &record, &bundle);
    if let Err(error) = written {
        let _ = sampan_trees::remove(&directory);
        let _ = sampan_trees::remove(&node.places.writable().join(&id));
        return Err(error);
    }
    node.add_container(Arc::new(Container::new(id.clone(), config, record, ContainerState::Created)));
    node.announce(&id, sandbox, ContainerEventType::ContainerCreatedEvent);
    Ok(id)
}

fn write_files(directory: &Path, config: &ContainerConfig, record: &ContainerRecord, bundle: &Bundle) -> Result<()> {
    let rootfs = bundle.spec.root().as_ref().map(|root| root.path().clone()).unwrap_or_default();
    for path in [directory, &rootfs, &bundle.overlay.upper, &bundle.overlay.work] {
        fs::create_dir_all(path).map_err(Error::io_at("creating", path))?;
    }
    if let Some(parent) = bundle.log.as_ref().and_then(|log| log.parent()) {
        fs::create_dir_all(parent).map_err(Error::io_at("creating", parent))?;
    }
    for mount in config.mounts.iter().filter(|mount| mount.image.is_none()) {
        let path = Path::new(&mount.host_path);
        if !path.exists() {
            fs::create_dir_all(path).map_err(Error::io_at("creating the mount source", path))?;
        }
        if mount.propagation() == MountPropagation::PropagationBidirectional {
            propagation::check_shared(path)?;
        }
    }
    records::write_config(directory, config)?;
    let path = directory.join(BUNDLE_FILE);
    disk::replace_json(&path, bundle, Durability::Process).map_err(Error::io_at("writing", &path))?;
    records::write_record(directory, record)
}

/// What a bundle is made of besides what was asked for.
struct Parts<'a> {
    id: &'a str,
    image: &'a Image,
    record: &'a ContainerRecord,
    /// The layers of images that are volumes, by the ids of those.
    volumes: &'a HashMap<String, Vec<String>>,
    /// The profile that confines it.
    apparmor: Option<&'a str>,
}

fn bundle(node: &Node, sandbox: &Sandbox, config: &ContainerConfig, parts: &Parts<'_>) -> Result<Bundle> {
    let Parts { id, image, record, volumes, apparmor } = *parts;
    let security = spec::security_context(config);
    let (directory, writable) = (node.places.container(id), node.places.writable().join(id));
    let spec = spec::spec(&Inputs {
        config,
        sandbox: &sandbox.config,
        image: &image.config,
        identity: &record.identity,
        cgroup: &record.cgroup,
        rootfs: &directory.join("rootfs"),
        pod_files: &sandboxes::pod_files(node, sandbox),
        processes: lookup::processes(node, sandbox, &security)?,
        devices: &lookup::devices(config, &security)?,
        seccomp_file: lookup::seccomp_file(&security)?,
        apparmor,
        volumes,
    })?;
    let overlay = Overlay {
        layers: node.images.layers().to_path_buf(),
        lower: image.layers.clone(),
        upper: writable.join("upper"),
        work: writable.join("work"),
    };
    Ok(Bundle { spec, overlay, log: record.log.clone(), stdin: config.stdin, stdin_once: config.stdin_once })
}

/// The log file, which has to lie in the sandbox's log directory.
fn log_path(sandbox: &Sandbox, config: &ContainerConfig) -> Result<Option<PathBuf>> {
    let (directory, path) = (&sandbox.config.log_directory, &config.log_path);
    if directory.is_empty() || path.is_empty() {
        return Ok(None);
    }
    if Path::new(path).components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
        return Err(Error::Invalid(format!("log path {path:?} leads out of the sandbox's log directory")));
    }
    Ok(Some(Path::new(directory).join(path)))
}

/// Starts a container that was made.
pub(crate) async fn start(node: &Arc<Node>, id: &str) -> Result<()> {
    let container = node.container(id)?;
    let _changing = container.changing.lock().await;
    if container.state() != ContainerState::Created {
        return Err(Error::State(format!("container {:?} has been started before", container.id)));
    }
    let sandbox = node.sandbox(&container.record.sandbox)?;
    let directory = node.places.container(&container.id);
    let call = Call::Start { container: container.id.clone(), directory: directory.clone() };
    match sandbox.shim()?.call(call, &[]).await {
        Ok((Answer::Started(running), _)) => note_started(node, &sandbox, &container, &running),
        Ok(_) => Err(Error::Shim("the Pod's shim gave an answer to another question".to_owned())),
        Err(shims::Error::Refused(error)) => {
            let exit = Exit {
                code: START_ERROR_CODE,
                started_at: None,
                finished_at: sampan_clock::now(),
                oom_killed: false,
                error: Some(error.clone()),
            };
            records::write_exit(&directory, &exit)?;
            container.set_failed(exit);
            node.announce(&container.id, &sandbox, ContainerEventType::ContainerStoppedEvent);
            Err(Error::Shim(error))
        }
        Err(error) => Err(error.into()),
    }
}

/// Asks a container to stop, and after `grace` makes it. Idempotent.
pub(crate) async fn stop(node: &Arc<Node>, id: &str, grace: Duration) -> Result<()> {
    let Ok(container) = node.container(id) else { return Ok(()) };
    if !container.is_running() {
        return Ok(());
    }
    let Ok(shim) = node.sandbox(&container.record.sandbox).and_then(|sandbox| sandbox.shim()) else {
        settle(node, &container).await;
        return Ok(());
    };
    if !grace.is_zero() {
        let signal = Call::Signal { id: container.id.clone(), signal: container.record.stop_signal };
        // It may have ended meanwhile; that is what we wait for anyway.
        if let Err(error) = shim.call(signal, &[]).await
            && container.is_running()
        {
            tracing::warn!(container = container.id, %error, "a container could not be asked to stop");
        }
        if tokio::time::timeout(grace, container.exited()).await.is_ok() {
            return Ok(());
        }
    }
    let _ = shim.call(Call::Kill { container: container.id.clone() }, &[]).await;
    match tokio::time::timeout(KILL_TIMEOUT, container.exited()).await {
        Ok(()) => Ok(()),
        Err(_) => Err(Error::Timeout(format!("container {:?} could not be killed in time", container.id))),
    }
}

/// Notes that a container runs, as its shim says.
pub(crate) fn note_started(
    node: &Node,
    sandbox: &Arc<Sandbox>,
    container: &Container,
    running: &Running,
) -> Result<()> {
    let directory = node.places.container(&container.id);
    records::write_started(&directory, running)?;
    if container.set_running(running) {
        node.announce(&container.id, sandbox, ContainerEventType::ContainerStartedEvent);
    }
    // A program that ends at once may have been reported before it was known to run; then it was passed over.
    if let Some(exit) = records::read_exit(&directory)? {
        node.container_exited(&container.id, exit);
    }
    Ok(())
}

/// A container whose shim is gone: what is left of it is killed, and its end recorded as well as it is known.
pub(crate) async fn settle(node: &Arc<Node>, container: &Arc<Container>) {
    let (work, own) = (Arc::clone(node), Arc::clone(container));
    let settled = blocking(move || {
        let group = Group::new(&work.hierarchies, &own.record.cgroup);
        let _ = group.kill();
        let directory = work.places.container(&own.id);
        let started = records::read_started(&directory)?;
        let exit = records::read_exit(&directory)?.unwrap_or_else(|| Exit {
            code: UNKNOWN_CODE,
            started_at: started.map(|running| running.started_at),
            finished_at: sampan_clock::now(),
            oom_killed: group.oom_kills() > 0,
            error: None,
        });
        records::write_exit(&directory, &exit)?;
        work.container_exited(&own.id, exit);
        group.remove().map_err(Error::io("removing the container's groups"))
    });
    if let Err(error) = settled.await {
        tracing::warn!(container = container.id, %error, "a container whose shim is gone could not be cleaned up");
    }
}

/// Removes a container, running or not. Idempotent.
pub(crate) async fn remove(node: &Arc<Node>, id: &str) -> Result<()> {
    let Ok(container) = node.container(id) else { return Ok(()) };
    stop(node, &container.id, Duration::ZERO).await?;
    let _changing = container.changing.lock().await;
    let (work, id) = (Arc::clone(node), container.id.clone());
    blocking(move || erase(&work, &id, &container_group(&work, &id))).await?;
    node.forget_container(&container.id);
    if let Ok(sandbox) = node.sandbox(&container.record.sandbox) {
        node.announce(&container.id, &sandbox, ContainerEventType::ContainerDeletedEvent);
    }
    Ok(())
}

fn container_group(node: &Node, id: &str) -> String {
    node.container(id).map(|container| container.record.cgroup.clone()).unwrap_or_default()
}

/// Removes everything of a container from the disk, its record last.
pub(crate) fn erase(node: &Node, id: &str, cgroup: &str) -> Result<()> {
    if !cgroup.is_empty() {
        let group = Group::new(&node.hierarchies, cgroup);
        // Whatever is there still, be it a command that came into the group after its container's end.
        group.kill().and_then(|()| group.remove()).map_err(Error::io("removing the container's groups"))?;
    }
    for path in [node.places.writable().join(id), node.places.container(id)] {
        sampan_trees::remove(&path).map_err(Error::io_at("removing", &path))?;
    }
    Ok(())
}

/// Changes the limits of a container.
pub(crate) async fn update(node: &Arc<Node>, id: &str, update: &LinuxContainerResources) -> Result<()> {
    let container = node.container(id)?;
    let _changing = container.changing.lock().await;
    let merged = spec::merged(&container.resources.lock().clone(), update);
    let directory = node.places.container(&container.id);
    match container.state() {
        ContainerState::Running { .. } => {
            let limits = Box::new(spec::limits(&merged));
            let call = Call::Limit { container: container.id.clone(), resources: limits };
            node.sandbox(&container.record.sandbox)?.shim()?.call(call, &[]).await?;
        }
        ContainerState::Created => update_bundle(&directory, &merged)?,
        ContainerState::Exited(_) => {
            return Err(Error::State(format!("container {:?} has exited", container.id)));
        }
    }
    // A successor reads the limits where it reads everything else that was asked for.
    let mut config = container.config.clone();
    config.linux.get_or_insert_default().resources = Some(merged.clone());
    records::write_config(&directory, &config)?;
    *container.resources.lock() = merged;
    Ok(())
}

fn update_bundle(directory: &Path, limits: &LinuxContainerResources) -> Result<()> {
    let path = directory.join(BUNDLE_FILE);
    let Some(mut bundle) = disk::read_json::<Bundle>(&path).map_err(Error::io_at("reading", &path))? else {
        return Ok(());
    };
    if let Some(linux) = bundle.spec.linux_mut().as_mut() {
        let devices = linux.resources().as_ref().and_then(|resources| resources.devices().clone());
        let mut resources = spec::limits(limits);
        resources.set_devices(devices);
        linux.set_resources(Some(resources));
    }
    disk::replace_json(&path, &bundle, Durability::Process).map_err(Error::io_at("writing", &path))
}

/// Goes on in a new log file.
pub(crate) async fn reopen_log(node: &Arc<Node>, id: &str) -> Result<()> {
    let container = node.container(id)?;
    if !container.is_running() {
        return Err(Error::State(format!("container {:?} is not running", container.id)));
    }
    let shim = node.sandbox(&container.record.sandbox)?.shim()?;
    shim.call(Call::ReopenLog { container: container.id.clone() }, &[]).await?;
    Ok(())
}

/// Runs what blocks on a thread for that.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::State("the work was given up because the runtime is shutting down".to_owned())),
    }
}
