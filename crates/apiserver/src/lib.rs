//! The Kubernetes API: HTTP routes, the registry through which every kind runs, the watch cache, discovery, OpenAPI,
//! and the proxies to the kubelets.
//!
//! It alone touches the store; everyone else is a client of it. It knows nothing of controllers, scheduling or how a
//! kubelet works. Kinds are descriptions in `sampan_api::kinds`; nothing here is written per kind but what only the
//! server can do (addresses of Services, tokens, bindings, evictions, reviews).
//!
//! Start at [`ApiServer::start`]; follow a request through `server/chain.rs`, `verbs/`, `registry/` and `cache/`.

mod admission;
mod aggregator;
mod audit;
mod authentication;
mod authorization;
mod bootstrap;
mod cache;
mod catalog;
mod compaction;
mod components;
mod config_file;
mod connect;
mod conversion;
mod definitions;
mod discovery;
mod duration;
mod expiry;
mod flowcontrol;
mod forms;
mod health;
mod kubeconfig;
mod metrics;
mod notes;
mod openapi;
mod registry;
mod request;
mod resources;
mod reviews;
mod rights;
mod server;
mod usage;
mod verbs;
mod version;
mod webhook;

use std::net::SocketAddr;
use std::sync::Arc;

use sampan_api::status::Status;
use sampan_auth::token::Tokens;
use sampan_store::Store;
use sampan_store::sealed::Kms;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::aggregator::Aggregator;
pub use crate::aggregator::{FrontProxy, Unusable};
use crate::audit::Audit;
pub use crate::audit::{LogOptions as AuditLogOptions, Options as AuditOptions, Policy as AuditPolicy};
use crate::authentication::Vouchers;
pub use crate::authentication::{
    Anonymous, Oidc, Options as AuthenticationOptions, RequestHeaders, TokenWebhookOptions,
};
use crate::authorization::Chain;
pub use crate::authorization::{
    FailurePolicy, Options as AuthorizationOptions, WebhookOptions as AccessWebhookOptions,
};
use crate::bootstrap::OwnService;
use crate::cache::Cache;
use crate::catalog::Catalog;
pub use crate::components::Probe;
use crate::connect::Kubelets;
use crate::definitions::Definitions;
use crate::discovery::Discovery;
pub use crate::duration::parse_duration;
use crate::flowcontrol::FlowControl;
use crate::health::{Health, Hook};
pub use crate::kubeconfig::Kubeconfig;
use crate::metrics::Metrics;
use crate::openapi::OpenApi;
use crate::registry::Registry;
pub use crate::resources::Ranges;
use crate::resources::Resources;
use crate::rights::Rights;
use crate::server::Server;
pub use crate::server::Service;
use crate::server::accept::Door;
pub use crate::server::accept::Listen;
pub use crate::version::Version;

/// What an API server needs.
pub struct Options {
    /// Where objects are kept.
    pub store: Arc<dyn Store>,
    /// The KMS plugins that the store is sealed with: `/readyz` asks for their health, `/metrics` tells of them.
    pub kms: Vec<Arc<Kms>>,
    /// Signs and checks the tokens of ServiceAccounts.
    pub tokens: Arc<Tokens>,
    /// Addresses and node ports to give to Services.
    pub ranges: Ranges,
    /// Where the server is reached from inside the cluster: the endpoint of `default/kubernetes`.
    pub advertised: SocketAddr,
    /// Where to listen; `None` for a server that only answers inside the process.
    pub listen: Option<Listen>,
    /// The authority of users' certificates, PEM: here, and at the servers of aggregated APIs.
    pub client_authority_pem: String,
    /// The server's identity towards kubelets and whom it trusts there; `None` if there are none to talk to.
    pub kubelet_tls: Option<Arc<rustls::ClientConfig>>,
    /// How the server shows itself to the servers of aggregated APIs, and who shows itself so here; `None` for nobody.
    pub front_proxy: Option<FrontProxy>,
    /// Who vouches for users besides this cluster, and what nobody in particular may ask.
    pub authentication: AuthenticationOptions,
    /// Who says what users may, in which order.
    pub authorization: AuthorizationOptions,
    /// What is recorded of requests, and where; `None` for nothing.
    pub audit: Option<AuditOptions>,
    /// What `/version` says.
    pub version: Version,
    /// How many requests run at a time; [`MAX_IN_FLIGHT`] unless there is a reason. Priority levels share them.
    pub max_in_flight: u32,
}

/// Requests that run at a time, upstream's default: 400 that read, 200 that write.
pub const MAX_IN_FLIGHT: u32 = 600;

