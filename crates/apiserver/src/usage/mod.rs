//! The metrics API, `metrics.k8s.io`: what nodes and Pods use, asked of the kubelets when someone wants to know.
//!
//! ```text
//! get, list -> nodes concerned -> `/metrics/resource` of each, twice (measure) -> rates -> NodeMetrics, PodMetrics
//! ```
//! Nothing is measured while nobody asks, and nothing is stored. Another server takes the group over by an APIService
//! that names its Service; requests do not come here then.

mod measure;
mod rates;
mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::StatusCode;
use sampan_api::kind::KindRef;
use sampan_api::quantity::Quantity;
use sampan_api::status::{Resource, Status};
use serde_json::{Value, json};

pub(crate) use self::measure::Kept;
use self::measure::{Measured, of_nodes};
use self::rates::Usage;
use crate::cache::{Filter, Object};
use crate::forms::{self, Wanted};
use crate::registry::built_in;
use crate::server::{Answer, Call, Server};

/// Answers a request about `nodes` or `pods` of the group.
pub(crate) async fn answer(server: &Server, kind: &KindRef, call: &Call) -> Answer {
    let wanted = Wanted::of_kind(kind, call)?;
    server.registry.cache.fresh().await?;
    let body = match (kind.kind, call.info.verb) {
        ("NodeMetrics", "list") => forms::values(kind, nodes(server, &selected(server, "Node", call)?).await, &wanted),
        ("PodMetrics", "list") => forms::values(kind, pods(server, &selected(server, "Pod", call)?).await, &wanted),
        ("NodeMetrics", "get") => forms::object(kind, &node(server, &call.info.name).await?, &wanted),
        ("PodMetrics", "get") => {
            forms::object(kind, &pod(server, &call.info.namespace, &call.info.name).await?, &wanted)
        }
        _ => return Err(Status::method_not_allowed()),
    };
    Ok(wanted.response(StatusCode::OK, body))
}

/// The Nodes or Pods that the request selects.
fn selected(server: &Server, kind: &str, call: &Call) -> Result<Vec<Arc<Object>>, Status> {
    let kind = built_in("", kind)?;
    let filter = Filter::from_query(&kind.into(), &call.info.namespace, &call.query)?;
    Ok(server.registry.cache.room(kind)?.snapshot(&filter).0)
}

async fn node(server: &Server, name: &str) -> Result<Value, Status> {
    let kind = built_in("", "Node")?;
    let (found, _) = server.registry.cache.room(kind)?.snapshot(&Filter::default().named(name));
    if found.is_empty() {
        return Err(Status::not_found(Resource { group: "", name: "node" }, name));
    }
    let unknown = || Status::not_found(Resource { group: "metrics.k8s.io", name: "nodemetrics" }, name);
    nodes(server, &found).await.pop().ok_or_else(unknown)
}

async fn pod(server: &Server, namespace: &str, name: &str) -> Result<Value, Status> {
    let kind = built_in("", "Pod")?;
    let (found, _) = server.registry.cache.room(kind)?.snapshot(&Filter::of_namespace(namespace).named(name));
    if found.is_empty() {
        return Err(Status::not_found(Resource { group: "", name: "pods" }, name));
    }
    let resource = Resource { group: "metrics.k8s.io", name: "podmetrics" };
    pods(server, &found).await.pop().ok_or_else(|| Status::not_found(resource, &format!("{namespace}/{name}")))
}

/// The metrics of those of the nodes whose kubelets answer.
async fn nodes(server: &Server, nodes: &[Arc<Object>]) -> Vec<Value> {
    let measured = of_nodes(server, nodes.iter().map(|node| node.name.to_string()).collect()).await;
    let of_node = |node: &Arc<Object>| {
        let usage = measured.get(&*node.name)?.node?;
        let mut object = object("NodeMetrics", node, usage);
        object["usage"] = amounts(&usage);
        Some(object)
    };
    nodes.iter().filter_map(of_node).collect()
}

/// The metrics of those of the Pods that run and have been measured.
async fn pods(server: &Server, pods: &[Arc<Object>]) -> Vec<Value> {
    let values: Vec<(&Arc<Object>, Value)> = pods.iter().map(|pod| (pod, pod.value())).collect();
    let running = || values.iter().filter(|(_, value)| value["status"]["phase"] == "Running");
    let node = |value: &Value| value["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    let measured = of_nodes(server, running().map(|(_, value)| node(value)).collect()).await;
    running().filter_map(|(pod, value)| of_pod(pod, measured.get(&node(value))?)).collect()
}

fn of_pod(pod: &Object, measured: &Measured) -> Option<Value> {
    let containers = measured.pods.get(&(pod.namespace.to_string(), pod.name.to_string()))?;
    let whole = containers.values().copied().reduce(Usage::together)?;
    let mut object = object("PodMetrics", pod, whole);
    object["metadata"]["namespace"] = (*pod.namespace).into();
    let container = |(name, usage): (&String, &Usage)| json!({"name": name, "usage": amounts(usage)});
    object["containers"] = containers.iter().map(container).collect();
    Some(object)
}

/// An object that says when and for how long `of` was measured.
fn object(kind: &str, of: &Object, usage: Usage) -> Value {
    let now = sampan_clock::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut object = json!({
        "kind": kind, "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {"name": &*of.name, "creationTimestamp": now},
        "timestamp": usage.at().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), "window": usage.window(),
    });
    if !of.labels.is_empty() {
        object["metadata"]["labels"] = json!(of.labels);
    }
    object
}

fn amounts(usage: &Usage) -> Value {
    // What cannot be written as an amount cannot be measured either.
    let cpu = Quantity::parse(&format!("{}n", usage.cpu_nano)).unwrap_or(Quantity::ZERO);
    let memory = Quantity::from_bytes(i64::try_from(usage.memory_bytes).unwrap_or(i64::MAX));
    json!({"cpu": cpu.to_string(), "memory": memory.to_string()})
}

/// The containers of each Pod of a node, by namespace and name of the Pod.
type Pods = BTreeMap<(String, String), BTreeMap<String, Usage>>;
/// Names of nodes.
type Names = BTreeSet<String>;
