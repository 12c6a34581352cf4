//! Watches: nothing missed, nothing repeated, in order; selections, bookmarks, ends.

use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::{Cluster, in_process};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub(crate) struct Events {
    body: Body,
    buffer: Vec<u8>,
}

impl Events {
    pub(crate) async fn open(cluster: &Cluster, query: &str) -> Self {
        Self::accepting(cluster, query, "application/json").await
    }

    async fn accepting(cluster: &Cluster, query: &str, accept: &str) -> Self {
        let request = Request::get(format!("{MAPS}?watch=1&{query}")).header("accept", accept);
        let response = cluster.send(request.extension(in_process("admin")).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), buffer: Vec::new() }
    }

    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame =
                tokio::time::timeout(Duration::from_secs(10), self.body.frame()).await.expect("an event in time");
            self.buffer.extend_from_slice(&frame?.unwrap().into_data().unwrap());
        }
    }

    #[track_caller]
    fn told(event: Option<Value>) -> String {
        let Some(event) = event else { return "end".to_owned() };
        let object = &event["object"];
        let name = object["metadata"]["name"].as_str().unwrap_or(object["reason"].as_str().unwrap_or(""));
        format!("{} {name}", event["type"].as_str().unwrap()).trim_end().to_owned()
    }

    pub(crate) async fn expect(&mut self, want: &[&str]) {
        for want in want {
            assert_eq!(Self::told(self.next().await), *want);
        }
    }
}

async fn put(cluster: &Cluster, name: &str, labels: Value, data: &str) -> String {
    let object = json!({ "metadata": { "name": name, "labels": labels }, "data": { "k": data } }).to_string();
    let (code, answer) = cluster.admin("POST", MAPS, &object).await;
    let answer = if code == 409 { cluster.admin("PUT", &format!("{MAPS}/{name}"), &object).await.1 } else { answer };
    answer["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

async fn delete(cluster: &Cluster, name: &str) {
    assert_eq!(cluster.admin("DELETE", &format!("{MAPS}/{name}"), "").await.0, 200);
}

#[tokio::test]
async fn from_now_and_from_a_revision() {
    let cluster = Cluster::start().await;
    let before = put(&cluster, "a", json!({}), "1").await;
    let mut now = Events::open(&cluster, "").await;
    let mut after = Events::open(&cluster, &format!("resourceVersion={before}")).await;
    now.expect(&["ADDED a"]).await;
    put(&cluster, "a", json!({}), "2").await;
    put(&cluster, "b", json!({}), "1").await;
    delete(&cluster, "a").await;
    now.expect(&["MODIFIED a", "ADDED b", "DELETED a"]).await;
    after.expect(&["MODIFIED a", "ADDED b", "DELETED a"]).await;
    cluster.handle.shutdown().await;
    now.expect(&["end"]).await;
    after.expect(&["end"]).await;
}

#[tokio::test]
async fn deletions_have_a_revision_of_their_own() {
    let cluster = Cluster::start().await;
    let created: u64 = put(&cluster, "a", json!({}), "1").await.parse().unwrap();
    let mut events = Events::open(&cluster, &format!("resourceVersion={created}")).await;
    delete(&cluster, "a").await;
    let event = events.next().await.unwrap();
    let revision: u64 = event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(revision > created);
    assert_eq!(event["object"]["data"]["k"], "1");
}

#[tokio::test]
async fn what_leaves_a_selection_is_deleted_from_it() {
    let cluster = Cluster::start().await;
    let start = put(&cluster, "other", json!({}), "1").await;
    let mut events = Events::open(&cluster, &format!("labelSelector=in%3Dyes&resourceVersion={start}")).await;
    put(&cluster, "a", json!({}), "1").await;
    put(&cluster, "a", json!({"in": "yes"}), "2").await;
    put(&cluster, "a", json!({"in": "yes"}), "3").await;
    put(&cluster, "a", json!({"in": "no"}), "4").await;
    put(&cluster, "a", json!({"in": "yes"}), "5").await;
    delete(&cluster, "a").await;
    events.expect(&["ADDED a", "MODIFIED a", "DELETED a", "ADDED a", "DELETED a"]).await;
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let cluster = Cluster::start().await;
    put(&cluster, "a", json!({}), "1").await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = Events::open(&cluster, query).await;
    events.expect(&["ADDED a"]).await;
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    put(&cluster, "b", json!({}), "1").await;
    events.expect(&["ADDED b"]).await;
}

#[tokio::test]
async fn a_slow_watcher_is_told_to_list_again_and_nobody_else_notices() {
    let cluster = Cluster::start().await;
    let start = put(&cluster, "a", json!({}), "0").await;
    let mut slow = Events::open(&cluster, &format!("resourceVersion={start}")).await;
    let mut quick = Events::open(&cluster, &format!("resourceVersion={start}")).await;
    let large = "x".repeat(512 << 10);
    for round in 0..40 {
        put(&cluster, "a", json!({}), &format!("{round}{large}")).await;
        quick.expect(&["MODIFIED a"]).await;
    }
    let event = slow.next().await.unwrap();
    assert_eq!((event["type"].as_str(), event["object"]["code"].as_u64()), (Some("ERROR"), Some(410)));
    slow.expect(&["end"]).await;
}

#[tokio::test]
async fn a_watcher_of_one_object_is_not_overtaken_by_others() {
    let cluster = Cluster::start().await;
    let start = put(&cluster, "quiet", json!({}), "0").await;
    let query = format!("fieldSelector=metadata.name%3Dquiet&resourceVersion={start}");
    let mut events = Events::open(&cluster, &query).await;
    let large = "x".repeat(512 << 10);
    for round in 0..40 {
        put(&cluster, "busy", json!({}), &format!("{round}{large}")).await;
    }
    put(&cluster, "quiet", json!({}), "1").await;
    events.expect(&["MODIFIED quiet"]).await;
}

#[tokio::test]
async fn tables_and_ends() {
    let cluster = Cluster::start().await;
    put(&cluster, "a", json!({}), "1").await;
    put(&cluster, "b", json!({}), "1").await;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut events = Events::accepting(&cluster, "timeoutSeconds=1", accept).await;
    let first = events.next().await.unwrap();
    assert_eq!(first["object"]["rows"][0]["cells"][0], "a");
    assert!(first["object"]["columnDefinitions"].is_array());
    assert!(events.next().await.unwrap()["object"]["columnDefinitions"].is_null());
    events.expect(&["end"]).await;
}
