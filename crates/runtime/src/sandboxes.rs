//! The life of a sandbox: made, stopped, removed.
//!
//! ```text
//!   record on disk -> files, /dev/shm -> shim (namespaces) -> network -> ready
//!   stopped: containers, shim, network, mounts        removed: containers' remains, directory
//! ```
//!
//! Every step back can be taken again: stopping and removing what is half there, or gone, is no error.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use sampan_cri::v1::{
    self, ContainerEventType, IdMapping, NamespaceMode, NamespaceOption, PodSandboxConfig, PortMapping,
};
use sampan_network::{HostPort, Protocol};

use crate::cgroups::Group;
use crate::containers::blocking;
use crate::error::{Error, Result};
use crate::node::{Node, Sandbox};
use crate::records::{self, Ready, SandboxRecord};
use crate::shim::wire::{Answer, Call, IdMap, Setup, Users};
use crate::shims::{self, News, Shim};
use crate::spec::PodFiles;

const SHM_OPTIONS: &std::ffi::CStr = c"mode=1777,size=65536k";
const ID_BYTES: usize = 32;
/// What this runtime is called.
pub(crate) const NAME: &str = "sampan";
/// What a Pod's runtime class may call its runtime: nothing else is there to choose.
pub(crate) const HANDLERS: [&str; 2] = ["", NAME];

/// A new id, in the form that all runtimes use.
pub(crate) fn new_id() -> String {
    hex::encode(rand::random::<[u8; ID_BYTES]>())
}

/// The namespace options of a sandbox.
pub(crate) fn namespace_options(config: &PodSandboxConfig) -> NamespaceOption {
    let security = config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    security.and_then(|security| security.namespace_options.clone()).unwrap_or_default()
}

/// The files that every container of the sandbox gets.
pub(crate) fn pod_files(node: &Node, sandbox: &Sandbox) -> PodFiles {
    let directory = node.places.sandbox(&sandbox.id);
    let node_ipc = namespace_options(&sandbox.config).ipc() == NamespaceMode::Node;
    PodFiles {
        resolv_conf: directory.join("resolv.conf"),
        hostname: directory.join("hostname"),
        shm: if node_ipc { "/dev/shm".into() } else { directory.join("shm") },
    }
}

/// The group of a sandbox's shim: outside of the Pod's, whose limits are not for it, and of the runtime's own.
fn shim_group(node: &Node, id: &str) -> String {
    format!("/{}/shims/{id}", node.options.cgroup_root)
}

/// Makes a sandbox that is ready for containers, or nothing.
pub(crate) async fn run(node: &Arc<Node>, config: PodSandboxConfig, runtime_handler: String) -> Result<String> {
    if !HANDLERS.contains(&runtime_handler.as_str()) {
        let text = format!("no runtime for {runtime_handler:?} is configured; the one there is is called {NAME:?}");
        return Err(Error::Invalid(text));
    }
    // Refused before anything is made.
    users(&config)?;
    let id = new_id();
    let parent = config.linux.as_ref().map(|linux| linux.cgroup_parent.clone()).filter(|parent| !parent.is_empty());
    let record = SandboxRecord {
        created_at: sampan_clock::now(),
        cgroup: parent.unwrap_or_else(|| format!("/{}/{id}", node.options.cgroup_root)),
        runtime_handler,
        ready: None,
        stopped: false,
    };
    let sandbox = Arc::new(Sandbox::new(id.clone(), config, record));
    match bring_up(node, &sandbox).await {
        Ok(()) => {
            node.add_sandbox(Arc::clone(&sandbox));
            node.announce(&id, &sandbox, ContainerEventType::ContainerCreatedEvent);
            node.announce(&id, &sandbox, ContainerEventType::ContainerStartedEvent);
            Ok(id)
        }
        Err(error) => {
            if let Err(error) = take_down(node, &sandbox).await {
                tracing::warn!(sandbox = id, %error, "a sandbox that failed to start is cleaned up at the next start");
            } else {
                let _ = sampan_trees::remove(&node.places.sandbox(&id));
            }
            Err(error)
        }
    }
}

async fn bring_up(node: &Arc<Node>, sandbox: &Arc<Sandbox>) -> Result<()> {
    let directory = node.places.sandbox(&sandbox.id);
    write_files(node, sandbox, &directory)?;
    let mut child = shims::start(&node.options.shim, &directory)?;
    let pid = child.id();
    let options = namespace_options(&sandbox.config);
    let own_network = options.network() != NamespaceMode::Node;
    let answer = match introduce(node, sandbox, &options).await {
        Ok(answer) => answer,
        Err(error) => {
            // It may not be in the group yet by which it would be found.
            let _ = child.kill().await;
            return Err(error);
        }
    };
    // Reaped whenever it ends; as long as this runtime lives it is its child.
    node.tasks.spawn(async move { drop(child.wait().await) });
    let holder = match answer {
        Answer::Started(running) if running.pid > 0 => Some(running.pid),
        _ => None,
    };
    let mut ready = Ready { addresses: Vec::new(), holder };
    if own_network {
        let pid = pid.ok_or_else(|| Error::Shim("the Pod's shim has ended".to_owned()))?;
        let path = node.places.namespace(&sandbox.id);
        keep_namespace(pid, &path)?;
        ready.addresses = node.options.network.attach(&sandbox.id, &path).await?.addresses;
        let ports = host_ports(&sandbox.config)?;
        if !ports.is_empty() {
            node.options.network.publish(&sandbox.id, &ports).await?;
        }
    }
    sandbox.set_ready(ready);
    records::write_record(&directory, &sandbox.current_record())
}

