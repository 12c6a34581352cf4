//! Taking over what a predecessor has left: the sandboxes and containers that run on, and the remains of those that
//! do not.
//!
//! What is whole on disk is taken into the tables; its shim, if it answers, is followed again. What is half there
//! (a predecessor was killed while making or removing it) is removed.

use std::sync::Arc;

use sampan_cri::v1::{ContainerConfig, ContainerEventType, PodSandboxConfig};

use crate::cgroups::Group;
use crate::disk;
use crate::error::{Error, Result};
use crate::node::{Container, ContainerState, Node, Sandbox};
use crate::records::{self, ContainerRecord, SandboxRecord};
use crate::shim::wire::{Answer, Call};
use crate::shims::Shim;
use crate::{containers, sandboxes};

/// Rebuilds the node's tables from disk, and removes what belongs to nothing in them.
pub(crate) async fn adopt(node: &Arc<Node>) -> Result<()> {
    for id in names(&node.places.sandboxes())? {
        match load_sandbox(node, &id) {
            Some(sandbox) => node.add_sandbox(Arc::new(sandbox)),
            None => discard_sandbox(node, &id).await?,
        }
    }
    for id in names(&node.places.containers())? {
        match load_container(node, &id) {
            Some(container) => node.add_container(Arc::new(container)),
            None => discard_container(node, &id)?,
        }
    }
    for sandbox in node.sandboxes() {
        let _changing = sandbox.changing.lock().await;
        if !sandbox.current_record().stopped {
            follow(node, &sandbox).await?;
        }
    }
    sweep(node).await
}

fn load_sandbox(node: &Node, id: &str) -> Option<Sandbox> {
    let directory = node.places.sandbox(id);
    let config: PodSandboxConfig = records::read_config(&directory).ok()?;
    let record: SandboxRecord = records::read_record(&directory).ok()?;
    // Never ready: it was being made, and whoever asked for it has had no answer.
    record.ready.is_some().then(|| Sandbox::new(id.to_owned(), config, record))
}

fn load_container(node: &Node, id: &str) -> Option<Container> {
    let directory = node.places.container(id);
    let config: ContainerConfig = records::read_config(&directory).ok()?;
    let record: ContainerRecord = records::read_record(&directory).ok()?;
    node.sandbox(&record.sandbox).ok()?;
    let started = records::read_started(&directory).ok().flatten();
    let state = match (records::read_exit(&directory).ok().flatten(), started) {
        (Some(exit), _) => ContainerState::Exited(exit),
        (None, Some(running)) => ContainerState::Running { started_at: running.started_at },
        (None, None) => ContainerState::Created,
    };
    Some(Container::new(id.to_owned(), config, record, state))
}

/// Finds the sandbox's shim again and compares what it says with what the records say; whether there is one. A sandbox
/// without its shim cannot go on: its containers are ended. To be called by whoever is changing the sandbox.
async fn follow(node: &Arc<Node>, sandbox: &Arc<Sandbox>) -> Result<bool> {
    let reached = match sandboxes::connect(node, sandbox) {
        Ok(shim) => match shim.call_in_time(Call::Containers).await {
            Ok(Answer::Containers(running)) => Some((shim, running)),
            _ => None,
        },
        Err(_) => None,
    };
    let (shim, running) = reached.unzip();
    if shim.is_none() {
        // First of all: who hears that a container has ended finds that its Pod cannot go on.
        drop(sandbox.take_shim());
    }
    for container in node.containers_of(&sandbox.id) {
        let running = running.iter().flatten().find(|(id, _)| *id == container.id);
        match (running, container.state()) {
            // Whoever had it started may have been killed, or not been told, before that was noted.
            (Some((_, running)), _) => containers::note_started(node, sandbox, &container, running)?,
            (None, ContainerState::Running { .. }) => containers::settle(node, &container).await,
            (None, ContainerState::Created) => never_noted(node, sandbox, shim.as_ref(), &container).await?,
            (None, ContainerState::Exited(_)) => {}
        }
    }
    if let Some(shim) = shim {
        sandbox.set_shim(shim);
    }
    Ok(running.is_some())
}

