//! Lists and watches at revisions: what is seen is what was there then, or the refusal says how to go on.

use std::sync::Arc;
use std::time::Duration;

use sampan_store::Store;
use serde_json::{Value, json};

use crate::support::{Cluster, open_store};
use crate::watch::Events;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A server with its store in hand, to compact it.
struct Compactable {
    cluster: Cluster,
    store: Arc<dyn Store>,
    _dir: Option<tempfile::TempDir>,
}

impl Compactable {
    async fn start() -> Self {
        let (store, dir) = open_store().await;
        Self { cluster: Cluster::on(Arc::clone(&store)).await, store, _dir: dir }
    }

    async fn put(&self, name: &str, value: &str) -> u64 {
        let map = json!({ "metadata": { "name": name, "labels": { "v": value } }, "data": { "k": value } }).to_string();
        let (code, answer) = self.cluster.admin("POST", MAPS, &map).await;
        let path = format!("{MAPS}/{name}");
        let answer = if code == 409 { self.cluster.admin("PUT", &path, &map).await.1 } else { answer };
        answer["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    }

    async fn list(&self, query: &str) -> (u16, Value) {
        self.cluster.admin("GET", &format!("{MAPS}?{query}"), "").await
    }

    /// Names and values of a list, and how many more there are: `a=1 b=2 +3`.
    async fn shows(&self, query: &str) -> String {
        let (code, list) = self.list(query).await;
        assert_eq!(code, 200, "{query}: {list}");
        shown(&list)
    }

    /// Has the store forget everything before now.
    async fn compact(&self) {
        self.store.compact(self.store.revision().await.unwrap()).await.unwrap();
    }
}

fn shown(list: &Value) -> String {
    let one = |map: &Value| {
        format!("{}={}", map["metadata"]["name"].as_str().unwrap(), map["data"]["k"].as_str().unwrap_or_default())
    };
    let mut words: Vec<String> = list["items"].as_array().unwrap().iter().map(one).collect();
    words.retain(|word| !word.starts_with("kube-root-ca"));
    words.extend(list["metadata"]["remainingItemCount"].as_u64().map(|more| format!("+{more}")));
    words.extend(list["metadata"]["continue"].as_str().map(|_| "...".to_owned()));
    words.join(" ")
}

fn token(list: &Value) -> &str {
    list["metadata"]["continue"].as_str().unwrap()
}

#[tokio::test]
async fn a_list_at_a_revision_shows_what_was_there_then() {
    let server = Compactable::start().await;
    let first = server.put("a", "1").await;
    let second = server.put("b", "1").await;
    let third = server.put("a", "2").await;
    for (query, want) in [
        (String::new(), "a=2 b=1"),
        ("resourceVersion=0&limit=1".to_owned(), "a=2 b=1"),
        ("limit=1".to_owned(), "a=2 +1 ..."),
        (format!("resourceVersion={first}&resourceVersionMatch=Exact"), "a=1"),
        (format!("resourceVersion={second}&resourceVersionMatch=Exact"), "a=1 b=1"),
        (format!("resourceVersion={third}&resourceVersionMatch=Exact"), "a=2 b=1"),
        (format!("resourceVersion={second}&limit=1"), "a=1 +1 ..."),
        (format!("resourceVersion={second}"), "a=2 b=1"),
        (format!("resourceVersion={second}&resourceVersionMatch=NotOlderThan&limit=1"), "a=2 +1 ..."),
        // How many follow is only known where nothing is selected.
        (format!("resourceVersion={second}&limit=1&labelSelector=v%3D1"), "a=1 ..."),
        (format!("resourceVersion={third}&resourceVersionMatch=Exact&labelSelector=v%3D1"), "b=1"),
        (format!("resourceVersion={second}&resourceVersionMatch=Exact&fieldSelector=metadata.name%3Db"), "b=1"),
    ] {
        assert_eq!(server.shows(&query).await, want, "{query}");
    }
    let (_, list) = server.list(&format!("resourceVersion={second}&resourceVersionMatch=Exact")).await;
    assert_eq!(list["metadata"]["resourceVersion"], second.to_string());
}

#[tokio::test]
async fn pages_show_the_revision_of_the_first() {
    let server = Compactable::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        server.put(name, "1").await;
    }
    let (_, first) = server.list("limit=2").await;
    assert_eq!(shown(&first), "a=1 b=1 +3 ...");
    let (_, untouched) = server.list(&format!("limit=2&continue={}", token(&first))).await;
    assert_eq!(shown(&untouched), "c=1 d=1 +1 ...");
    server.put("d", "2").await;
    server.put("cc", "1").await;
    let (_, second) = server.list(&format!("limit=2&continue={}", token(&first))).await;
    assert_eq!(second, untouched);
    let (_, last) = server.list(&format!("limit=2&continue={}", token(&second))).await;
    assert_eq!(shown(&last), "e=1");
    assert_eq!(last["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn few_selected_of_many_are_found_in_pages_too() {
    let server = Compactable::start().await;
    for number in 0..40 {
        server.put(&format!("m{number:02}"), if number % 13 == 0 { "wanted" } else { "other" }).await;
    }
    let (_, first) = server.list("limit=1&labelSelector=v%3Dwanted").await;
    assert_eq!(shown(&first), "m00=wanted ...");
    server.put("z", "wanted").await; // From now on the pages come from the store.
    let (mut page, mut seen) = (first, Vec::new());
    while let Some(token) = page["metadata"]["continue"].as_str() {
        page = server.list(&format!("limit=1&labelSelector=v%3Dwanted&continue={token}")).await.1;
        seen.extend(page["items"].as_array().unwrap().iter().map(|map| map["metadata"]["name"].clone()));
    }
    assert_eq!(seen, ["m13", "m26", "m39"]);
}

#[tokio::test]
async fn a_list_that_is_compacted_away_can_be_finished_at_another_revision() {
    let server = Compactable::start().await;
    for name in ["a", "b", "c"] {
        server.put(name, "1").await;
    }
    let (_, first) = server.list("limit=1").await;
    let old = server.put("b", "2").await;
    server.put("c", "2").await;
    server.compact().await;

    let (code, refused) = server.list(&format!("limit=1&continue={}", token(&first))).await;
    assert_eq!((code, refused["reason"].as_str()), (410, Some("Expired")), "{refused}");
    assert!(refused["message"].as_str().unwrap().starts_with("The provided continue parameter is too old"));
    let (_, rest) = server.list(&format!("limit=1&continue={}", token(&refused))).await;
    assert_eq!(shown(&rest), "b=2 +1 ...");
    let (_, last) = server.list(&format!("continue={}", token(&rest))).await;
    assert_eq!(shown(&last), "c=2");

    let (code, refused) = server.list(&format!("resourceVersion={old}&resourceVersionMatch=Exact")).await;
    assert_eq!(code, 410);
    assert_eq!(refused["message"], "The resourceVersion for the provided list is too old.");
    assert!(refused["metadata"]["continue"].is_null());
}

#[tokio::test]
async fn a_list_expires_though_nothing_in_it_has_changed() {
    let server = Compactable::start().await;
    for name in ["a", "b"] {
        server.put(name, "1").await;
    }
    let (_, first) = server.list("limit=1").await;
    let elsewhere = r#"{"metadata":{"name":"elsewhere"}}"#;
    let (code, _) = server.cluster.admin("POST", "/api/v1/namespaces/default/secrets", elsewhere).await;
    assert_eq!(code, 201);
    let (_, second) = server.list(&format!("limit=1&continue={}", token(&first))).await;
    assert_eq!(shown(&second), "b=1");
    server.compact().await;
    let (code, refused) = server.list(&format!("limit=1&continue={}", token(&first))).await;
    assert_eq!(code, 410, "{refused}");
    let (_, rest) = server.list(&format!("limit=1&continue={}", token(&refused))).await;
    assert_eq!(shown(&rest), "b=1");
}

#[tokio::test]
async fn revisions_that_are_yet_to_come() {
    let server = Compactable::start().await;
    let now = server.put("a", "1").await;
    for path in [MAPS.to_owned(), format!("{MAPS}/a")] {
        let (code, refused) = server.cluster.admin("GET", &format!("{path}?resourceVersion=1000000"), "").await;
        assert_eq!((code, refused["reason"].as_str()), (504, Some("Timeout")));
        assert!(refused["message"].as_str().unwrap().starts_with("Too large resource version: 1000000, current: "));
        assert_eq!(refused["details"]["retryAfterSeconds"], 1);
        let cause = json!({ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" });
        assert_eq!(refused["details"]["causes"], json!([cause]));
    }
    let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=1000000";
    Events::open(&server.cluster, initial).await.expect(&["ERROR Timeout", "end"]).await;
    // A plain watch waits for its revision in silence.
    Events::open(&server.cluster, &format!("resourceVersion={}", now + 1_000_000)).await;
}

#[tokio::test]
async fn watches_begin_where_they_are_told_to() {
    let server = Compactable::start().await;
    let first = server.put("a", "1").await;
    server.put("a", "2").await;
    let quiet = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
    let mut next = Events::open(&server.cluster, quiet).await;
    let mut any = Events::open(&server.cluster, &format!("{quiet}&resourceVersion=0")).await;
    let mut after = Events::open(&server.cluster, &format!("{quiet}&resourceVersion={first}")).await;
    let mut state = Events::open(&server.cluster, "resourceVersion=0&fieldSelector=metadata.name%3Da").await;
    server.put("a", "3").await;
    next.expect(&["MODIFIED a"]).await;
    any.expect(&["MODIFIED a"]).await;
    after.expect(&["MODIFIED a", "MODIFIED a"]).await;
    state.expect(&["ADDED a", "MODIFIED a"]).await;
}

#[tokio::test]
async fn bookmarks_tell_how_far_a_watch_has_got() {
    let server = Compactable::start().await;
    let start = server.put("a", "1").await;
    let query = format!("resourceVersion={start}&allowWatchBookmarks=true&labelSelector=v%3Dnone");
    let mut events = Events::open(&server.cluster, &query).await;
    let seen = server.put("a", "2").await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    let object = &bookmark["object"];
    assert_eq!((object["kind"].as_str(), object["apiVersion"].as_str()), (Some("ConfigMap"), Some("v1")));
    let revision: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(revision >= seen);
}
