//! Prints how fast a cluster answers its clients, as lines of JSON. Reaches it like any client, by the kubeconfig in
//! `$KUBECONFIG`; works in namespaces of its own and deletes them again.
//!
//! - `api-bench pods IMAGE`: milliseconds from asking for a Pod until a watch tells that it is Running, one Pod after the
//!   other.
//! - `api-bench crowd IMAGE`: Pods per second from asking for many at once until all are Running; then, one after the other,
//!   milliseconds from asking for the end of a Pod that obeys TERM until a watch tells that it is gone. Between the two it
//!   prints `{"running":N}` and waits for a line on its standard input, so that others can look at the crowd.
//! - `api-bench logs IMAGE`: how many megabytes of a Pod's output per second reach its log.
//! - `api-bench objects`: ConfigMaps created per second over 64 connections, then milliseconds for the list of them all.

use std::collections::HashSet;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

type Error = Box<dyn std::error::Error + Send + Sync>;

const PODS: usize = 50;
const CROWD: usize = 100;
const LOG_MB: usize = 200;
const CONNECTIONS: usize = 64;
const CONFIG_MAPS: usize = 10_000;
const VALUE_BYTES: usize = 1_024;
const LISTS: usize = 5;
/// A Pod that takes longer is an error.
const POD_TIMEOUT: Duration = Duration::from_secs(120);
/// A watch of the API server ends after so many seconds at most.
const WATCH_SECONDS: u32 = 290;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let client = Client::try_default().await?;
    let namespace = format!("bench-{}", std::process::id());
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["pods", image] => {
            make_namespace(&client, &namespace).await?;
            pods(Api::namespaced(client.clone(), &namespace), image).await?;
        }
        ["crowd", image] => {
            make_namespace(&client, &namespace).await?;
            crowd(Api::namespaced(client.clone(), &namespace), image).await?;
        }
        ["logs", image] => {
            make_namespace(&client, &namespace).await?;
            logs(Api::namespaced(client.clone(), &namespace), image).await?;
        }
        ["objects"] => {
            make_namespace(&client, &namespace).await?;
            objects(&client, &namespace).await?;
        }
        _ => return Err("usage: api-bench pods|crowd|logs IMAGE | api-bench objects".into()),
    }
    Api::<Namespace>::all(client).delete(&namespace, &DeleteParams::default()).await?;
    Ok(())
}

/// Makes a namespace and waits for the service account without which no Pod can be made in it.
async fn make_namespace(client: &Client, name: &str) -> Result<(), Error> {
    let namespace = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), name);
    await_condition(accounts, "default", |account: Option<&ServiceAccount>| account.is_some()).await?;
    Ok(())
}

