//! Conversion webhooks: a real server behind a definition of two forms, asked by a real API server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::remote::Remote;
use crate::support::{Cluster, in_process};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// How long a new definition may take until it is served.
const PATIENCE: Duration = Duration::from_secs(10);

/// The reviews that the webhook has seen.
type Seen = Arc<Mutex<Vec<Value>>>;

/// Converts between `spec.hostPort` (v1) and `spec.host` with `spec.port` (v2).
async fn answer(seen: Seen, request: Request<Incoming>) -> Response<Body> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    seen.lock().unwrap().push(review.clone());
    let wanted = review["request"]["desiredAPIVersion"].as_str().unwrap();
    let objects = review["request"]["objects"].as_array().unwrap();
    let refused = objects.iter().any(|object| object["metadata"]["name"] == "refused");
    let response = if refused {
        json!({ "result": { "status": "Failed", "message": "not this one" } })
    } else {
        let converted: Vec<Value> = objects.iter().map(|object| convert(object, wanted)).collect();
        json!({ "result": { "status": "Success" }, "convertedObjects": converted })
    };
    let mut answer = json!({ "apiVersion": review["apiVersion"], "kind": "ConversionReview", "response": response });
    answer["response"]["uid"] = review["request"]["uid"].clone();
    Response::new(Body::from(answer.to_string()))
}

fn convert(object: &Value, wanted: &str) -> Value {
    let (mut object, spec) = (object.clone(), &object["spec"]);
    object["apiVersion"] = wanted.into();
    object["spec"] = if wanted.ends_with("/v1") {
        json!({ "hostPort": format!("{}:{}", spec["host"].as_str().unwrap(), spec["port"].as_str().unwrap()) })
    } else {
        let (host, port) = spec["hostPort"].as_str().unwrap().split_once(':').unwrap();
        json!({ "host": host, "port": port })
    };
    object
}

struct Site {
    cluster: Cluster,
    seen: Seen,
}

impl Site {
    /// A cluster with a definition whose v1 is stored, and v2 converted by the webhook.
    async fn open() -> Self {
        let seen = Seen::default();
        let told = Arc::clone(&seen);
        let remote = Remote::start(&[], move |request| answer(Arc::clone(&told), request)).await;
        let site = Self { cluster: Cluster::start().await, seen };
        let (code, answer) = site.cluster.admin("POST", DEFINITIONS, &definition(&remote).to_string()).await;
        assert_eq!(code, 201, "{answer:#}");
        let served = async {
            while site.get("v2", "").await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, served).await.unwrap();
        site
    }

    async fn get(&self, version: &str, rest: &str) -> (u16, Value) {
        self.cluster.admin("GET", &path(version, rest), "").await
    }

    async fn watch(&self, version: &str, rest: &str) -> Body {
        let request = Request::get(path(version, &format!("?watch=1{rest}"))).extension(in_process("admin"));
        self.cluster.send(request.body(Body::empty()).unwrap()).await.into_body()
    }

    /// The names of what a list selects, and its token for the next page.
    async fn names(&self, version: &str, rest: &str) -> (Vec<String>, String) {
        let (code, list) = self.get(version, rest).await;
        assert_eq!(code, 200, "{list:#}");
        let names = list["items"].as_array().unwrap().iter().map(|item| text(&item["metadata"]["name"]).to_owned());
        (names.collect(), text(&list["metadata"]["continue"]).to_owned())
    }

    async fn create(&self, version: &str, name: &str, spec: Value) -> (u16, Value) {
        let object = json!({
            "apiVersion": format!("stable.example.com/{version}"), "kind": "Endpoint",
            "metadata": { "name": name }, "spec": spec,
        });
        self.cluster.admin("POST", &path(version, ""), &object.to_string()).await
    }
}

fn path(version: &str, rest: &str) -> String {
    format!("/apis/stable.example.com/{version}/namespaces/default/endpoints{rest}")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn definition(remote: &Remote) -> Value {
    let version = |name: &str, fields: &[&str]| {
        let text = |field: &&str| ((*field).to_owned(), json!({ "type": "string" }));
        let selectable: Vec<_> = fields.iter().map(|field| json!({ "jsonPath": format!(".spec.{field}") })).collect();
        let fields: serde_json::Map<_, _> = fields.iter().map(text).collect();
        let spec = json!({ "type": "object", "properties": fields });
        json!({
            "name": name, "served": true, "storage": name == "v1",
            "schema": { "openAPIV3Schema": { "type": "object", "properties": { "spec": spec } } },
            "selectableFields": selectable,
        })
    };
    let url = format!("https://localhost:{}/convert", remote.address.port());
    json!({
        "metadata": { "name": "endpoints.stable.example.com" },
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": { "plural": "endpoints", "kind": "Endpoint" },
            "versions": [version("v1", &["hostPort"]), version("v2", &["host", "port"])],
            "conversion": { "strategy": "Webhook", "webhook": {
                "clientConfig": { "url": url, "caBundle": remote.bundle }, "conversionReviewVersions": ["v1"],
            } },
        },
    })
}