/// Tells the sandbox's new shim what it is to be.
async fn introduce(node: &Arc<Node>, sandbox: &Arc<Sandbox>, options: &NamespaceOption) -> Result<Answer> {
    let shim = connect(node, sandbox)?;
    let answer = shim.call_in_time(Call::Setup(setup(node, sandbox, options))).await?;
    sandbox.set_shim(shim);
    Ok(answer)
}

/// The node's ports that are to lead to the sandbox.
fn host_ports(config: &PodSandboxConfig) -> Result<Vec<HostPort>> {
    let mapped = config.port_mappings.iter().filter(|mapping| mapping.host_port != 0);
    let number = |port: i32| match u16::try_from(port) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Error::Invalid(format!("{port} is not a port"))),
    };
    let port = |mapping: &PortMapping| {
        let address = Some(mapping.host_ip.as_str()).filter(|text| !matches!(*text, "" | "0.0.0.0" | "::"));
        let invalid = |_| Error::Invalid(format!("host address {:?} is not an address", mapping.host_ip));
        Ok(HostPort {
            protocol: match mapping.protocol() {
                v1::Protocol::Tcp => Protocol::Tcp,
                v1::Protocol::Udp => Protocol::Udp,
                v1::Protocol::Sctp => Protocol::Sctp,
            },
            host_address: address.map(str::parse).transpose().map_err(invalid)?,
            host_port: number(mapping.host_port)?,
            port: number(mapping.container_port)?,
        })
    };
    mapped.map(port).collect()
}

/// Connects to the sandbox's shim and follows what it tells.
pub(crate) fn connect(node: &Arc<Node>, sandbox: &Arc<Sandbox>) -> Result<Arc<Shim>> {
    let (follower, id) = (Arc::downgrade(node), sandbox.id.clone());
    let news = move |news: News| {
        let Some(node) = follower.upgrade() else { return };
        match news {
            News::Exited { container, exit } => node.container_exited(&container, exit),
            News::Gone => {
                let (id, tasks) = (id.clone(), node.tasks.clone());
                tasks.spawn(async move { crate::adopt::connection_lost(&node, &id).await });
            }
        }
    };
    Ok(Shim::connect(&node.places.sandbox(&sandbox.id), &node.tasks, news)?)
}

fn setup(node: &Node, sandbox: &Sandbox, options: &NamespaceOption) -> Setup {
    let linux = sandbox.config.linux.as_ref();
    let mut sysctls: Vec<_> = linux.iter().flat_map(|linux| linux.sysctls.clone()).collect();
    sysctls.sort();
    let own_network = options.network() != NamespaceMode::Node;
    Setup {
        new_network: own_network,
        new_ipc: options.ipc() != NamespaceMode::Node,
        // The name of the host belongs to its network: a Pod on the node's network has the node's name.
        new_uts: own_network,
        shared_processes: options.pid() == NamespaceMode::Pod,
        hostname: sandbox.config.hostname.clone(),
        sysctls,
        hierarchies: node.hierarchies.clone(),
        cgroup: shim_group(node, &sandbox.id),
        // Checked when the sandbox was asked for.
        users: users(&sandbox.config).unwrap_or_default(),
    }
}

/// The users of the Pod's own, if it is to have such: one range of each kind that begins with root.
fn users(config: &PodSandboxConfig) -> Result<Option<Users>> {
    let options = namespace_options(config);
    let invalid = |reason: &str| Err(Error::Invalid(format!("user namespace: {reason}")));
    let Some(wanted) = &options.userns_options else { return Ok(None) };
    match wanted.mode() {
        NamespaceMode::Node => return Ok(None),
        NamespaceMode::Pod => {}
        NamespaceMode::Container | NamespaceMode::Target => return invalid("it is the Pod's or the node's"),
    }
    if options.network() == NamespaceMode::Node || options.pid() == NamespaceMode::Node {
        return invalid("it cannot be had together with the node's network or processes");
    }
    let range = |maps: &[IdMapping]| match maps {
        [IdMapping { container_id: 0, host_id, length }] => {
            Some(IdMap { host: *host_id, length: *length }).filter(|map| map.is_possible())
        }
        _ => None,
    };
    match (range(&wanted.uids), range(&wanted.gids)) {
        (Some(uids), Some(gids)) => Ok(Some(Users { uids, gids })),
        _ => invalid("it takes one mapping of users and one of groups, each of which begins with id 0 of the Pod"),
    }
}

