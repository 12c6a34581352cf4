//! Whether aggregated servers are there: the condition `Available` of their APIServices.
//!
//! What the cluster's own objects say (is there a Service, has it endpoints) is known at once and watched; whether a
//! server answers has to be asked, every half minute, and sooner after it did not. Without aggregated servers nothing
//! is asked.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::StreamExt as _;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use sampan_api::status::Status;
use sampan_auth::Identity;
use sampan_store::Revision;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::forward::{OURSELVES, sign};
use super::{Aggregator, GROUP, KIND, Known, Remote, STORAGE};
use crate::cache::Filter;
use crate::registry::{Attempt, built_in, conditions, metadata};
use crate::webhook::Address;

/// How often a server that is there is asked.
const INTERVAL: Duration = Duration::from_secs(30);
/// How soon a server is asked again that did not answer; doubled each time, up to [`INTERVAL`].
const RETRY: Duration = Duration::from_millis(500);
/// How long a server may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// Servers that are asked at a time.
pub(super) const AT_ONCE: usize = 8;
/// No document of a server is larger.
const MAX_DOCUMENT_BYTES: usize = 8 << 20;
/// What decides about servers: APIServices, and where their Services are.
const STORAGES: [&str; 3] = [STORAGE, "services", "endpointslices"];
/// The label that ties a slice to its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// What is known of a server: the reason and message of its condition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    available: bool,
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn no(reason: &'static str, message: String) -> Self {
        Self { available: false, reason, message }
    }
}

/// Keeps the conditions until `stop`.
pub(crate) async fn run(aggregator: Arc<Aggregator>, stop: CancellationToken) {
    let changes = STORAGES.map(|storage| aggregator.registry.cache.stored(storage).map(|room| room.subscribe()));
    let [Some(mine), Some(services), Some(slices)] = changes else { return };
    let mut changes = [mine, services, slices];
    let mut failures = 0;
    while !stop.is_cancelled() {
        // What changes from here on is a reason to ask again.
        changes.iter_mut().for_each(Receiver::mark_unchanged);
        let remotes = aggregator.remotes();
        let checks: Vec<_> = remotes.iter().map(|remote| aggregator.check(remote)).collect();
        let answered: Vec<bool> = futures::stream::iter(checks).buffer_unordered(AT_ONCE).collect().await;
        failures = if answered.contains(&false) { failures + 1 } else { 0 };
        aggregator.known.lock().retain(|name, _| remotes.iter().any(|remote| remote.name == *name));
        let pause = if failures == 0 { INTERVAL } else { INTERVAL.min(RETRY * 2u32.pow(failures.min(8))) };
        stop.run_until_cancelled(aggregator.wait(&mut changes, &remotes, pause)).await;
    }
}

