//! The end of a server: nothing that it took is lost, and nothing that it did remains untold.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;

use crate::https::{Door, Site};
use crate::support::{Cluster, in_process, open_store};

const ROOT: (&str, &str) = ("root", "system:masters");
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Connections that write, and writes under way on each that speaks HTTP/2.
const CONNECTIONS: usize = 4;
const STREAMS: usize = 8;
/// So many writes are answered before the server is told to stop.
const BEFORE: usize = 40;
const PATIENCE: Duration = Duration::from_secs(60);

/// What the clients know.
#[derive(Default)]
struct Told {
    names: parking_lot::Mutex<BTreeSet<String>>,
    count: AtomicUsize,
    stopped: AtomicBool,
}

impl Told {
    fn created(&self, name: String) {
        self.names.lock().insert(name);
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

fn create(host: &str, name: &str) -> Request<Body> {
    let body = json!({ "metadata": { "name": name } }).to_string();
    let uri = format!("{host}{MAPS}");
    let request = Request::post(uri).header("host", "localhost").header("content-type", "application/json");
    request.body(Body::from(body)).unwrap()
}

/// Writes over one HTTP/1.1 connection, one after the other, until the server says that it was the last.
async fn one_by_one(door: &Door, worker: usize, told: &Told) {
    let stream = door.connect(ROOT, "http/1.1").await;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for number in 0.. {
        let name = format!("one-{worker}-{number}");
        if sender.ready().await.is_err() {
            break;
        }
        // An idle connection may be closed at the very moment when a request is sent: HTTP/1.1 cannot do better.
        let Ok(response) = sender.send_request(create("", &name)).await else { break };
        assert_eq!(response.status(), 201);
        let closing = response.headers().get("connection").is_some_and(|value| value == "close");
        assert!(!closing || told.stopped.load(Ordering::Acquire));
        response.into_body().collect().await.expect("a whole answer");
        told.created(name);
        if closing {
            break;
        }
    }
}

/// Writes over one HTTP/2 connection, several at a time, until the server has said GOAWAY.
async fn at_once(door: &Door, worker: usize, told: &Arc<Told>) {
    let stream = door.connect(ROOT, "h2").await;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let streams = (0..STREAMS).map(|stream| {
        let (mut sender, told) = (sender.clone(), Arc::clone(told));
        async move {
            for number in 0.. {
                let name = format!("two-{worker}-{stream}-{number}");
                if sender.ready().await.is_err() {
                    break;
                }
                let Ok(response) = sender.send_request(create("https://localhost", &name)).await else {
                    assert!(told.stopped.load(Ordering::Acquire), "nothing fails before the stop");
                    break;
                };
                assert_eq!(response.status(), 201);
                response.into_body().collect().await.expect("a whole answer");
                told.created(name);
            }
        }
    });
    futures::future::join_all(streams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_during_a_shutdown_are_all_answered() {
    let (store, _dir) = open_store().await;
    let site = Site::on(Arc::clone(&store)).await;
    let told = Arc::new(Told::default());
    let mut writers = tokio::task::JoinSet::new();
    for worker in 0..CONNECTIONS {
        let (one, two) = ((Arc::clone(&site.door), Arc::clone(&told)), (Arc::clone(&site.door), Arc::clone(&told)));
        writers.spawn(async move { one_by_one(&one.0, worker, &one.1).await });
        writers.spawn(async move { at_once(&two.0, worker, &two.1).await });
    }
    let busy = async {
        while told.count.load(Ordering::Relaxed) < BEFORE {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, busy).await.expect("writes");
    told.stopped.store(true, Ordering::Release);
    tokio::time::timeout(PATIENCE, site.cluster.handle.shutdown()).await.expect("an end");
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    let after = Cluster::on(store).await;
    let (_, list) = after.admin("GET", MAPS, "").await;
    let names =
        list["items"].as_array().unwrap().iter().map(|map| map["metadata"]["name"].as_str().unwrap().to_owned());
    let stored: BTreeSet<String> = names.filter(|name| name.starts_with("one-") || name.starts_with("two-")).collect();
    let told = told.names.lock().clone();
    assert_eq!(told.difference(&stored).count(), 0, "acknowledged means durable");
    let untold: Vec<_> = stored.difference(&told).collect();
    assert!(untold.is_empty(), "done, but not answered: {untold:?}");
    after.handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_says_so_and_finishes_what_it_has_begun() {
    let site = Site::open().await;
    let (_, list) = site.cluster.admin("GET", MAPS, "").await;
    let now: u64 = list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    // It waits for a revision that does not come, for three seconds, and is told so.
    let path = format!("{MAPS}?resourceVersion={}", now + 1_000_000);
    let slow = tokio::spawn({
        let door = Arc::clone(&site.door);
        async move { door.get(Some(ROOT), &path).await.status().as_u16() }
    });
    let service = site.cluster.handle.service();
    let ask = |path: &str| {
        let request = Request::get(path).extension(in_process("admin")).body(Body::empty()).unwrap();
        let service = service.clone();
        async move {
            let response = tower::ServiceExt::oneshot(service, request).await.unwrap();
            let code = response.status().as_u16();
            (code, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
        }
    };
    let under_way =
        "apiserver_flowcontrol_current_executing_requests{flow_schema=\"exempt\",priority_level=\"exempt\"} 2";
    let begun = async {
        // The other one is this very question.
        while !ask("/metrics").await.1.contains(under_way) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("the slow request runs");
    let (door, stopping) = (Arc::clone(&site.door), tokio::spawn(site.cluster.handle.shutdown()));
    let unready = async {
        loop {
            let (code, text) = ask("/readyz").await;
            if code == 500 {
                return text;
            }
            tokio::task::yield_now().await;
        }
    };
    let text = tokio::time::timeout(PATIENCE, unready).await.expect("not ready");
    assert!(text.contains("[-]shutdown failed: reason withheld\n"), "{text}");
    assert_eq!(ask("/livez").await.0, 200, "it lives until it has ended");
    assert_eq!(slow.await.unwrap(), 504, "an answer, not an end");
    tokio::time::timeout(PATIENCE, stopping).await.expect("an end").unwrap();
    assert!(tokio::net::TcpStream::connect(door.address).await.is_err(), "nobody listens any more");
}
