//! The etcd engine on a real etcd: what the conformance suite, which other engines pass too, does not ask.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/etcd_server.rs"]
mod etcd_server;
mod tls;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use sampan_store::etcd::{Etcd, Options};
use sampan_store::{Error, Event, Outcome, Revision, Span, Store, Write};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::etcd_server::EtcdServer;
use self::wire::Wire;

async fn connect(address: &str, prefix: &str) -> Etcd {
    let location = format!("etcd://{address}{prefix}").parse().unwrap();
    Etcd::connect(Options { location, tls: None }).await.unwrap()
}

async fn create(store: &Etcd, key: &str, value: impl Into<Bytes>) -> Revision {
    let write = Write::Create { key: Bytes::copy_from_slice(key.as_bytes()), value: value.into() };
    match store.write(write).await.unwrap() {
        Outcome::Done(revision) => revision,
        Outcome::Unmet(current) => panic!("{key} exists: {current:?}"),
    }
}

/// The revisions of the next `count` changes.
async fn changes(
    watch: &mut (impl futures::Stream<Item = Result<Event, Error>> + Unpin),
    count: usize,
) -> Vec<Revision> {
    let mut revisions = Vec::new();
    while revisions.len() < count {
        match watch.next().await.unwrap().unwrap() {
            Event::Progress { .. } => {}
            event => revisions.push(event.revision()),
        }
    }
    revisions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_connection_neither_loses_nor_repeats_events() {
    let server = EtcdServer::start().await;
    let wire = Wire::to(&server.address).await;
    let (writer, watcher) = (connect(&server.address, "/a").await, connect(&wire.address, "/a").await);
    let mut watch = watcher.watch(&Span::prefix(b"key/"), 1).await.unwrap();
    let mut written = Vec::new();
    for n in 0..200 {
        written.push(create(&writer, &format!("key/{n}"), vec![b'x'; 5_000]).await);
        if n % 20 == 7 {
            wire.cut();
        }
    }
    assert_eq!(changes(&mut watch, 200).await, written);
    wire.cut();
    let last = create(&writer, "key/last", "").await;
    assert_eq!(changes(&mut watch, 1).await, [last]);
}

/// As `etcdctl del --prefix ''` does: in one transaction.
async fn delete_everything(address: &str) {
    let body = r#"{"key": "AA==", "range_end": "AA=="}"#;
    let head = format!("POST /v3/kv/deleterange HTTP/1.0\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("\"deleted\":"), "{answer}");
}