#[tokio::test]
async fn objects_are_converted_both_ways() {
    let site = Site::open().await;
    let (code, answer) = site.create("v1", "one", json!({ "hostPort": "a:1" })).await;
    assert_eq!(code, 201, "{answer:#}");
    assert!(site.seen.lock().unwrap().is_empty(), "what has the form already is not converted");
    let (code, answer) = site.create("v2", "two", json!({ "host": "b", "port": "2" })).await;
    assert_eq!((code, &answer["spec"]), (201, &json!({ "host": "b", "port": "2" })), "{answer:#}");
    let (_, one) = site.get("v2", "/one").await;
    assert_eq!(
        (&one["apiVersion"], &one["spec"]),
        (&json!("stable.example.com/v2"), &json!({ "host": "a", "port": "1" }))
    );
    let (_, two) = site.get("v1", "/two").await;
    assert_eq!(two["spec"], json!({ "hostPort": "b:2" }));

    site.seen.lock().unwrap().clear();
    let (_, list) = site.get("v2", "").await;
    let hosts: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|item| &item["spec"]["host"]).collect();
    assert_eq!(hosts, ["a", "b"]);
    {
        let seen = site.seen.lock().unwrap();
        assert_eq!(seen.len(), 1, "a list is converted in one review");
        let objects = seen[0]["request"]["objects"].as_array().unwrap();
        assert_eq!(objects.len(), 1, "the other one has been converted before");
        assert_eq!(objects[0]["metadata"]["name"], "two");
        assert_eq!(seen[0]["request"]["desiredAPIVersion"], "stable.example.com/v2");
    }

    let (code, answer) = site.cluster.merge(&path("v2", "/one"), r#"{"spec":{"port":"9"}}"#).await;
    assert_eq!((code, &answer["spec"]["port"]), (200, &json!("9")), "{answer:#}");
    assert_eq!(site.get("v1", "/one").await.1["spec"]["hostPort"], "a:9");
}

