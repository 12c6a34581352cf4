//! Asking kubelets. A rate takes two readings: the one before serves as the first if it is young enough, else there are
//! two, a second apart. What was just measured is not measured again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use parking_lot::Mutex;
use sampan_api::status::Status;
use tokio::time::Instant;

use super::rates::Usage;
use super::reading::Reading;
use super::{Names, Pods};
use crate::connect;
use crate::server::Server;

/// Kubelets that are asked at the same time.
const AT_ONCE: usize = 16;
/// How long one kubelet may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The shortest window of a rate; what was measured less long ago is told again.
const SHORTEST: Duration = Duration::from_secs(1);
/// A reading that is older than this says nothing about now.
const LONGEST: Duration = Duration::from_secs(60);
/// Nodes that are remembered at most.
const MAX_NODES: usize = 5000;
/// What a kubelet is asked for.
const PATH: &str = "/metrics/resource";

/// What a node and its Pods use.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) node: Option<Usage>,
    pub(super) pods: Pods,
}

impl Measured {
    fn between(earlier: &Reading, later: &Reading) -> Self {
        let mut pods = Pods::new();
        for (name, counters) in &later.containers {
            if let Some(usage) = Usage::between(earlier.containers.get(name), counters) {
                let (namespace, pod, container) = name.clone();
                pods.entry((namespace, pod)).or_default().insert(container, usage);
            }
        }
        Self { node: Usage::between(Some(&earlier.node), &later.node), pods }
    }
}

/// What each node said last. Everything of it may be lost.
#[derive(Default)]
pub(crate) struct Kept(Mutex<HashMap<String, Last>>);

#[derive(Clone)]
struct Last {
    at: Instant,
    reading: Arc<Reading>,
    measured: Arc<Measured>,
}

impl Kept {
    fn get(&self, node: &str) -> Option<Last> {
        self.0.lock().get(node).cloned()
    }

    fn put(&self, node: &str, last: Last) {
        let mut all = self.0.lock();
        if all.len() >= MAX_NODES {
            all.clear();
        }
        all.insert(node.to_owned(), last);
    }
}

/// What these nodes use, by name; those whose kubelets do not answer are left out.
pub(super) async fn of_nodes(server: &Server, names: Names) -> BTreeMap<String, Arc<Measured>> {
    let asked = names.into_iter().map(|name| async move {
        match tokio::time::timeout(PATIENCE, of_node(server, &name)).await {
            Ok(Ok(measured)) => Some((name, measured)),
            Ok(Err(error)) => {
                tracing::warn!(node = name, %error, "a node's usage could not be read");
                None
            }
            Err(_) => {
                tracing::warn!(node = name, "a node's usage could not be read in time");
                None
            }
        }
    });
    let answers: Vec<_> = futures::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
    answers.into_iter().flatten().collect()
}

async fn of_node(server: &Server, name: &str) -> Result<Arc<Measured>, Status> {
    let last = server.usage.get(name);
    let age = last.as_ref().map(|last| last.at.elapsed());
    let earlier = match (last, age) {
        (Some(last), Some(age)) if age < SHORTEST => return Ok(last.measured),
        (Some(last), Some(age)) if age < LONGEST => last.reading,
        _ => {
            let first = read(server, name).await?;
            tokio::time::sleep(SHORTEST).await;
            Arc::new(first)
        }
    };
    let reading = Arc::new(read(server, name).await?);
    let measured = Arc::new(Measured::between(&earlier, &reading));
    server.usage.put(name, Last { at: Instant::now(), reading, measured: Arc::clone(&measured) });
    Ok(measured)
}

async fn read(server: &Server, name: &str) -> Result<Reading, Status> {
    let answer = connect::ask_kubelet(server, name, PATH).await?;
    Ok(Reading::parse(&String::from_utf8_lossy(&answer), sampan_clock::now().as_millisecond()))
}