/// Why an API server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be read.
    #[error("reading the stored objects: {0}")]
    Store(#[from] sampan_store::Error),
    /// The audit log cannot be written.
    #[error("opening the audit log: {0}")]
    Audit(std::io::Error),
    /// Those who vouch for users cannot be asked as configured.
    #[error("authentication: {0}")]
    Authentication(String),
    /// Those who say what users may cannot be asked as configured.
    #[error("authorization: {0}")]
    Authorization(String),
    /// The objects that must exist cannot be made.
    #[error("making the objects that every cluster has: {0}")]
    Bootstrap(Status),
    /// The certificates for listening cannot be used.
    #[error("the certificates of the API server: {0}")]
    Listen(String),
    /// The certificate for aggregated APIs cannot be used.
    #[error(transparent)]
    FrontProxy(#[from] aggregator::Unusable),
}

/// Where the objects of `resource` (`secrets`, `deployments.apps`, `*.*` for all) lie in the store: what their keys begin
/// with. `None` if there is no such built-in resource.
pub fn storage_prefix(resource: &str) -> Option<String> {
    if resource == "*.*" {
        return Some(cache::PREFIX.to_owned());
    }
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    let mut kinds = sampan_api::kinds::ALL.iter();
    let kind = kinds.find(|kind| kind.plural == plural && kind.group == group)?;
    Some(format!("{}{}/", cache::PREFIX, kind.storage))
}

/// The API server.
pub struct ApiServer;

/// A running API server.
pub struct Handle {
    server: Arc<Server>,
    /// Takes connections, until all have ended.
    front: TaskTracker,
    /// Keeps what requests need.
    background: TaskTracker,
    background_stop: CancellationToken,
}

impl ApiServer {
    /// Loads the store, makes what every cluster has, and listens.
    pub async fn start(options: Options) -> Result<Handle, Error> {
        let door = Door::open(options.listen, &options.client_authority_pem, options.front_proxy.as_ref())?;
        // Requests come to their end before what they need does.
        let (front_stop, stop) = (CancellationToken::new(), CancellationToken::new());
        let (front, background) = (TaskTracker::new(), TaskTracker::new());
        let cache = Cache::load(Arc::clone(&options.store), sampan_api::kinds::ALL).await?;
        let health = Health::new(Arc::clone(&options.store), Arc::clone(&cache), options.kms);
        background.spawn(Arc::clone(&cache).follow(stop.clone()));
        background.spawn(compaction::run(Arc::clone(&options.store), stop.clone()));
        let services = Arc::new(webhook::Services::new(Arc::clone(&cache)));
        let vouchers = Vouchers::new(&options.authentication, options.tokens.issuer(), &services);
        let chain = Chain::new(&options.authorization, &services).map_err(Error::Authorization)?;
        let rights = Rights::load(&cache, chain);
        background.spawn(Arc::clone(&rights).follow(stop.clone()));
        let resources = Resources::start(options.ranges.clone(), (&cache, &options.store), &background, &stop).await;
        let registry = Arc::new(Registry::new(
            cache,
            Arc::clone(&options.store),
            rights,
            resources.map_err(Error::Bootstrap)?,
            Catalog::new(sampan_api::kinds::ALL),
        ));
        let own = OwnService { ranges: options.ranges, advertised: options.advertised };
        bootstrap::run(&registry, &own, &health).await.map_err(Error::Bootstrap)?;
        if let Some(front) = &options.front_proxy {
            aggregator::publish(&registry, &options.client_authority_pem, front).await.map_err(Error::Bootstrap)?;
        }
        aggregator::register::reconcile(&registry).await.map_err(Error::Bootstrap)?;
        health.passed(Hook::Autoregistration);
        // The policy that was just written must be there before the first request.
        registry.cache.fresh().await.map_err(Error::Bootstrap)?;
        let flow_control = Arc::new(FlowControl::new(options.max_in_flight));
        flow_control.configure(&registry).map_err(Error::Bootstrap)?;
        health.passed(Hook::FlowControlConsumer);
        background.spawn(flowcontrol::follow(Arc::clone(&flow_control), Arc::clone(&registry), stop.clone()));
        background.spawn(flowcontrol::keep(Arc::clone(&registry), stop.clone()));
        let definitions = Definitions::load(Arc::clone(&registry)).await.map_err(Error::Bootstrap)?;
        health.passed(Hook::CustomResources);
        background.spawn(definitions.follow(stop.clone()));
        background.spawn(expiry::run(Arc::clone(&registry), stop.clone()));
        background.spawn(resources::cidrs::run(Arc::clone(&registry), stop.clone()));
        background.spawn(bootstrap::keep_own_service(Arc::clone(&registry), own, stop.clone()));
        let aggregator = Arc::new(Aggregator::new(Arc::clone(&registry), options.front_proxy.as_ref())?);
        background.spawn(aggregator::register::follow(Arc::clone(&registry), stop.clone()));
        background.spawn(aggregator::keep_conditions(Arc::clone(&aggregator), stop.clone()));
        let server = Arc::new(Server {
            registry,
            aggregator,
            tokens: options.tokens,
            vouchers: vouchers.map_err(Error::Authentication)?,
            request_headers: options.front_proxy.map(|front| front.headers).unwrap_or_default(),
            advertised: options.advertised,
            audit: options.audit.map(|audit| Audit::open(audit).map(Arc::new)).transpose().map_err(Error::Audit)?,
            discovery: Discovery::new(options.advertised),
            openapi: OpenApi::new(&options.version.git_version),
            version: options.version,
            health,
            metrics: Metrics::default(),
            flow_control,
            lasting: server::lasting::Room::default(),
            kubelets: Kubelets::new(options.kubelet_tls),
            components: components::Components::default(),
            usage: usage::Kept::default(),
            tasks: TaskTracker::new(),
            stop: front_stop,
        });
        if let Some(door) = door {
            let service = Service(Arc::clone(&server));
            front.spawn(server::accept::run(door, service, server.stop.clone()));
        }
        Ok(Handle { server, front, background, background_stop: stop })
    }
}

impl Handle {
    /// The server for components of the same process.
    pub fn service(&self) -> Service {
        Service(Arc::clone(&self.server))
    }

    /// Says that it is no longer ready, takes no more connections, ends watches and streams, lets requests under way
    /// finish, and returns when nothing of the server runs any more.
    pub async fn shutdown(self) {
        let Self { server, front, background, background_stop } = self;
        server.health.stopping();
        server.stop.cancel();
        server.kubelets.shutdown().await;
        server.aggregator.shutdown().await;
        front.close();
        front.wait().await;
        // Writes whose clients have gone away.
        server.tasks.close();
        server.tasks.wait().await;
        server.flow_control.shutdown().await;
        if let Some(audit) = &server.audit {
            audit.shutdown().await;
        }
        background_stop.cancel();
        background.close();
        background.wait().await;
    }
}
