//! `/healthz`, `/livez`, `/readyz`: whether the server lives and can serve, check by check.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use sampan_api::status::Status;
use sampan_store::Store;
use sampan_store::sealed::Kms;

use crate::cache::Cache;
use crate::request::Query;

/// How long the store may take to answer before it counts as failed.
const STORE: Duration = Duration::from_secs(2);

/// What the checks look at.
pub(crate) struct Health {
    store: Arc<dyn Store>,
    cache: Arc<Cache>,
    kms: Vec<Arc<Kms>>,
    /// The steps of the start that are over, a bit each.
    passed: AtomicU32,
    stopping: AtomicBool,
}

/// A step of the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// The system namespaces are there.
    SystemNamespaces,
    /// The system priority classes are there.
    PriorityClasses,
    /// The bootstrap policy is there.
    Roles,
    /// The suggested FlowSchemas and priority levels are there.
    FlowControlProducer,
    /// They are in force.
    FlowControlConsumer,
    /// `default/kubernetes` is there.
    OwnService,
    /// The APIServices of the server's own versions are there.
    Autoregistration,
    /// Custom resources are served.
    CustomResources,
}

/// One check, by the name it has upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Ping,
    Etcd,
    EtcdReadiness,
    KmsProviders,
    InformerSync,
    Started(Hook),
    Shutdown,
}

impl Check {
    const ALL: [Self; 14] = [
        Self::Ping,
        Self::Etcd,
        Self::EtcdReadiness,
        Self::KmsProviders,
        Self::InformerSync,
        Self::Started(Hook::FlowControlConsumer),
        Self::Started(Hook::CustomResources),
        Self::Started(Hook::SystemNamespaces),
        Self::Started(Hook::Roles),
        Self::Started(Hook::PriorityClasses),
        Self::Started(Hook::FlowControlProducer),
        Self::Started(Hook::OwnService),
        Self::Started(Hook::Autoregistration),
        Self::Shutdown,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Etcd => "etcd",
            Self::EtcdReadiness => "etcd-readiness",
            Self::KmsProviders => "kms-providers",
            Self::InformerSync => "informer-sync",
            Self::Started(hook) => match hook {
                Hook::SystemNamespaces => "poststarthook/start-system-namespaces-controller",
                Hook::PriorityClasses => "poststarthook/scheduling/bootstrap-system-priority-classes",
                Hook::Roles => "poststarthook/rbac/bootstrap-roles",
                Hook::FlowControlProducer => "poststarthook/priority-and-fairness-config-producer",
                Hook::FlowControlConsumer => "poststarthook/priority-and-fairness-config-consumer",
                Hook::OwnService => "poststarthook/bootstrap-controller",
                Hook::Autoregistration => "poststarthook/kube-apiserver-autoregistration",
                Hook::CustomResources => "poststarthook/crd-informer-synced",
            },
            Self::Shutdown => "shutdown",
        }
    }

    /// Whether it belongs to an endpoint: a server that stops, or has lost its store for a moment, is alive, but takes no
    /// new clients.
    fn is_of(self, endpoint: &str) -> bool {
        endpoint == "readyz" || !matches!(self, Self::EtcdReadiness | Self::InformerSync | Self::Shutdown)
    }
}

impl Health {
    /// A server that has not started yet, whose store is sealed with the help of `kms`.
    pub(crate) fn new(store: Arc<dyn Store>, cache: Arc<Cache>, kms: Vec<Arc<Kms>>) -> Self {
        Self { store, cache, kms, passed: AtomicU32::new(0), stopping: AtomicBool::new(false) }
    }

    /// The KMS plugins whose health counts.
    pub(crate) fn kms(&self) -> &[Arc<Kms>] {
        &self.kms
    }

    /// A step of the start is over.
    pub(crate) fn passed(&self, hook: Hook) {
        self.passed.fetch_or(1 << hook as u32, Ordering::Release);
    }

