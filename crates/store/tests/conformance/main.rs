//! What every engine behind [`Store`] must do. The tests are generic: an engine is one call of [`conformance`].
//!
//! They assume nothing about where revisions begin or whether they leave gaps, and keep to keys of their own, so that
//! they also run against a server that others use.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/etcd_server.rs"]
mod etcd_server;
mod reads;
mod watches;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use sampan_store::embedded::{Embedded, Options};
use sampan_store::etcd::{self, Etcd};
use sampan_store::{Entry, Error, Event, Outcome, Revision, Span, Store, Write};

use self::etcd_server::EtcdServer;

/// Runs everything against a store. Each part keeps to keys under a prefix of its own.
async fn conformance(store: impl Store) {
    let store = Arc::new(store);
    writes::all(&*store).await;
    reads::all(&*store).await;
    watches::all(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_engine_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conformance(Embedded::open(Options { dir: dir.path().join("data") }).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_etcd_engine_conforms() {
    let server = EtcdServer::start().await;
    let location = format!("etcd://{}/a/prefix", server.address).parse().unwrap();
    conformance(Etcd::connect(etcd::Options { location, tls: None }).await.unwrap()).await;
}

fn key(key: &str) -> Bytes {
    Bytes::copy_from_slice(key.as_bytes())
}

async fn create(store: &impl Store, name: &str, value: &str) -> Revision {
    done(store.write(Write::Create { key: key(name), value: key(value) }).await)
}

async fn update(store: &impl Store, name: &str, value: &str, expected: Revision) -> Revision {
    done(store.write(Write::Update { key: key(name), value: key(value), expected }).await)
}

async fn delete(store: &impl Store, name: &str, expected: Revision) -> Revision {
    done(store.write(Write::Delete { key: key(name), expected }).await)
}

#[track_caller]
fn done(outcome: Result<Outcome, Error>) -> Revision {
    match outcome.unwrap() {
        Outcome::Done(revision) => revision,
        Outcome::Unmet(current) => panic!("the condition did not hold: {current:?}"),
    }
}

fn entry(name: &str, value: &str, created: Revision, modified: Revision) -> Entry {
    Entry { key: key(name), value: key(value), created, modified }
}

/// A watch as tests read it.
struct Watch(BoxStream<'static, Result<Event, Error>>);

/// Longer than any engine takes for one event, on any machine that runs tests.
const PATIENCE: Duration = Duration::from_secs(20);

impl Watch {
    async fn new(store: &impl Store, prefix: &str, after: Revision) -> Self {
        Self(store.watch(&Span::prefix(prefix.as_bytes()), after).await.unwrap())
    }

    async fn any(&mut self) -> Option<Result<Event, Error>> {
        tokio::time::timeout(PATIENCE, self.0.next()).await.expect("an event in time")
    }

    /// The next event that is not progress.
    async fn next(&mut self) -> Event {
        loop {
            match self.any().await.expect("the watch goes on").unwrap() {
                Event::Progress { .. } => {}
                event => return event,
            }
        }
    }

    async fn put(&mut self) -> Entry {
        match self.next().await {
            Event::Put { entry } => entry,
            other => panic!("expected a put, got {other:?}"),
        }
    }

    async fn deleted(&mut self) -> (Bytes, Revision) {
        match self.next().await {
            Event::Delete { key, revision } => (key, revision),
            other => panic!("expected a deletion, got {other:?}"),
        }
    }

    /// Waits until the watch says it is complete up to `revision`, and panics if anything else comes before.
    async fn quiet_until(&mut self, revision: Revision) {
        loop {
            match self.any().await.expect("the watch goes on").unwrap() {
                Event::Progress { revision: complete } if complete >= revision => return,
                Event::Progress { .. } => {}
                other => panic!("expected nothing, got {other:?}"),
            }
        }
    }
}
