//! Aggregated APIs: versions of groups that other servers serve, as APIServices say.
//!
//! A request under `/apis/{group}/{version}` of such a version goes on to its server (`forward`), which learns from headers
//! who sent it and from a client certificate that the headers can be believed. Whether a server is there is kept in its
//! APIService's conditions (`available`); what it serves is merged into discovery and OpenAPI (`documents`). The versions
//! that this server serves itself have APIServices too (`register`), with upstream's `priorities`.
//!
//! Authentication, authorization and limits have happened before a request comes here; admission is the other server's.

mod available;
mod documents;
mod forward;
pub(crate) mod priorities;
pub(crate) mod register;
mod trusted;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sampan_auth::authority::Issued;
use sampan_store::Revision;
use sampan_streams::Sessions;
use serde_json::Value;

pub(crate) use self::available::run as keep_conditions;
pub(crate) use self::trusted::publish;
use crate::authentication::RequestHeaders;
use crate::cache::Filter;
use crate::registry::Registry;
use crate::webhook::{Place, Shown, Trust};

/// The group of APIServices.
const GROUP: &str = "apiregistration.k8s.io";
const KIND: &str = "APIService";
const STORAGE: &str = "apiservices";

/// How this server shows itself to aggregated ones, and which proxies before it are believed in the same way.
#[derive(Clone)]
pub struct FrontProxy {
    /// The authorities of front proxies' certificates, this server's among them, PEM; of no other use.
    pub authority_pem: String,
    /// This server's certificate, of the user `front-proxy-client`.
    pub certificate: Issued,
    /// Who may say in which headers whom a request is from.
    pub headers: RequestHeaders,
}

/// Why a [`FrontProxy`] cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the front proxy's certificate: {0}")]
pub struct Unusable(#[from] rustls_pki_types::pem::Error);

/// A version that another server serves.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    /// `v1.group`
    name: String,
    group: String,
    version: String,
    /// Where it is; an error says what is wrong with the APIService.
    place: Result<Place, String>,
    /// Whether it was there when last asked.
    available: bool,
    group_priority: i64,
    version_priority: i64,
}

/// What a server said of itself when last asked.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Its `APIResourceList`.
    resources: Value,
    /// Its entry in the index of OpenAPI documents.
    openapi: Value,
}

/// The aggregator.
pub(crate) struct Aggregator {
    registry: Arc<Registry>,
    shown: Option<Shown>,
    remotes: Mutex<Option<(Revision, Arc<Vec<Remote>>)>>,
    known: Mutex<HashMap<String, Known>>,
    tls: Mutex<HashMap<Place, Arc<rustls::ClientConfig>>>,
    sessions: Sessions,
}

impl Aggregator {
    /// An aggregator that shows itself as `front`.
    pub(crate) fn new(registry: Arc<Registry>, front: Option<&FrontProxy>) -> Result<Self, Unusable> {
        Ok(Self {
            registry,
            shown: front.map(shown).transpose()?,
            remotes: Mutex::default(),
            known: Mutex::default(),
            tls: Mutex::default(),
            sessions: Sessions::default(),
        })
    }

    /// Ends all upgraded connections.
    pub(crate) async fn shutdown(&self) {
        self.sessions.shutdown().await;
    }

    /// The versions that other servers serve, read once per change.
    fn remotes(&self) -> Arc<Vec<Remote>> {
        let Some(room) = self.registry.cache.stored(STORAGE) else { return Arc::default() };
        let mut remotes = self.remotes.lock();
        if let Some((revision, found)) = remotes.as_ref()
            && *revision == room.revision()
        {
            return Arc::clone(found);
        }
        let (objects, revision) = room.snapshot(&Filter::default());
        let found = Arc::new(objects.iter().filter_map(|object| remote(&object.value())).collect());
        *remotes = Some((revision, Arc::clone(&found)));
        found
    }

    /// The other server that a path belongs to.
    pub(crate) fn remote_of(&self, path: &str) -> Option<Remote> {
        let mut parts = path.trim_start_matches('/').split('/');
        let (group, version) = match parts.next()? {
            "apis" => (parts.next()?, parts.next().filter(|version| !version.is_empty())?),
            _ => return None,
        };
        self.remotes().iter().find(|remote| remote.group == group && remote.version == version).cloned()
    }

    fn known(&self, remote: &Remote) -> Option<Known> {
        self.known.lock().get(&remote.name).cloned()
    }
}

fn shown(front: &FrontProxy) -> Result<Shown, Unusable> {
    let chain = CertificateDer::pem_slice_iter(front.certificate.certificate_pem.as_bytes());
    Ok((chain.collect::<Result<_, _>>()?, PrivateKeyDer::from_pem_slice(front.certificate.key_pem.as_bytes())?))
}

/// What an APIService says of another server; `None` for one of our own versions.
fn remote(object: &Value) -> Option<Remote> {
    let spec = &object["spec"];
    if spec["service"].is_null() {
        return None;
    }
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let mut available = conditions.filter(|condition| condition["type"] == "Available");
    Some(Remote {
        name: object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        group: text("group"),
        version: text("version"),
        place: place(spec),
        available: available.any(|condition| condition["status"] == "True"),
        group_priority: spec["groupPriorityMinimum"].as_i64().unwrap_or_default(),
        version_priority: spec["versionPriority"].as_i64().unwrap_or_default(),
    })
}

fn place(spec: &Value) -> Result<Place, String> {
    let trust =
        if spec["insecureSkipTLSVerify"] == true { Trust::Anyone } else { Trust::of_bundle(&spec["caBundle"])? };
    Ok(Place { address: Place::of_service(&spec["service"])?, path: String::new(), trust })
}