/// The next so many events of a watch: type, name and host.
async fn events(body: &mut Body, count: usize) -> Vec<String> {
    let (mut text, mut events) = (String::new(), Vec::new());
    while events.len() < count {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        while let Some((line, rest)) = text.split_once('\n') {
            let event: Value = serde_json::from_str(line).unwrap();
            let object = &event["object"];
            let words = [&event["type"], &object["metadata"]["name"], &object["spec"]["host"]];
            events.push(words.map(|word| word.as_str().unwrap_or_default()).join(" "));
            text = rest.to_owned();
        }
    }
    assert_eq!(text, "");
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_webhook_is_asked_once_about_what_many_want() {
    const OBJECTS: usize = 40;
    let site = Site::open().await;
    for index in 0..OBJECTS {
        let (code, answer) = site.create("v1", &format!("e{index:02}"), json!({ "hostPort": "a:1" })).await;
        assert_eq!(code, 201, "{answer:#}");
    }
    let asked = || site.seen.lock().unwrap().len();
    let before = asked();
    let mut first = site.watch("v2", "").await;
    assert_eq!(events(&mut first, OBJECTS).await.len(), OBJECTS);
    assert_eq!(asked() - before, 1, "the beginning of a watch is converted in one review");
    let (_, list) = site.get("v2", "").await;
    assert_eq!(list["items"].as_array().unwrap().len(), OBJECTS);
    assert_eq!(site.get("v2", "/e07").await.1["spec"]["host"], "a");
    assert_eq!(asked() - before, 1, "what has not been written since is not converted again");

    let mut watches = Vec::new();
    for _ in 0..20 {
        watches
            .push(site.watch("v2", &format!("&resourceVersion={}", text(&list["metadata"]["resourceVersion"]))).await);
    }
    let (code, _) = site.cluster.merge(&path("v1", "/e03"), r#"{"spec":{"hostPort":"a:9"}}"#).await;
    assert_eq!(code, 200);
    let told = watches.iter_mut().map(|watch| events(watch, 1));
    assert!(futures::future::join_all(told).await.iter().all(|events| events == &["MODIFIED e03 a"]));
    assert_eq!(asked() - before, 2, "an event is converted once for all watchers");
    assert_eq!(events(&mut first, 1).await, ["MODIFIED e03 a"]);
    let (_, list) = site.get("v2", "").await;
    assert_eq!(list["items"][3]["spec"]["port"], "9");
    assert_eq!(asked() - before, 2);
}

#[tokio::test]
async fn lists_select_by_the_fields_of_the_version_asked_for() {
    let site = Site::open().await;
    for index in 0..20 {
        let host = if index % 5 == 0 { "a" } else { "b" };
        let (code, answer) =
            site.create("v1", &format!("e{index:02}"), json!({ "hostPort": format!("{host}:{index}") })).await;
        assert_eq!(code, 201, "{answer:#}");
    }
    let table = [
        ("v2", "spec.host=a", vec!["e00", "e05", "e10", "e15"]),
        ("v2", "spec.host=a,spec.port=10", vec!["e10"]),
        ("v2", "spec.host=a,metadata.name=e05", vec!["e05"]),
        ("v2", "spec.host=a,metadata.name!=e05", vec!["e00", "e10", "e15"]),
        ("v2", "spec.host=c", vec![]),
        ("v1", "spec.hostPort=b:7", vec!["e07"]),
    ];
    for (version, selector, want) in table {
        assert_eq!(site.names(version, &format!("?fieldSelector={selector}")).await.0, want, "{selector}");
    }
    let (code, answer) = site.get("v1", "?fieldSelector=spec.host=a").await;
    assert_eq!((code, text(&answer["message"])), (400, "field label not supported: spec.host"));

    // Pages are full, whatever is between, and show what was there at the first.
    let page = "?fieldSelector=spec.host=a&limit=3";
    let (names, token) = site.names("v2", page).await;
    assert_eq!(names, ["e00", "e05", "e10"]);
    let (code, _) = site.cluster.merge(&path("v1", "/e15"), r#"{"spec":{"hostPort":"b:15"}}"#).await;
    assert_eq!(code, 200);
    assert_eq!(site.names("v2", &format!("{page}&continue={token}")).await, (vec!["e15".to_owned()], String::new()));
    assert_eq!(site.names("v2", "?fieldSelector=spec.host=a").await.0, ["e00", "e05", "e10"]);

    let selected = path("v2", "?fieldSelector=spec.host=a,spec.port=5");
    let (code, answer) = site.cluster.admin("DELETE", &selected, "").await;
    assert_eq!((code, &answer["items"][0]["spec"]), (200, &json!({ "host": "a", "port": "5" })), "{answer:#}");
    assert_eq!(site.names("v2", "").await.0.len(), 19);
    assert_eq!(site.names("v2", "?fieldSelector=spec.host=a").await.0, ["e00", "e10"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_select_by_the_fields_of_the_version_asked_for() {
    let site = Site::open().await;
    for (name, host) in [("one", "a:1"), ("two", "b:1")] {
        assert_eq!(site.create("v1", name, json!({ "hostPort": host })).await.0, 201);
    }
    let mut from_now = site.watch("v2", "&fieldSelector=spec.host=a").await;
    assert_eq!(events(&mut from_now, 1).await, ["ADDED one a"]);
    let at = site.get("v1", "").await.1["metadata"]["resourceVersion"].clone();
    let mut watches = Vec::new();
    for _ in 0..10 {
        let rest = format!("&fieldSelector=spec.host=a&resourceVersion={}", text(&at));
        watches.push(site.watch("v2", &rest).await);
    }
    let mut by_stored = site.watch("v1", "&fieldSelector=spec.hostPort=a:2").await;
    let change = async |name: &str, to: &str| {
        let patch = json!({ "spec": { "hostPort": to } }).to_string();
        assert_eq!(site.cluster.merge(&path("v1", &format!("/{name}")), &patch).await.0, 200);
    };
    let before = site.seen.lock().unwrap().len();
    change("two", "b:2").await; // Neither before nor after.
    change("one", "a:2").await;
    change("one", "b:2").await;
    change("two", "a:3").await;
    assert_eq!(site.cluster.admin("DELETE", &path("v1", "/two"), "").await.0, 200);
    assert_eq!(site.create("v2", "three", json!({ "host": "a", "port": "2" })).await.0, 201);
    let want = ["MODIFIED one a", "DELETED one a", "ADDED two a", "DELETED two a", "ADDED three a"];
    assert_eq!(events(&mut from_now, want.len()).await, want);
    for watch in &mut watches {
        assert_eq!(events(watch, want.len()).await, want);
    }
    assert_eq!(events(&mut by_stored, 3).await, ["ADDED one ", "DELETED one ", "ADDED three "]);
    let asked = site.seen.lock().unwrap().len() - before;
    assert!(asked <= 20, "the watches share what is converted, but {asked} reviews were asked for");
}

#[tokio::test]
async fn what_the_webhook_refuses_is_told() {
    let site = Site::open().await;
    let (code, answer) = site.create("v2", "refused", json!({ "host": "a", "port": "1" })).await;
    assert_eq!(code, 500, "{answer:#}");
    assert_eq!(
        answer["message"],
        "Internal error occurred: conversion webhook for stable.example.com/v2, Kind=Endpoint failed: not this one"
    );

    for name in ["fine", "refused", "zoo"] {
        let (code, answer) = site.create("v1", name, json!({ "hostPort": "a:1" })).await;
        assert_eq!(code, 201, "{answer:#}");
    }
    let before = site.seen.lock().unwrap().len();
    let body = site.watch("v2", "").await;
    let text = tokio::time::timeout(PATIENCE, body.collect()).await.expect("the watch ends").unwrap().to_bytes();
    let events = serde_json::Deserializer::from_slice(&text).into_iter::<Value>().map(Result::unwrap);
    let told: Vec<(Value, Value)> =
        events.map(|event| (event["type"].clone(), event["object"]["kind"].clone())).collect();
    assert_eq!(told, [(json!("ADDED"), json!("Endpoint")), (json!("ERROR"), json!("Status"))]);
    assert_eq!(site.seen.lock().unwrap().len() - before, 3, "all together, and each up to the one that is refused");
}
