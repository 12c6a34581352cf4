//! Devices that plugins offer: which there are, which containers have which, and what a container needs to use its own.
//!
//! ```text
//!   its socket is found (plugins) -----------------+
//!                                                  v
//!   plugin --Register--> kubelet.sock (registration) --> endpoint: ListAndWatch --> Ledger <--> checkpoint file
//!                                                                                    |
//!   Pod is taken: ledger chooses -> Allocate at the plugin -> ledger notes what the containers need
//!   container is made: what was noted goes into its configuration
//! ```
//! What is chosen is decided by [`Ledger`], which is pure; it is kept in a file, so that another kubelet of this node
//! knows what running containers have before the plugins have registered anew. Start at [`Devices`].

mod allocate;
mod allocation;
mod checkpoint;
mod endpoint;
mod ledger;
mod plugins;
mod registration;
mod resources;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use sampan_client::Tasks;
use tokio::sync::watch;

pub(crate) use allocation::Allocation;
pub(crate) use ledger::Counts;
pub(crate) use registration::is_extended_resource;
pub(crate) use resources::{Lister, serve as serve_pod_resources};

use self::endpoint::Endpoint;
use self::ledger::Ledger;
use crate::Error;

/// Below the kubelet's directory: the sockets of plugins, and the file of assignments.
const DIRECTORY: &str = "device-plugins";
/// In it: where plugins register.
const REGISTRATION_SOCKET: &str = "kubelet.sock";

/// The devices of this node.
pub(crate) struct Devices {
    directory: PathBuf,
    tasks: Tasks,
    ledger: Mutex<Ledger>,
    /// The plugins that are there, by resource.
    endpoints: Mutex<BTreeMap<String, Endpoint>>,
    /// Ticks when the node has other devices than before.
    changes: watch::Sender<u64>,
}

impl Devices {
    /// Reads what containers have, and listens for plugins from now on.
    pub(crate) fn start(root_dir: &Path, tasks: &Tasks) -> Result<Arc<Self>, Error> {
        let directory = root_dir.join(DIRECTORY);
        let devices = Arc::new(Self {
            ledger: Mutex::new(checkpoint::read(&directory)),
            directory,
            tasks: tasks.clone(),
            endpoints: Mutex::default(),
            changes: watch::Sender::new(0),
        });
        registration::listen(&devices)?;
        plugins::watch(&devices, root_dir.join(plugins::DIRECTORY))?;
        Ok(devices)
    }

    /// How many devices there are of each resource, and how many of them can be given to Pods.
    pub(crate) fn counts(&self) -> Counts {
        self.ledger.lock().counts()
    }

    /// Ticks when [`Devices::counts`] may have changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What the container `name` of the Pod `uid` needs for the devices it has.
    pub(crate) fn of_container(&self, uid: &str, name: &str) -> Allocation {
        self.ledger.lock().of_container(uid, name)
    }

    /// Changes the ledger, writes it down, and tells of it.
    fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut ledger = self.ledger.lock();
        let result = change(&mut ledger);
        // Written while locked: files follow in the order of changes. It is small, and seldom.
        if let Err(error) = checkpoint::write(&self.directory, &ledger) {
            tracing::error!(%error, "assignments of devices were not written down");
        }
        drop(ledger);
        self.changes.send_modify(|tick| *tick = tick.wrapping_add(1));
        result
    }
}
