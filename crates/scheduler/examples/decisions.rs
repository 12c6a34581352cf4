//! How many decisions a second, with nothing around them: no API server, no queue.
//!
//! ```text
//! cargo run --release -p sampan-scheduler --example decisions -- [nodes] [pods]
//! ```
//! Prints one line of JSON. Each Pod is placed before the next is decided about.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use sampan_scheduler::{Cluster, PodInfo, Turn, schedule};
use serde_json::json;
use tokio::time::Instant;

fn main() -> Result<(), serde_json::Error> {
    let mut args = std::env::args().skip(1).map_while(|arg| arg.parse().ok());
    let (nodes, pods): (usize, usize) = (args.next().unwrap_or(5_000), args.next().unwrap_or(10_000));
    let mut cluster = Cluster::default();
    for number in 0..nodes {
        cluster.set_node(Arc::new(node(number)?));
    }
    let pods = (0..pods).map(|number| Ok(Arc::new(pod(number)?))).collect::<Result<Vec<_>, serde_json::Error>>()?;

    let start = Instant::now();
    let (mut turn, mut placed) = (Turn::default(), 0_usize);
    for pod in &pods {
        let pod = Arc::new(PodInfo::new(Arc::clone(pod)));
        if let Ok(placement) = schedule(&pod, &cluster, turn) {
            cluster.add_pod(&placement.node, pod);
            turn = placement.next;
            placed += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let per_second = (pods.len() as f64 / seconds).round();
    println!(
        "{}",
        json!({"nodes": nodes, "pods": pods.len(), "placed": placed, "seconds": seconds, "pods_per_second": per_second})
    );
    Ok(())
}

fn node(number: usize) -> Result<Node, serde_json::Error> {
    let name = format!("node-{number}");
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": format!("zone-{}", number % 3)}},
        "status": {"allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"}},
    }))
}

fn pod(number: usize) -> Result<Pod, serde_json::Error> {
    let name = format!("pod-{number}");
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"containers": [{
            "name": "c", "image": "pause", "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}},
        }]},
    }))
}