    /// The server is about to stop.
    pub(crate) fn stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The checks of an endpoint.
    fn checks(&self, endpoint: &str) -> impl Iterator<Item = Check> {
        let sealed_by_plugins = !self.kms.is_empty();
        let is_there = move |check: &Check| *check != Check::KmsProviders || sealed_by_plugins;
        Check::ALL.into_iter().filter(move |check| check.is_of(endpoint) && is_there(check))
    }

    /// The paths that [`Health::answer`] answers.
    pub(crate) fn paths(&self) -> impl Iterator<Item = String> {
        ["healthz", "livez", "readyz"].into_iter().flat_map(|endpoint| {
            let checks = self.checks(endpoint).map(move |check| format!("/{endpoint}/{}", check.name()));
            std::iter::once(format!("/{endpoint}")).chain(checks)
        })
    }

    /// Why a check fails.
    async fn run(&self, check: Check) -> Result<(), &'static str> {
        let holds = |condition: bool, why| if condition { Ok(()) } else { Err(why) };
        match check {
            Check::Ping => Ok(()),
            Check::Etcd | Check::EtcdReadiness => self.store().await,
            Check::KmsProviders => self.kms_providers().await,
            Check::InformerSync => holds(self.cache.is_synced(), "the watch cache has lost the storage"),
            Check::Started(hook) => {
                holds(self.passed.load(Ordering::Acquire) & (1 << hook as u32) != 0, "not finished")
            }
            Check::Shutdown => holds(!self.stopping.load(Ordering::Acquire), "process is shutting down"),
        }
    }

    /// Why the store is of no use.
    pub(crate) async fn store(&self) -> Result<(), &'static str> {
        match tokio::time::timeout(STORE, self.store.revision()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the store failed its health check");
                Err("the storage is not available")
            }
            Err(_) => Err("the storage did not answer in time"),
        }
    }

    async fn kms_providers(&self) -> Result<(), &'static str> {
        let checks = self.kms.iter().map(|kms| kms.check());
        let faults: Vec<_> = futures::future::join_all(checks).await.into_iter().filter_map(Result::err).collect();
        for error in &faults {
            tracing::warn!(%error, "a KMS plugin failed its health check");
        }
        if faults.is_empty() { Ok(()) } else { Err("a KMS provider is not healthy") }
    }

    /// Answers `/{endpoint}` and `/{endpoint}/{check}`.
    pub(crate) async fn answer(&self, path: &str, query: &Query) -> Result<Response<Body>, Status> {
        let path = path.trim_start_matches('/');
        let (endpoint, one) = path.split_once('/').unwrap_or((path, ""));
        if one.is_empty() {
            return Ok(self.report(endpoint, self.checks(endpoint), query).await);
        }
        let check = self.checks(endpoint).find(|check| check.name() == one).ok_or_else(Status::no_such_path)?;
        Ok(match self.run(check).await {
            Ok(()) => reply(true, "ok".to_owned()),
            Err(why) => reply(false, format!("internal server error: {why}\n")),
        })
    }

    async fn report(&self, endpoint: &str, checks: impl Iterator<Item = Check>, query: &Query) -> Response<Body> {
        let mut excluded: BTreeSet<&str> = query.all("exclude").filter(|name| !name.is_empty()).collect();
        let (mut report, mut passed) = (String::new(), true);
        for check in checks {
            let name = check.name();
            let (sign, word) = if excluded.remove(name) {
                ('+', "excluded: ok")
            } else if self.run(check).await.is_ok() {
                ('+', "ok")
            } else {
                passed = false;
                // The reason is for the log, and for whoever may ask for this one check.
                ('-', "failed: reason withheld")
            };
            let _ = writeln!(report, "[{sign}]{name} {word}");
        }
        if !excluded.is_empty() {
            let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
            let names = names.join(", ");
            let _ = writeln!(report, "warn: some health checks cannot be excluded: no matches for {names}");
        }
        let verdict = if passed { "passed" } else { "failed" };
        let _ = writeln!(report, "{endpoint} check {verdict}");
        let verbose = query.get("verbose").is_some() || !passed;
        reply(passed, if verbose { report } else { "ok".to_owned() })
    }
}

fn reply(passed: bool, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    if !passed {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
