//! An API server of values: objects by place, lists, watches with field selectors, merge and strategic patches. No
//! validation, no authorization.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

/// Resource, namespace, name.
type Place = (String, String, String);

#[derive(Default)]
struct Store {
    objects: BTreeMap<Place, Value>,
    version: u64,
}

/// What happened to the object of a place.
type Happening = (Place, &'static str, Value);

#[derive(Clone)]
pub(super) struct FakeApi {
    store: Arc<Mutex<Store>>,
    happenings: broadcast::Sender<Happening>,
    /// Resources of which no single object is told.
    silent: Arc<Mutex<BTreeSet<String>>>,
}

/// A request's place and what it asks of it.
#[derive(Clone)]
struct Target {
    group_version: String,
    resource: String,
    namespace: String,
    name: String,
    subresource: String,
}

impl FakeApi {
    pub(super) fn new() -> Self {
        Self { store: Arc::default(), happenings: broadcast::channel(4096).0, silent: Arc::default() }
    }

    pub(super) fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let api = api.clone();
            async move { Ok::<_, std::convert::Infallible>(api.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    pub(super) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let place = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        self.store.lock().objects.get(&place).cloned()
    }

    /// From now on whoever asks for an object of this resource waits for ever.
    pub(super) fn silence(&self, resource: &str) {
        self.silent.lock().insert(resource.to_owned());
    }

    /// Creates or replaces an object.
    pub(super) fn put(&self, group_version: &str, resource: &str, mut object: Value) -> Value {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let place = (resource.to_owned(), text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
        let mut store = self.store.lock();
        store.version += 1;
        let version = store.version;
        object["apiVersion"] = json!(group_version);
        object["kind"] = json!(kind(resource));
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{version}"));
            object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        let known = store.objects.insert(place.clone(), object.clone()).is_some();
        let _ = self.happenings.send((place, if known { "MODIFIED" } else { "ADDED" }, object.clone()));
        object
    }

    /// Removes an object at once.
    pub(super) fn remove(&self, resource: &str, namespace: &str, name: &str) {
        let place = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let mut store = self.store.lock();
        store.version += 1;
        let version = store.version;
        if let Some(mut object) = store.objects.remove(&place) {
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            let _ = self.happenings.send((place, "DELETED", object));
        }
    }

    /// What a client's graceful deletion does.
    pub(super) fn delete(&self, namespace: &str, name: &str, grace_s: i64) {
        let mut pod = self.get("pods", namespace, name).unwrap();
        let at = sampan_clock::now() + std::time::Duration::from_secs(grace_s.unsigned_abs());
        pod["metadata"]["deletionTimestamp"] = json!(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace_s);
        self.put("v1", "pods", pod);
    }

    /// Waits until the object is as `is` wants.
    pub(super) async fn until(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        is: impl Fn(Option<&Value>) -> bool,
    ) -> Option<Value> {
        let mut happenings = self.happenings.subscribe();
        loop {
            let object = self.get(resource, namespace, name);
            if is(object.as_ref()) {
                return object;
            }
            let _ = happenings.recv().await;
        }
    }

    /// Waits until some object of the resource is as `is` wants.
    pub(super) async fn until_any(&self, resource: &str, is: impl Fn(Option<&Value>) -> bool) -> Value {
        let mut happenings = self.happenings.subscribe();
        loop {
            let objects = self.store.lock().objects.clone();
            let found = objects.into_iter().find(|(place, object)| place.0 == resource && is(Some(object)));
            if let Some((_, object)) = found {
                return object;
            }
            let _ = happenings.recv().await;
        }
    }

    async fn answer(&self, request: Request<kube::client::Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let query: BTreeMap<String, String> =
            parts.uri.query().unwrap_or_default().split('&').filter_map(pair).collect();
        let target = target(parts.uri.path());
        let sent = || serde_json::from_slice::<Value>(&body).unwrap_or_default();
        match (parts.method.as_str(), target.name.as_str(), target.subresource.as_str()) {
            ("GET", "", _) if query.get("watch").is_some_and(|watch| watch == "true") => self.watch(&target, &query),
            ("GET", "", _) => self.list(&target, &query),
            ("GET", ..) if self.silent.lock().contains(&target.resource) => std::future::pending().await,
            ("GET", ..) => match self.get(&target.resource, &target.namespace, &target.name) {
                Some(object) => json_response(200, &object),
                None => not_found(&target),
            },
            ("POST", _, "token") => {
                let until = sampan_clock::now() + std::time::Duration::from_secs(3600);
                let until = until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                let status = json!({"token": format!("token-of-{}", target.name), "expirationTimestamp": until});
                json_response(201, &json!({"metadata": {}, "spec": sent()["spec"], "status": status}))
            }
            ("POST", ..) => {
                let mut object = sent();
                if !target.namespace.is_empty() {
                    object["metadata"]["namespace"] = json!(target.namespace);
                }
                if target.resource == "events" {
                    // Their names are made from the time, which stands still here.
                    let count = self.store.lock().objects.len();
                    object["metadata"]["name"] = json!(format!("event-{count}"));
                }
                json_response(201, &self.put(&target.group_version, &target.resource, object))
            }
            ("PATCH", ..) => self.patch(&target, sent(), parts.headers["content-type"].to_str().unwrap()),
            ("DELETE", ..) => {
                let object = self.get(&target.resource, &target.namespace, &target.name);
                self.remove(&target.resource, &target.namespace, &target.name);
                object.map_or_else(|| not_found(&target), |object| json_response(200, &object))
            }
            (method, ..) => panic!("{method} {}", parts.uri),
        }
    }

    fn patch(&self, target: &Target, patch: Value, content_type: &str) -> Response<Body> {
        let Some(live) = self.get(&target.resource, &target.namespace, &target.name) else { return not_found(target) };
        let (group, version) = target.group_version.split_once('/').unwrap_or(("", &target.group_version));
        let definition = sampan_api::schema::of_kind(group, version, kind(&target.resource)).unwrap();
        let patched = match content_type {
            "application/strategic-merge-patch+json" => sampan_api::patch::strategic::patch(&live, patch, definition),
            _ => sampan_api::patch::merge::patch(&live, patch),
        };
        json_response(200, &self.put(&target.group_version, &target.resource, patched.unwrap()))
    }

    fn list(&self, target: &Target, query: &BTreeMap<String, String>) -> Response<Body> {
        let store = self.store.lock();
        let items: Vec<&Value> =
            store.objects.iter().filter(|(p, o)| selects(target, query, p, o)).map(|(_, o)| o).collect();
        let metadata = json!({"resourceVersion": store.version.to_string()});
        let kind = format!("{}List", kind(&target.resource));
        json_response(
            200,
            &json!({"apiVersion": target.group_version, "kind": kind, "metadata": metadata, "items": items}),
        )
    }

    fn watch(&self, target: &Target, query: &BTreeMap<String, String>) -> Response<Body> {
        let since: u64 = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        let store = self.store.lock();
        let live = BroadcastStream::new(self.happenings.subscribe()).filter_map(|happening| async { happening.ok() });
        let missed: Vec<Happening> =
            store.objects.iter().map(|(place, object)| (place.clone(), "MODIFIED", object.clone())).collect();
        let version = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
        let missed = missed.into_iter().filter(|(_, _, object)| version(object) > since);
        let missed: Vec<Happening> = missed.collect();
        let (target, query) = (target.clone(), query.clone());
        let lines = futures::stream::iter(missed).chain(live).filter_map(move |(place, what, object)| {
            let selected = selects(&target, &query, &place, &object);
            let line = format!("{}\n", json!({"type": what, "object": object}));
            async move { selected.then(|| Ok::<_, std::convert::Infallible>(Bytes::from(line))) }
        });
        Response::builder().header("content-type", "application/json").body(Body::from_stream(lines)).unwrap()
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    Some((key.to_owned(), value.replace("%3D", "=").replace("%2F", "/")))
}

fn target(path: &str) -> Target {
    let mut parts = path.trim_start_matches('/').split('/');
    let group_version = match parts.next() {
        Some("api") => parts.next().unwrap().to_owned(),
        _ => format!("{}/{}", parts.next().unwrap(), parts.next().unwrap()),
    };
    let rest: Vec<&str> = parts.collect();
    let (namespace, rest) = match rest.as_slice() {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest.to_vec()),
        all => ("", all.to_vec()),
    };
    let part = |index: usize| rest.get(index).map(|part| (*part).to_owned()).unwrap_or_default();
    Target { group_version, resource: part(0), namespace: namespace.to_owned(), name: part(1), subresource: part(2) }
}

fn selects(target: &Target, query: &BTreeMap<String, String>, place: &Place, object: &Value) -> bool {
    let field = query.get("fieldSelector").and_then(|selector| selector.split_once('='));
    let by_field = field.is_none_or(|(path, want)| {
        let value = path.split('.').fold(object, |value, key| &value[key]);
        value.as_str().unwrap_or_default() == want
    });
    place.0 == target.resource && (target.namespace.is_empty() || target.namespace == place.1) && by_field
}

fn kind(resource: &str) -> &'static str {
    match resource {
        "pods" => "Pod",
        "nodes" => "Node",
        "leases" => "Lease",
        "events" => "Event",
        "services" => "Service",
        "configmaps" => "ConfigMap",
        "secrets" => "Secret",
        other => panic!("no such resource: {other}"),
    }
}

fn json_response(code: u16, value: &Value) -> Response<Body> {
    let response = Response::builder().status(code).header("content-type", "application/json");
    response.body(Body::from(value.to_string())).unwrap()
}

fn not_found(target: &Target) -> Response<Body> {
    let message = format!("{} \"{}\" not found", target.resource, target.name);
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": "NotFound", "code": 404});
    json_response(404, &status)
}