impl Aggregator {
    /// Waits until there is a reason to ask again.
    async fn wait(&self, changes: &mut [Receiver<Revision>; 3], remotes: &[Remote], pause: Duration) {
        let [mine, services, slices] = changes;
        if remotes.is_empty() {
            return drop(mine.changed().await);
        }
        let before: Vec<_> = remotes.iter().map(|remote| self.of_objects(remote)).collect();
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                _ = mine.changed() => {}
                _ = services.changed() => {}
                _ = slices.changed() => {}
            }
            // The conditions are this task's own doing.
            let same = |(a, b): (&Remote, &Remote)| (&a.name, &a.place) == (&b.name, &b.place);
            let now = self.remotes();
            if now.len() != remotes.len() || !now.iter().zip(remotes).all(same) {
                return;
            }
            if remotes.iter().map(|remote| self.of_objects(remote)).ne(before.iter().cloned()) {
                return;
            }
        }
    }

    /// Asks one server and notes what comes of it; whether it answered.
    async fn check(&self, remote: &Remote) -> bool {
        let verdict = match self.of_objects(remote) {
            Some(verdict) => verdict,
            None => self.ask(remote).await,
        };
        if let Err(error) = self.note(remote, &verdict).await {
            tracing::debug!(%error, name = remote.name, "the availability of an APIService could not be noted");
        }
        verdict.available
    }

    /// What the cluster's own objects say against a server.
    fn of_objects(&self, remote: &Remote) -> Option<Verdict> {
        let Ok(Address::Service { namespace, name, port }) = remote.place.as_ref().map(|place| &place.address) else {
            let why = remote.place.as_ref().err().cloned().unwrap_or_default();
            return Some(Verdict::no("FailedDiscoveryCheck", why));
        };
        let Some(service) = self.registry.peek("", "Service", namespace, name) else {
            return Some(Verdict::no("ServiceNotFound", format!("service/{name} in {namespace:?} is not present")));
        };
        if !matches!(service["spec"]["type"].as_str(), None | Some("ClusterIP")) {
            return None;
        }
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        let Some(found) = ports.clone().find(|candidate| candidate["port"] == *port) else {
            let why = format!("service/{name} in {namespace:?} is not listening on port {port}");
            return Some(Verdict::no("ServicePortError", why));
        };
        let room = self.registry.cache.stored("endpointslices")?;
        let (slices, _) = room.snapshot(&Filter::of_namespace(namespace));
        if !slices.iter().any(|slice| slice.labels.get(SERVICE_LABEL).is_some_and(|label| label == name)) {
            let why = format!("cannot find endpointslices for service/{name} in {namespace:?}");
            return Some(Verdict::no("EndpointsNotFound", why));
        }
        if self.registry.caller.services().resolve(namespace, name, *port).is_err() {
            let port_name = found["name"].as_str().unwrap_or_default();
            let why = format!(
                "endpointslices for service/{name} in {namespace:?} have no addresses with port name {port_name:?}"
            );
            return Some(Verdict::no("MissingEndpoints", why));
        }
        None
    }

    /// What the server itself says: it must have something to say of its version.
    async fn ask(&self, remote: &Remote) -> Verdict {
        let path = format!("/apis/{}/{}", remote.group, remote.version);
        let failed = |why: String| Verdict::no("FailedDiscoveryCheck", why);
        let url = remote.place.as_ref().map(|place| format!("{}{path}", place.url())).unwrap_or_default();
        let response = match tokio::time::timeout(TIMEOUT, self.get(remote, &path)).await {
            Err(_) => return failed(format!("timed out waiting for {url}")),
            Ok(response) => response,
        };
        if !response.status().is_success() {
            let code = response.status().as_u16();
            let said = document(response).await;
            let why =
                said.err().filter(|_| code == 503).map(|why| format!("failing or missing response from {url}: {why}"));
            return failed(why.unwrap_or_else(|| format!("bad status from {url}: {code}")));
        }
        match tokio::time::timeout(TIMEOUT, document(response)).await {
            Ok(Ok(resources)) => {
                let openapi = self.openapi_entry(remote).await.unwrap_or_default();
                self.known.lock().insert(remote.name.clone(), Known { resources, openapi });
                Verdict { available: true, reason: "Passed", message: "all checks passed".to_owned() }
            }
            Ok(Err(why)) => failed(format!("failing or missing response from {url}: {why}")),
            Err(_) => failed(format!("timed out waiting for {url}")),
        }
    }

    /// The server's entry for its version in its index of OpenAPI documents, if it has one.
    async fn openapi_entry(&self, remote: &Remote) -> Option<Value> {
        let asked = async { document(self.get(remote, "/openapi/v3").await).await.ok() };
        let index = tokio::time::timeout(TIMEOUT, asked).await.ok()??;
        Some(index["paths"][format!("apis/{}/{}", remote.group, remote.version)].clone())
    }

    /// A document of the server's own, asked for by this one.
    pub(super) async fn get(&self, remote: &Remote, path: &str) -> Response<Body> {
        let mut headers = HeaderMap::new();
        let groups = vec!["system:masters".to_owned()];
        sign(&mut headers, &Identity { name: OURSELVES.to_owned(), groups, ..Identity::default() });
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = path.parse().unwrap_or_default();
        *request.headers_mut() = headers;
        self.forward(remote, request).await
    }

    async fn note(&self, remote: &Remote, verdict: &Verdict) -> Result<(), Status> {
        let Some(object) = self.registry.peek(GROUP, KIND, "", &remote.name) else { return Ok(()) };
        let now = metadata::time(sampan_clock::now());
        let Some(changed) = with_condition(&object, verdict, &now) else { return Ok(()) };
        let attempt = Attempt { subresource: "status", ..Attempt::internal(built_in(GROUP, KIND)?, "", &remote.name) };
        self.registry.update(&attempt, changed).await.map(drop)
    }
}

/// Reads a document; an error is the sentence that came instead.
pub(super) async fn document(response: Response<Body>) -> Result<Value, String> {
    let body = Limited::new(response.into_body(), MAX_DOCUMENT_BYTES).collect().await.map_err(|e| e.to_string())?;
    let body = body.to_bytes();
    serde_json::from_slice(&body).map_err(|_| String::from_utf8_lossy(&body).trim().to_owned())
}

/// The APIService with this condition; `None` if it has it already.
fn with_condition(object: &Value, verdict: &Verdict, now: &str) -> Option<Value> {
    let status = if verdict.available { "True" } else { "False" };
    let mut changed = object.clone();
    let condition = json!({
        "type": "Available", "status": status, "lastTransitionTime": now,
        "reason": verdict.reason, "message": verdict.message,
    });
    conditions::set(&mut changed, condition);
    (changed != *object).then_some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_change_only_with_what_they_say() {
        let no = |why: &str| Verdict::no("ServiceNotFound", why.to_owned());
        let first = with_condition(&json!({}), &no("a"), "1").unwrap();
        assert_eq!(first["status"]["conditions"][0]["lastTransitionTime"], "1");
        assert_eq!(with_condition(&first, &no("a"), "2"), None);
        let second = with_condition(&first, &no("b"), "2").unwrap();
        assert_eq!(second["status"]["conditions"][0]["lastTransitionTime"], "1");
        let passed = Verdict { available: true, reason: "Passed", message: "all checks passed".to_owned() };
        let third = with_condition(&second, &passed, "3").unwrap();
        assert_eq!(
            third["status"]["conditions"],
            json!([{
                "type": "Available", "status": "True", "lastTransitionTime": "3", "reason": "Passed", "message": "all checks passed",
            }])
        );
    }
}