fn write_files(node: &Node, sandbox: &Sandbox, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).map_err(Error::io_at("creating", directory))?;
    records::write_config(directory, &sandbox.config)?;
    records::write_record(directory, &sandbox.record)?;
    let files = pod_files(node, sandbox);
    let hostname = match sandbox.config.hostname.as_str() {
        "" => fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default(),
        name => format!("{name}\n"),
    };
    fs::write(&files.hostname, hostname).map_err(Error::io_at("writing", &files.hostname))?;
    fs::write(&files.resolv_conf, resolv_conf(&sandbox.config)).map_err(Error::io_at("writing", &files.resolv_conf))?;
    if files.shm.starts_with(directory) {
        fs::create_dir_all(&files.shm).map_err(Error::io_at("creating", &files.shm))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("shm", &files.shm, "tmpfs", flags, Some(SHM_OPTIONS))
            .map_err(io::Error::from)
            .map_err(Error::io_at("mounting", &files.shm))?;
    }
    Ok(())
}

/// The resolver's configuration: what was asked for, or the node's own.
fn resolv_conf(config: &PodSandboxConfig) -> String {
    let Some(dns) = &config.dns_config else { return fs::read_to_string("/etc/resolv.conf").unwrap_or_default() };
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text.push_str(&format!("search {}\n", dns.searches.join(" ")));
    }
    dns.servers.iter().for_each(|server| text.push_str(&format!("nameserver {server}\n")));
    if !dns.options.is_empty() {
        text.push_str(&format!("options {}\n", dns.options.join(" ")));
    }
    text
}

/// Gives the network namespace of the process `pid` a name of its own.
fn keep_namespace(pid: u32, path: &Path) -> Result<()> {
    fs::File::create(path).map_err(Error::io_at("creating", path))?;
    mount_bind(format!("/proc/{pid}/ns/net"), path)
        .map_err(io::Error::from)
        .map_err(Error::io_at("keeping the network namespace in", path))
}

/// Ends everything in the sandbox. Idempotent.
pub(crate) async fn stop(node: &Arc<Node>, id: &str) -> Result<()> {
    let Ok(sandbox) = node.sandbox(id) else { return Ok(()) };
    let _changing = sandbox.changing.lock().await;
    if sandbox.current_record().stopped {
        return Ok(());
    }
    take_down(node, &sandbox).await?;
    sandbox.set_stopped();
    records::write_record(&node.places.sandbox(&sandbox.id), &sandbox.current_record())?;
    node.announce(&sandbox.id, &sandbox, ContainerEventType::ContainerStoppedEvent);
    Ok(())
}

async fn take_down(node: &Arc<Node>, sandbox: &Sandbox) -> Result<()> {
    if let Some(shim) = sandbox.take_shim() {
        // The shim answers when the last process is gone; one that hangs is killed below.
        let _ = shim.call_in_time(Call::Quit).await;
        shim.close();
    }
    for container in node.containers_of(&sandbox.id).iter().filter(|container| container.is_running()) {
        crate::containers::settle(node, container).await;
    }
    node.options.network.detach(&sandbox.id).await?;
    release(node, &sandbox.id).await
}

/// Lets go of what the sandbox holds in the kernel: its shim, if that is still there, its namespace and its mounts.
pub(crate) async fn release(node: &Arc<Node>, id: &str) -> Result<()> {
    let (node, id) = (Arc::clone(node), id.to_owned());
    blocking(move || {
        let shim = Group::new(&node.hierarchies, &shim_group(&node, &id));
        shim.kill().and_then(|()| shim.remove()).map_err(Error::io("ending the Pod's shim"))?;
        let namespace = node.places.namespace(&id);
        let shm = node.places.sandbox(&id).join("shm");
        for path in [&namespace, &shm] {
            match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(Error::io_at("unmounting", path)(error.into())),
            }
        }
        match fs::remove_file(&namespace) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io_at("removing", &namespace)(error)),
            _ => Ok(()),
        }
    })
    .await
}

/// Removes the sandbox and all its containers. Idempotent.
pub(crate) async fn remove(node: &Arc<Node>, id: &str) -> Result<()> {
    let Ok(sandbox) = node.sandbox(id) else { return Ok(()) };
    stop(node, &sandbox.id).await?;
    let _changing = sandbox.changing.lock().await;
    for container in node.containers_of(&sandbox.id) {
        crate::containers::remove(node, &container.id).await?;
    }
    let own_group = format!("/{}/{}", node.options.cgroup_root, sandbox.id);
    if sandbox.record.cgroup == own_group {
        let group = Group::new(&node.hierarchies, &own_group);
        group.remove().map_err(Error::io("removing the sandbox's groups"))?;
    }
    let directory = node.places.sandbox(&sandbox.id);
    sampan_trees::remove(&directory).map_err(Error::io_at("removing", &directory))?;
    node.forget_sandbox(&sandbox.id);
    node.announce(&sandbox.id, &sandbox, ContainerEventType::ContainerDeletedEvent);
    Ok(())
}
