//! What the runtime keeps on disk of sandboxes and containers, so that its successor finds all of it again.
//!
//! ```text
//!   <state>/sandboxes/<id>/   config.pb  record.json  shim.sock  shim.log  resolv.conf  hostname  shm/
//!   <state>/containers/<id>/  config.pb  record.json  bundle.json  started.json  exit.json  rootfs/
//!   <root>/containers/<id>/   upper/  work/
//! ```
//!
//! `config.pb` and `record.json` are written before anything is made, and removed after everything is gone.
//! `exit.json` is written by the shim, whether or not a runtime is there to hear of it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use prost::Message;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::disk::{self, Durability};
use crate::error::{Error, Result};
use crate::shim::wire::{EXIT_FILE, Exit, Running};
use crate::spec::Identity;

const CONFIG_FILE: &str = "config.pb";
const RECORD_FILE: &str = "record.json";
const STARTED_FILE: &str = "started.json";

/// Where everything lies.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    root: PathBuf,
    state: PathBuf,
}

impl Places {
    pub(crate) fn new(root: &Path, state: &Path) -> Self {
        Self { root: root.to_path_buf(), state: state.to_path_buf() }
    }

    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.state.join("sandboxes")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.state.join("containers")
    }

    /// Bind mounts of the Pods' network namespaces, by sandbox.
    pub(crate) fn namespaces(&self) -> PathBuf {
        self.state.join("netns")
    }

    /// Where the containers' own layers lie.
    pub(crate) fn writable(&self) -> PathBuf {
        self.root.join("containers")
    }

    pub(crate) fn sandbox(&self, id: &str) -> PathBuf {
        self.sandboxes().join(id)
    }

    pub(crate) fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    pub(crate) fn namespace(&self, sandbox: &str) -> PathBuf {
        self.namespaces().join(sandbox)
    }
}

/// A sandbox on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    pub(crate) created_at: Timestamp,
    /// The group of all its containers.
    pub(crate) cgroup: String,
    pub(crate) runtime_handler: String,
    /// Set when it has become ready.
    pub(crate) ready: Option<Ready>,
    pub(crate) stopped: bool,
}

/// What a sandbox got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Empty on the node's network.
    pub(crate) addresses: Vec<IpAddr>,
    /// The process that holds a shared PID namespace, as the node sees it.
    pub(crate) holder: Option<i32>,
}

/// A container on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    pub(crate) sandbox: String,
    pub(crate) created_at: Timestamp,
    /// The image's id.
    pub(crate) image: String,
    /// Directories of the image's layers, which must not go while the container is there.
    pub(crate) layers: Vec<String>,
    pub(crate) identity: Identity,
    pub(crate) cgroup: String,
    /// The number of the signal that asks it to stop.
    pub(crate) stop_signal: i32,
    pub(crate) log: Option<PathBuf>,
}

/// Writes a configuration, as it came.
pub(crate) fn write_config(directory: &Path, config: &impl Message) -> Result<()> {
    let path = directory.join(CONFIG_FILE);
    disk::replace(&path, &config.encode_to_vec(), Durability::Process).map_err(Error::io_at("writing", &path))
}

/// Reads a configuration back.
pub(crate) fn read_config<T: Message + Default>(directory: &Path) -> Result<T> {
    let path = directory.join(CONFIG_FILE);
    let bytes = std::fs::read(&path).map_err(Error::io_at("reading", &path))?;
    T::decode(&bytes[..]).map_err(|error| Error::State(format!("{} is damaged: {error}", path.display())))
}

/// Writes a record.
pub(crate) fn write_record(directory: &Path, record: &impl Serialize) -> Result<()> {
    write(directory, RECORD_FILE, record)
}

/// Reads a record back.
pub(crate) fn read_record<T: DeserializeOwned>(directory: &Path) -> Result<T> {
    read(directory, RECORD_FILE)?.ok_or_else(|| Error::State(format!("{} has no record", directory.display())))
}

/// Notes that a container has been started.
pub(crate) fn write_started(directory: &Path, running: &Running) -> Result<()> {
    write(directory, STARTED_FILE, running)
}

/// When a container was started, if it was.
pub(crate) fn read_started(directory: &Path) -> Result<Option<Running>> {
    read(directory, STARTED_FILE)
}

/// Notes how a container ended, where its shim could not.
pub(crate) fn write_exit(directory: &Path, exit: &Exit) -> Result<()> {
    write(directory, EXIT_FILE, exit)
}

/// How a container ended, if it has.
pub(crate) fn read_exit(directory: &Path) -> Result<Option<Exit>> {
    read(directory, EXIT_FILE)
}

fn write(directory: &Path, file: &str, value: &impl Serialize) -> Result<()> {
    let path = directory.join(file);
    disk::replace_json(&path, value, Durability::Process).map_err(Error::io_at("writing", &path))
}

fn read<T: DeserializeOwned>(directory: &Path, file: &str) -> Result<Option<T>> {
    let path = directory.join(file);
    disk::read_json(&path).map_err(Error::io_at("reading", &path))
}
