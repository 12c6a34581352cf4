//! Several API servers on one etcd: each sees what the others write, at once, and none overwrites another.

use std::sync::Arc;

use sampan_store::etcd::Etcd;
use serde_json::json;

use crate::support::{Cluster, etcd_prefix};
use crate::watch::Events;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn two() -> [Cluster; 2] {
    let options = etcd_prefix().await;
    let connect = || async { Arc::new(Etcd::connect(options.clone()).await.unwrap()) };
    // Both at once: they make the same objects, and neither minds.
    let start = || async { Cluster::on(connect().await).await };
    <[Cluster; 2]>::from(futures::join!(start(), start()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_through_one_is_read_through_the_other() {
    let [a, b] = two().await;
    for n in 0..20 {
        let (writer, reader) = if n % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let map = json!({ "metadata": { "name": format!("m{n}") } }).to_string();
        assert_eq!(writer.admin("POST", MAPS, &map).await.0, 201);
        let (code, seen) = reader.admin("GET", &format!("{MAPS}/m{n}"), "").await;
        assert_eq!(code, 200, "{seen}");
        let (_, list) = reader.admin("GET", MAPS, "").await;
        let names = list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap());
        assert_eq!(names.filter(|name| name.starts_with('m')).count(), n + 1);
    }
    for path in ["m3", "m4"] {
        assert_eq!(a.admin("DELETE", &format!("{MAPS}/{path}"), "").await.0, 200);
        assert_eq!(b.admin("GET", &format!("{MAPS}/{path}"), "").await.0, 404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_of_one_tells_of_writes_through_the_other() {
    let [a, b] = two().await;
    let (_, list) = a.admin("GET", MAPS, "").await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = Events::open(&a, &format!("resourceVersion={version}")).await;
    for name in ["x", "y"] {
        b.admin("POST", MAPS, &json!({ "metadata": { "name": name } }).to_string()).await;
    }
    b.merge(&format!("{MAPS}/x"), r#"{"data":{"k":"v"}}"#).await;
    a.admin("DELETE", &format!("{MAPS}/y"), "").await;
    events.expect(&["ADDED x", "ADDED y", "MODIFIED x", "DELETED y"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_through_both_conflict_as_through_one() {
    let [a, b] = two().await;
    let path = format!("{MAPS}/shared");
    let (_, made) = a.admin("POST", MAPS, &json!({ "metadata": { "name": "shared" } }).to_string()).await;
    assert_eq!(b.admin("POST", MAPS, &json!({ "metadata": { "name": "shared" } }).to_string()).await.0, 409);
    let stale = made.to_string();
    let (code, _) = b.merge(&path, r#"{"data":{"by":"b"}}"#).await;
    assert_eq!(code, 200);
    let (code, refused) = a.admin("PUT", &path, &stale).await;
    assert_eq!((code, refused["reason"].as_str()), (409, Some("Conflict")));
    // Patches without a version meet, and all of them count.
    let patches = (0..20).map(|n| {
        let (through, path) = (if n % 2 == 0 { &a } else { &b }, &path);
        async move { through.merge(path, &json!({ "data": { format!("k{n}"): "v" } }).to_string()).await.0 }
    });
    assert!(futures::future::join_all(patches).await.iter().all(|code| *code == 200));
    let (_, now) = a.admin("GET", &path, "").await;
    assert_eq!(now["data"].as_object().unwrap().len(), 21);
}
