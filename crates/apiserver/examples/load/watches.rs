//! Many watchers of one busy resource: how many events reach them, and what a watch takes of the server's memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::connection::{Connection, Protocol, Target};
use crate::server::Server;
use crate::steps::{call, rate};
use crate::{Error, print};

const WATCHES: usize = 1_000;
/// As many as a server lets one connection have.
const PER_CONNECTION: usize = 100;
/// Changes that everyone is told of.
const CHANGES: usize = 200;
/// Changes that nobody is told of.
const UNSEEN: usize = 1_000;
/// How long the last event may take.
const PATIENCE: Duration = Duration::from_secs(60);
const MAPS: &str = "/api/v1/namespaces/load/configmaps";

pub(crate) async fn measure(target: &Target, server: Server) -> Result<(), Error> {
    let mut writer = Connection::open(target, Protocol::Http1).await?;
    for name in ["busy", "unseen"] {
        let map = json!({ "metadata": { "name": name }, "data": { "value": "x".repeat(1_000) } });
        writer.exchange(call(Method::POST, MAPS.into(), "application/json", &map)).await?;
    }
    let mut connections = Vec::new();
    for _ in 0..WATCHES / PER_CONNECTION {
        let mut connection = Connection::open(target, Protocol::Http2).await?;
        connection.exchange(call(Method::GET, "/version".into(), "application/json", &Value::Null)).await?;
        connections.push(connection);
    }
    let before = server.settled_memory_bytes().await?;
    let told = Arc::new(AtomicUsize::new(0));
    let mut watches = JoinSet::new();
    for connection in &mut connections {
        for _ in 0..PER_CONNECTION {
            let path =
                format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Dbusy&resourceVersion=0&timeoutSeconds=300");
            let answer = connection.send(call(Method::GET, path, "application/json", &Value::Null)).await?;
            watches.spawn(count(answer.into_body(), told.clone()));
        }
    }
    reached(&told, WATCHES).await?;
    let bytes_per_watch = server.settled_memory_bytes().await?.saturating_sub(before) / WATCHES as u64;
    told.store(0, Ordering::Relaxed);
    let (start, cpu) = (Instant::now(), server.cpu()?);
    change(&mut writer, "busy", CHANGES).await?;
    reached(&told, WATCHES * CHANGES).await?;
    let (wall, cpu) = (start.elapsed(), server.cpu()? - cpu);
    let (events_per_s, events_per_core_s) = (rate(WATCHES * CHANGES, wall), rate(WATCHES * CHANGES, cpu));
    let beside = unseen(&mut writer, server).await?;
    // What is measured next has no watchers.
    watches.shutdown().await;
    let alone = unseen(&mut writer, server).await?;
    let figures = json!({
        "events_per_s": events_per_s, "events_per_core_s": events_per_core_s, "bytes_per_watch": bytes_per_watch,
        "unseen_beside_us": beside.as_micros(), "unseen_alone_us": alone.as_micros(),
    });
    print("watches", figures);
    Ok(())
}

/// The server's processor time for a change of what nobody watches.
async fn unseen(writer: &mut Connection, server: Server) -> Result<Duration, Error> {
    let before = server.cpu()?;
    change(writer, "unseen", UNSEEN).await?;
    Ok((server.cpu()? - before) / UNSEEN as u32)
}

async fn change(writer: &mut Connection, name: &str, count: usize) -> Result<(), Error> {
    for n in 0..count {
        let patch = json!({ "data": { "n": n.to_string() } });
        writer.exchange(call(Method::PATCH, format!("{MAPS}/{name}"), "application/merge-patch+json", &patch)).await?;
    }
    Ok(())
}

/// Counts the events of a watch: each is a line.
async fn count(mut body: Incoming, told: Arc<AtomicUsize>) {
    while let Some(Ok(frame)) = body.frame().await {
        let lines = frame.data_ref().map_or(0, |data| data.iter().filter(|byte| **byte == b'\n').count());
        told.fetch_add(lines, Ordering::Relaxed);
    }
}

async fn reached(told: &AtomicUsize, count: usize) -> Result<(), Error> {
    let until = Instant::now() + PATIENCE;
    while told.load(Ordering::Relaxed) < count {
        if Instant::now() > until {
            return Err(format!("only {} of {count} events came", told.load(Ordering::Relaxed)).into());
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