async fn pods(api: Api<Pod>, image: &str) -> Result<(), Error> {
    let mut events = watch(&api).await?;
    let mut times = Vec::new();
    for number in 0..PODS {
        let pod = pod(&format!("bench-{number}"), image, &["sleep", "3600"])?;
        let start = Instant::now();
        api.create(&PostParams::default(), &pod).await?;
        until(&mut events, |event| has_phase(event, &pod.name_any(), "Running")).await?;
        times.push(millis(start));
    }
    let [p50, p99] = percentiles(times);
    println!(r#"{{"pods":{PODS},"running_p50_ms":{p50:.1},"running_p99_ms":{p99:.1}}}"#);
    Ok(())
}

async fn crowd(api: Api<Pod>, image: &str) -> Result<(), Error> {
    // A shell that waits for its child hears TERM at once.
    let command = ["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"];
    let pods = (0..CROWD).map(|n| pod(&format!("bench-{n}"), image, &command)).collect::<Result<Vec<_>, _>>()?;
    let mut events = watch(&api).await?;
    let start = Instant::now();
    let post = PostParams::default();
    futures::future::try_join_all(pods.iter().map(|pod| api.create(&post, pod))).await?;
    let mut waiting: HashSet<String> = pods.iter().map(ResourceExt::name_any).collect();
    until(&mut events, |event| {
        waiting.retain(|name| !has_phase(event, name, "Running"));
        waiting.is_empty()
    })
    .await?;
    let pods_per_s = CROWD as f64 / start.elapsed().as_secs_f64();
    println!(r#"{{"running":{CROWD}}}"#);
    std::io::stdin().read_line(&mut String::new())?;
    let mut times = Vec::new();
    for pod in &pods {
        let start = Instant::now();
        api.delete(&pod.name_any(), &DeleteParams::default()).await?;
        until(&mut events, |event| matches!(event, WatchEvent::Deleted(gone) if gone.name_any() == pod.name_any()))
            .await?;
        times.push(millis(start));
    }
    let [p50, p99] = percentiles(times);
    println!(r#"{{"pods_per_s":{pods_per_s:.1},"gone_p50_ms":{p50:.1},"gone_p99_ms":{p99:.1}}}"#);
    Ok(())
}

async fn logs(api: Api<Pod>, image: &str) -> Result<(), Error> {
    let line = "x".repeat(99);
    let script = format!("yes {line} | head -c {}", LOG_MB * 1_000_000);
    let mut events = watch(&api).await?;
    let writer = pod("writer", image, &["sh", "-c", &script])?;
    api.create(&PostParams::default(), &writer).await?;
    until(&mut events, |event| has_phase(event, "writer", "Running")).await?;
    let start = Instant::now();
    until(&mut events, |event| has_phase(event, "writer", "Succeeded")).await?;
    println!(r#"{{"log_mb_per_s":{:.0}}}"#, LOG_MB as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

/// A Pod that obeys what it is told, and does not start again.
fn pod(name: &str, image: &str, command: &[&str]) -> serde_json::Result<Pod> {
    let container = json!({ "name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": command });
    let spec = json!({ "containers": [container], "restartPolicy": "Never" });
    serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec }))
}

type Events = BoxStream<'static, kube::Result<WatchEvent<Pod>>>;

async fn watch(api: &Api<Pod>) -> Result<Events, Error> {
    let version = api.list_metadata(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
    Ok(api.watch(&WatchParams::default().timeout(WATCH_SECONDS), &version).await?.boxed())
}

/// Reads `events` until one of them is what was waited for.
async fn until(events: &mut Events, mut is_it: impl FnMut(&WatchEvent<Pod>) -> bool) -> Result<(), Error> {
    let read = async {
        while let Some(event) = events.try_next().await? {
            if is_it(&event) {
                return Ok(());
            }
        }
        Err("the watch ended early".into())
    };
    tokio::time::timeout(POD_TIMEOUT, read).await?
}

fn has_phase(event: &WatchEvent<Pod>, name: &str, phase: &str) -> bool {
    matches!(event, WatchEvent::Modified(pod) if pod.name_any() == name
        && pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some(phase))
}

/// The 50th and the 99th percentile, by nearest rank.
fn percentiles(mut times: Vec<f64>) -> [f64; 2] {
    times.sort_by(f64::total_cmp);
    [50, 99].map(|percent| times[(times.len() * percent).div_ceil(100) - 1])
}

async fn objects(client: &Client, namespace: &str) -> Result<(), Error> {
    // A client keeps one idle connection and opens another only while that is busy, so each has one of its own.
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = Client::try_default().await?;
        client.apiserver_version().await?;
        clients.push(client);
    }
    let start = Instant::now();
    let mut tasks: JoinSet<_> = clients
        .into_iter()
        .enumerate()
        .map(|(number, client)| create(Api::namespaced(client, namespace), number))
        .collect();
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    let creates_per_s = CONFIG_MAPS as f64 / start.elapsed().as_secs_f64();
    let (list_ms, bytes) = list(client, namespace).await?;
    println!(
        r#"{{"config_maps":{CONFIG_MAPS},"connections":{CONNECTIONS},"creates_per_s":{creates_per_s:.0},"list_ms":{list_ms:.0},"list_bytes":{bytes}}}"#
    );
    Ok(())
}

/// Creates this connection's share of the ConfigMaps, one after the other.
async fn create(api: Api<ConfigMap>, connection: usize) -> kube::Result<()> {
    let data = [("value".to_owned(), "x".repeat(VALUE_BYTES))];
    for number in (connection..CONFIG_MAPS).step_by(CONNECTIONS) {
        let mut object = ConfigMap { data: Some(data.clone().into()), ..ConfigMap::default() };
        object.metadata.name = Some(format!("bench-{number}"));
        api.create(&PostParams::default(), &object).await?;
    }
    Ok(())
}

/// The median time of listing all ConfigMaps of `namespace` up to the body's last byte, and the body's size. Decoding is
/// the client's affair and is left out.
async fn list(client: &Client, namespace: &str) -> Result<(f64, usize), Error> {
    let mut times = Vec::new();
    let mut bytes = 0;
    for _ in 0..LISTS {
        let request = http::Request::get(format!("/api/v1/namespaces/{namespace}/configmaps")).body(Vec::new())?;
        let start = Instant::now();
        bytes = client.request_text(request).await?.len();
        times.push(millis(start));
    }
    times.sort_by(f64::total_cmp);
    Ok((times[LISTS / 2], bytes))
}

fn millis(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1_000.0
}
