//! Requests that are answered at once: reads and writes of one object, and lists.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::connection::{Call, Connection, Protocol, Target};
use crate::server::Server;
use crate::{Error, print};

pub(crate) const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const MAPS: &str = "/api/v1/namespaces/load/configmaps";
/// Connections that ask at the same time.
const CONNECTIONS: usize = 32;
/// How long each kind of request is made.
const LENGTH: Duration = Duration::from_secs(3);
/// How often a list is read.
const LISTS: usize = 5;

/// Makes the nth request.
type Step = Arc<dyn Fn(usize) -> Call + Send + Sync>;

pub(crate) fn call(method: Method, path: String, media_type: &'static str, body: &Value) -> Call {
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    Call { method, path, media_type, body }
}

pub(crate) async fn make_namespace(target: &Target, name: &str) -> Result<(), Error> {
    let mut connection = Connection::open(target, Protocol::Http1).await?;
    let namespace = json!({ "metadata": { "name": name } });
    connection.exchange(call(Method::POST, "/api/v1/namespaces".into(), JSON, &namespace)).await?;
    let account = json!({ "metadata": { "name": "default" } });
    let path = format!("/api/v1/namespaces/{name}/serviceaccounts");
    connection.exchange(call(Method::POST, path, JSON, &account)).await?;
    Ok(())
}

fn map(name: &str, bytes: usize) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "value": "x".repeat(bytes) } })
}

/// Each kind of request, for a while.
pub(crate) async fn requests(target: &Target, server: Server, protocol: Protocol) -> Result<(), Error> {
    let maps = MAPS;
    let own = move |n: usize| format!("{}-{}", protocol.name().replace(['/', '.'], "-"), n % 500);
    let steps: [(&str, Step); 5] = [
        ("create", create(protocol)),
        ("get", Arc::new(move |n| call(Method::GET, format!("{maps}/{}", own(n)), JSON, &Value::Null))),
        (
            "update",
            Arc::new(move |n| {
                let mut map = map(&own(n), 1_000);
                map["data"]["n"] = n.to_string().into();
                call(Method::PUT, format!("{maps}/{}", own(n)), JSON, &map)
            }),
        ),
        (
            "patch",
            Arc::new(move |n| {
                call(Method::PATCH, format!("{maps}/{}", own(n)), MERGE, &json!({ "data": { "n": n.to_string() } }))
            }),
        ),
        (
            "apply",
            Arc::new(move |n| {
                let path = format!("{maps}/{}?fieldManager=load&force=true", own(n));
                let mut map = map(&own(n), 1_000);
                map["data"]["a"] = n.to_string().into();
                call(Method::PATCH, path, APPLY, &map)
            }),
        ),
    ];
    for (what, step) in steps {
        let figures = many(target, server, (protocol, LENGTH), step).await?;
        print(&format!("{what} {}", protocol.name()), figures);
    }
    Ok(())
}

/// Creates alone, for comparison with what the store does by itself.
pub(crate) async fn creates(target: &Target, server: Server) -> Result<(), Error> {
    let figures = many(target, server, (Protocol::Http1, LENGTH), create(Protocol::Http1)).await?;
    print("creates", figures);
    Ok(())
}

fn create(protocol: Protocol) -> Step {
    Arc::new(move |n| {
        let name = format!("{}-{n}", protocol.name().replace(['/', '.'], "-"));
        call(Method::POST, MAPS.into(), JSON, &map(&name, 1_000))
    })
}

/// Makes requests over several connections for a while; how many there were and how long they took.
async fn many(
    target: &Target,
    server: Server,
    (protocol, length): (Protocol, Duration),
    step: Step,
) -> Result<Value, Error> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(target, protocol).await?);
    }
    let (start, before) = (Instant::now(), server.cpu()?);
    let tasks = connections.into_iter().map(|mut connection| {
        let (step, next) = (step.clone(), next.clone());
        tokio::spawn(async move {
            let mut times = Vec::new();
            while start.elapsed() < length {
                let call = step(next.fetch_add(1, Ordering::Relaxed));
                let sent = Instant::now();
                connection.exchange(call).await?;
                times.push(sent.elapsed());
            }
            Ok::<_, Error>(times)
        })
    });
    let mut times = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        times.extend(task.await??);
    }
    let (wall, cpu) = (start.elapsed(), server.cpu()? - before);
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_micros();
    Ok(json!({
        "per_s": rate(times.len(), wall), "per_core_s": rate(times.len(), cpu), "p50_us": at(50), "p99_us": at(99),
    }))
}

/// How many per second. The kernel counts processor time in hundredths: less than one is not known better.
pub(crate) fn rate(count: usize, time: Duration) -> u64 {
    (count as f64 / time.as_secs_f64().max(0.01)) as u64
}

/// Fills a namespace and lists it.
pub(crate) async fn list(
    target: &Target,
    server: Server,
    namespace: &str,
    (count, bytes): (usize, usize),
) -> Result<(), Error> {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps");
    fill(target, count, |n| call(Method::POST, path.clone(), JSON, &map(&format!("m{n:05}"), bytes))).await?;
    let mut connection = Connection::open(target, Protocol::Http1).await?;
    let (mut first, mut all, mut length) = (Vec::new(), Vec::new(), 0);
    let before = server.cpu()?;
    for _ in 0..LISTS {
        let start = Instant::now();
        let mut body = connection.send(call(Method::GET, path.clone(), JSON, &Value::Null)).await?.into_body();
        length = 0;
        while let Some(frame) = body.frame().await {
            if length == 0 {
                first.push(start.elapsed());
            }
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        all.push(start.elapsed());
    }
    let cpu = server.cpu()? - before;
    let middle = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[LISTS / 2].as_micros() as f64 / 1_000.0
    };
    let figures = json!({
        "bytes": length, "first_byte_ms": middle(first), "all_ms": middle(all),
        "mb_per_core_s": rate(length * LISTS / 1_000_000, cpu),
    });
    print(&format!("list of {count} of {bytes} bytes"), figures);
    Ok(())
}

pub(crate) async fn fill(target: &Target, count: usize, make: impl Fn(usize) -> Call) -> Result<(), Error> {
    let mut tasks = Vec::new();
    for first in 0..CONNECTIONS {
        let mut connection = Connection::open(target, Protocol::Http1).await?;
        let calls: Vec<Call> = (first..count).step_by(CONNECTIONS).map(&make).collect();
        tasks.push(tokio::spawn(async move {
            for call in calls {
                connection.exchange(call).await?;
            }
            Ok::<_, Error>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}