#[tokio::test]
async fn what_somebody_else_changes_at_once_is_not_lost_silently() {
    let server = EtcdServer::start().await;
    let store = connect(&server.address, "/a").await;
    create(&store, "key/1", "1").await;
    let last = create(&store, "key/2", "2").await;
    let mut watch = store.watch(&Span::prefix(b"key/"), last).await.unwrap();
    delete_everything(&server.address).await;
    let end = loop {
        if let Err(error) = watch.next().await.unwrap() {
            break error;
        }
    };
    assert!(matches!(end, Error::Several { revision } if revision == last + 1), "{end}");
    assert!(store.range(&Span::prefix(b"key/"), None, None).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn calls_go_on_after_the_connection_broke_and_to_the_next_endpoint() {
    let server = EtcdServer::start().await;
    let wire = Wire::to(&server.address).await;
    // Nobody listens on the first.
    let location = format!("etcd://127.0.0.1:1,{}/a", wire.address).parse().unwrap();
    let store = Etcd::connect(Options { location, tls: None }).await.unwrap();
    for n in 0..10 {
        let revision = create(&store, &format!("key/{n}"), "1").await;
        wire.cut();
        assert_eq!(store.get(format!("key/{n}").as_bytes(), None).await.unwrap().unwrap().modified, revision);
    }
}

#[tokio::test]
async fn a_watch_keeps_up_with_revisions_of_others() {
    let server = EtcdServer::start().await;
    let (ours, theirs) = (connect(&server.address, "/a").await, connect(&server.address, "/b").await);
    let first = create(&ours, "key", "1").await;
    let mut watch = ours.watch(&Span::prefix(b""), first).await.unwrap();
    for n in 0..3 {
        let foreign = create(&theirs, &format!("key/{n}"), "1").await;
        let newest = ours.revision().await.unwrap();
        assert!(newest >= foreign);
        loop {
            match watch.next().await.unwrap().unwrap() {
                Event::Progress { revision } if revision >= newest => break,
                Event::Progress { .. } => {}
                other => panic!("nobody wrote there: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn prefixes_keep_stores_apart() {
    let server = EtcdServer::start().await;
    let (ours, theirs) = (connect(&server.address, "/a").await, connect(&server.address, "/ab").await);
    create(&ours, "/key", "1").await;
    create(&theirs, "/key", "2").await;
    for (store, value) in [(&ours, "1"), (&theirs, "2")] {
        let page = store.range(&Span::prefix(b"/"), None, None).await.unwrap();
        assert_eq!(page.entries.iter().map(|entry| &entry.value[..]).collect::<Vec<_>>(), [value.as_bytes()]);
    }
}

#[tokio::test]
async fn long_ranges_come_in_pages_and_show_one_revision() {
    let server = EtcdServer::start().await;
    let store = connect(&server.address, "/a").await;
    // More entries than one page has, and more bytes than gRPC lets through unless told otherwise.
    let store = &store;
    let creations = (0..2_300).map(|n| async move { create(store, &format!("key/{n:04}"), vec![b'x'; 3_000]).await });
    let creations: Vec<_> = futures::stream::iter(creations).buffer_unordered(64).collect().await;
    let page = store.range(&Span::prefix(b"key/"), None, None).await.unwrap();
    assert_eq!((page.entries.len(), page.remaining), (2_300, 0));
    assert!(page.entries.is_sorted_by(|a, b| a.key < b.key));
    let before = *creations.iter().max().unwrap();
    let page = store.range(&Span::prefix(b"key/"), Some(before - 100), Some(1_500)).await.unwrap();
    assert_eq!((page.entries.len(), page.remaining, page.revision), (1_500, 700, before - 100));
    let page = store.range(&Span::prefix(b"key/"), None, Some(0)).await.unwrap();
    assert_eq!((page.entries.len(), page.remaining), (0, 2_300));
}

#[tokio::test]
async fn what_etcd_does_not_take_is_refused() {
    let server = EtcdServer::start().await;
    let store = connect(&server.address, "/a").await;
    for bytes in [1_600_000, 4 << 20] {
        let refused = store.write(Write::Create { key: "key".into(), value: vec![b'x'; bytes].into() }).await;
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    }
    create(&store, "key", vec![b'x'; 1_500_000]).await;
}

#[tokio::test]
async fn an_etcd_that_comes_back_is_found_again() {
    let mut server = EtcdServer::start().await;
    let store = connect(&server.address, "/a").await;
    let first = create(&store, "key", "1").await;
    let mut watch = store.watch(&Span::prefix(b""), first).await.unwrap();
    server.restart().await;
    let write = || store.write(Write::Update { key: "key".into(), value: "2".into(), expected: first });
    let mut outcome = write().await;
    while outcome.is_err() {
        // Only what surely did not happen is tried again unasked.
        tokio::time::sleep(Duration::from_millis(20)).await;
        outcome = write().await;
    }
    let now = store.get(b"key", None).await.unwrap().unwrap();
    assert_eq!(now.value, "2");
    assert_eq!(changes(&mut watch, 1).await, [now.modified]);
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_reported() {
    tokio::time::pause();
    let location = "etcd://127.0.0.1:1".parse().unwrap();
    let Err(error) = Etcd::connect(Options { location, tls: None }).await else { panic!("nobody listens there") };
    assert!(matches!(error, Error::Remote { .. }), "{error}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}