/// A container that is not known to have been started, and does not run. It may have run all the same, and ended: then
/// that counts, or it would run twice. Or it is still being set up, for somebody who is gone, and with them the answer: it
/// would run without anybody knowing.
async fn never_noted(
    node: &Node,
    sandbox: &Arc<Sandbox>,
    shim: Option<&Arc<Shim>>,
    container: &Container,
) -> Result<()> {
    if let Some(exit) = records::read_exit(&node.places.container(&container.id))? {
        container.set_failed(exit);
        node.announce(&container.id, sandbox, ContainerEventType::ContainerStoppedEvent);
        return Ok(());
    }
    let Some(shim) = shim else { return Ok(()) };
    match shim.call_in_time(Call::Kill { container: container.id.clone() }).await {
        Ok(_) => tracing::info!(container = container.id, "the start of a container was broken off"),
        // So it is with every container that was made and not started.
        Err(error) => tracing::debug!(container = container.id, %error, "no start to break off"),
    }
    Ok(())
}

/// The connection to a sandbox's shim has ended. That need not be the shim's own end: it lets go of whoever does not
/// listen.
pub(crate) async fn connection_lost(node: &Arc<Node>, id: &str) {
    let Ok(sandbox) = node.sandbox(id) else { return };
    let _changing = sandbox.changing.lock().await;
    if sandbox.shim().is_err() {
        // Stopping a sandbox also ends the connection: then this is no news.
        return;
    }
    let followed = follow(node, &sandbox).await.unwrap_or_else(|error| {
        tracing::warn!(sandbox = id, %error, "the Pod's shim is not followed any more");
        sandbox.take_shim();
        false
    });
    if !followed {
        tracing::warn!(sandbox = id, "the Pod's shim is gone");
        node.announce(id, &sandbox, ContainerEventType::ContainerStoppedEvent);
    }
}

async fn discard_sandbox(node: &Arc<Node>, id: &str) -> Result<()> {
    let directory = node.places.sandbox(id);
    let config = records::read_config(&directory).unwrap_or_default();
    if let Ok(record) = records::read_record::<SandboxRecord>(&directory) {
        let sandbox = Arc::new(Sandbox::new(id.to_owned(), config, record));
        if let Ok(shim) = sandboxes::connect(node, &sandbox) {
            let _ = shim.call_in_time(Call::Quit).await;
            shim.close();
        }
    }
    node.options.network.detach(id).await?;
    sandboxes::release(node, id).await?;
    sampan_trees::remove(&directory).map_err(Error::io_at("removing", &directory))
}

fn discard_container(node: &Node, id: &str) -> Result<()> {
    let record = records::read_record::<ContainerRecord>(&node.places.container(id)).ok();
    let cgroup = record.map(|record| record.cgroup).unwrap_or_default();
    containers::erase(node, id, &cgroup)
}

/// Removes what no record speaks of: namespaces, writable layers, image layers; and tells the network who lives.
async fn sweep(node: &Arc<Node>) -> Result<()> {
    for id in names(&node.places.namespaces())? {
        if node.sandbox(&id).is_err() {
            sandboxes::release(node, &id).await?;
        }
    }
    for id in names(&node.places.writable())? {
        if node.container(&id).is_err() {
            containers::erase(node, &id, "")?;
        }
    }
    node.sweep_layers()?;
    let living: Vec<_> =
        node.sandboxes().iter().filter(|sandbox| sandbox.is_ready()).map(|own| own.id.clone()).collect();
    node.options.network.adopt(&living).await?;
    Ok(())
}

/// Ends and removes everything, for good: what `sampan down` needs when no runtime runs any more.
pub(crate) async fn purge(node: &Arc<Node>) -> Result<()> {
    for sandbox in node.sandboxes() {
        sandboxes::remove(node, &sandbox.id).await?;
    }
    for container in node.containers() {
        containers::remove(node, &container.id).await?;
    }
    node.apparmor.remove();
    let root = Group::new(&node.hierarchies, &format!("/{}", node.options.cgroup_root));
    root.remove().map_err(Error::io("removing the runtime's groups"))
}

fn names(path: &std::path::Path) -> Result<Vec<String>> {
    disk::names(path).map_err(Error::io_at("reading", path))
}
