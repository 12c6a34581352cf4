//! The controllers: each watches some kinds and brings the cluster nearer to what they ask for.
//!
//! They are clients of the API like kubectl: each has an identity of its own with upstream's role for it, and none
//! touches the store. One folder or file per controller; in each, the decision is a pure function from what is wanted
//! and what is seen to a plan, and a thin part carries the plan out. Start at [`start`], the table of them.

mod account_tokens;
mod bootstrap_tokens;
mod certificates;
mod cluster_info;
mod cluster_roles;
mod definitions;
mod deployment;
mod endpoints;
mod error;
mod garbage;
mod namespaces;
mod nodes;
mod owners;
mod quota;
mod replicaset;
mod resources;
mod root_ca;
mod runner;
mod service_accounts;
mod storage_protection;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use sampan_client::{EventRecorder, Informers, Tasks};

pub use account_tokens::SignToken;
pub use certificates::Signer;
pub use cluster_info::SignText;
pub use error::Error;

use resources::Feed;

/// Discovery that failed is tried again after this long.
const DISCOVERY_RETRY: Duration = Duration::from_secs(1);

/// What the controllers need.
pub struct Options {
    /// Reads for all of them: the identity `system:kube-controller-manager`.
    pub shared: Client,
    /// Gives each controller the client it writes with, by its name (`deployment-controller`): the service account
    /// of that name in kube-system.
    pub client_for: Arc<dyn Fn(&str) -> Client + Send + Sync>,
    /// The cluster's certificate authority, PEM, published to every namespace.
    pub ca_pem: String,
    /// Signs the certificates that are asked for.
    pub signer: Arc<dyn Signer>,
    /// Signs the tokens that lie in Secrets.
    pub sign_token: SignToken,
    /// Signs with bootstrap tokens.
    pub sign_text: SignText,
}

/// The running controllers.
pub struct Handle {
    tasks: Tasks,
}

impl Handle {
    /// What is wrong with them, if anything is.
    pub fn health(&self) -> Result<(), String> {
        self.tasks.health()
    }

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
    service_accounts::start(context("service-account-controller"));
    root_ca::start(context("root-ca-cert-publisher"), options.shared.clone(), &options.ca_pem);
    let (shared, sign) = (options.shared.clone(), Arc::clone(&options.sign_token));
    account_tokens::start(&context("serviceaccount-token-controller"), shared, &options.ca_pem, sign);
    bootstrap_tokens::start(context("token-cleaner"));
    cluster_info::start(context("bootstrap-signer"), Arc::clone(&options.sign_text));
    certificates::start(context("certificate-controller"), Arc::clone(&options.signer));
    cluster_roles::start(context("clusterrole-aggregation-controller"));
    deployment::start(context("deployment-controller"));
    replicaset::start(context("replicaset-controller"));
    replicaset::start_former(context("replication-controller"));
    endpoints::start_slices(context("endpointslice-controller"));
    endpoints::start_legacy(context("endpoint-controller"));
    endpoints::start_mirror(context("endpointslicemirroring-controller"));
    nodes::start(context("node-controller"));
    storage_protection::start_claims(context("pvc-protection-controller"));
    storage_protection::start_volumes(context("pv-protection-controller"));
    storage_protection::start_attribute_classes(context("volumeattributesclass-protection-controller"));
    let feed = Feed::new();
    namespaces::start(context("namespace-controller"), &feed);
    let of_all_kinds =
        OfAllKinds { garbage: context("generic-garbage-collector"), quota: context("resourcequota-controller") };
    tasks.spawn(start_of_all_kinds(of_all_kinds, feed, options.shared.clone()));
    Handle { tasks }
}

/// The controllers that concern objects of every kind.
struct OfAllKinds {
    garbage: Context,
    quota: Context,
}

/// They begin once it is known what kinds there are.
async fn start_of_all_kinds(controllers: OfAllKinds, feed: Arc<Feed>, shared: Client) {
    let resources = loop {
        match resources::discover(&shared).await {
            Ok(resources) => break resources,
            Err(error) => {
                tracing::warn!(%error, "trying again");
                tokio::time::sleep(DISCOVERY_RETRY).await;
            }
        }
    };
    let tasks = controllers.garbage.tasks.clone();
    feed.know(resources);
    garbage::start(&controllers.garbage, &feed);
    quota::start(controllers.quota, &feed);
    feed.start(&shared, &tasks).await;
    tasks.spawn(definitions::follow(shared, feed, tasks.clone()));
}
