//! The controllers: each watches some kinds and brings the cluster nearer to what they ask for.
//!
//! They are clients of the API like kubectl: each has an identity of its own with upstream's role for it, and none
//! touches the store. One folder or file per controller; in each, the decision is a pure function from what is wanted
//! and what is seen to a plan, and a thin part carries the plan out. Start at [`start`], the table of them.

mod deployment;
mod error;
mod owners;
mod replicaset;
mod runner;

use std::sync::Arc;

use kube::Client;
use sampan_client::{EventRecorder, Informers, Tasks};

pub use error::Error;

/// What the controllers need.
pub struct Options {
    /// Reads for all of them: the identity `system:kube-controller-manager`.
    pub shared: Client,
    /// Gives each controller the client it writes with, by its name (`deployment-controller`): the service account
    /// of that name in kube-system.
    pub client_for: Arc<dyn Fn(&str) -> Client + Send + Sync>,
    /// The cluster's certificate authority, PEM, published to every namespace.
    pub ca_pem: String,
}

/// The running controllers.
pub struct Handle {
    tasks: Tasks,
}

impl Handle {
    /// Stops them and waits until they have.
    pub async fn shutdown(&self) {
        self.tasks.shutdown().await;
    }
}

/// What a controller is started with.
pub(crate) struct Context {
    /// The client it writes with.
    pub(crate) client: Client,
    /// The informers it shares with the others.
    pub(crate) informers: Informers,
    /// Its voice.
    pub(crate) events: EventRecorder,
    /// Where its tasks run.
    pub(crate) tasks: Tasks,
}

/// Starts every controller.
pub fn start(options: &Options) -> Handle {
    let tasks = Tasks::new();
    let informers = Informers::new(options.shared.clone(), &tasks);
    let context = |name: &str| {
        let client = (options.client_for)(name);
        let events = EventRecorder::new(client.clone(), name, "", &tasks);
        Context { client, informers: informers.clone(), events, tasks: tasks.clone() }
    };
    deployment::start(context("deployment-controller"));
    replicaset::start(context("replicaset-controller"));
    Handle { tasks }
}
