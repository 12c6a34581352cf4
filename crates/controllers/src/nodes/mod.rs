//! Node life cycle: a node whose lease is no longer renewed is not to be relied on.
//!
//! ```text
//! lease renewed ─(grace passes)─> Ready=Unknown, its Pods not ready, taint unreachable ─(toleration ends)─> its Pods are deleted
//! lease renewed again ─> the kubelet writes its conditions, the taints go
//! ```
//! A timer per node stands at the end of its grace and moves with each renewal; nothing is polled. [`plan`] decides.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use sampan_client::{Change, EventRecorder, Informer, Key, WorkQueue};
use serde_json::json;

use crate::error::allow_missing;
use crate::runner::{self, Reconcile};
use crate::{Context, Error};
use plan::{Plan, Seen};

/// Nodes worked on at once.
const WORKERS: usize = 4;
/// Where nodes renew their leases.
const LEASES: &str = "kube-node-lease";

struct Controller {
    client: Client,
    events: EventRecorder,
    nodes: Informer<Node>,
    leases: Informer<Lease>,
    pods: Informer<Pod>,
}

/// Starts the controller.
pub(crate) fn start(context: Context) {
    let queue = WorkQueue::new(&context.tasks);
    let informers = &context.informers;
    let (nodes, leases, pods) = (informers.all::<Node>(), informers.all::<Lease>(), informers.all::<Pod>());
    let changed = queue.clone();
    nodes.on_change(move |change| changed.add(Key::of(&**change.object())));
    let renewed = queue.clone();
    leases.on_change(move |change| {
        let lease = change.object();
        // A renewal only moves the timer, which looks for itself when it goes off; the first one begins it.
        let first = matches!(change, Change::Applied { old: None, .. } | Change::Deleted(_));
        if first && lease.metadata.namespace.as_deref() == Some(LEASES) {
            renewed.add(Key::new("", &lease.name_any()));
        }
    });
    let bound = queue.clone();
    pods.on_change(move |change| {
        let node = change.object().spec.as_ref().and_then(|spec| spec.node_name.clone());
        if let (Some(node), Change::Applied { old: None, .. }) = (node, change) {
            bound.add(Key::new("", &node));
        }
    });
    let controller = Arc::new(Controller { client: context.client, events: context.events, nodes, leases, pods });
    let tasks = context.tasks.clone();
    context.tasks.spawn(async move {
        controller.nodes.synced().await;
        controller.leases.synced().await;
        controller.pods.synced().await;
        runner::run("node-controller", controller, &queue, WORKERS, &tasks);
    });
}

#[async_trait]
impl Reconcile for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let pods = self.pods_on(&key.name);
        let Some(node) = self.nodes.get(key) else {
            return self.collect(key, &pods).await.map(|()| None);
        };
        let lease = self.leases.get(&Key::new(LEASES, &key.name));
        let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref().map(|time| time.0));
        let plan = plan::plan(&Seen { node: &node, renewed, pods: &pods, now: sampan_clock::now() });
        self.carry_out(&node, &plan).await?;
        Ok(plan.wake)
    }
}

impl Controller {
    fn pods_on(&self, node: &str) -> Vec<Arc<Pod>> {
        let on = |pod: &Arc<Pod>| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node);
        self.pods.list().into_iter().filter(on).collect()
    }

    /// Pods of a node that is gone go as well: no kubelet will ever end them.
    async fn collect(&self, key: &Key, pods: &[Arc<Pod>]) -> Result<(), Error> {
        if pods.is_empty() {
            return Ok(());
        }
        let node = Api::<Node>::all(self.client.clone()).get_opt(&key.name).await;
        if node.map_err(Error::api("reading a node"))?.is_some() {
            return Ok(());
        }
        for pod in pods {
            self.delete(pod, &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() }).await?;
        }
        Ok(())
    }

    async fn carry_out(&self, node: &Node, plan: &Plan) -> Result<(), Error> {
        let api = Api::<Node>::all(self.client.clone());
        let name = node.name_any();
        if let Some(conditions) = &plan.conditions {
            let patch = json!({"status": {"conditions": conditions}});
            let patched = api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(&patch)).await;
            allow_missing(patched).map_err(Error::api("marking a node unknown"))?;
            let text = format!("Node {name} status is now: NodeNotReady");
            self.events.normal(&node.object_ref(&()), "NodeNotReady", text);
        }
        if let Some(taints) = &plan.taints {
            let patch = json!({"metadata": {"resourceVersion": node.resource_version()}, "spec": {"taints": taints}});
            let patched = api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
            allow_missing(patched).map_err(Error::api("tainting a node"))?;
        }
        for pod in &plan.not_ready {
            self.mark_not_ready(pod).await?;
        }
        for pod in &plan.evict {
            let text = format!("Marking for deletion Pod {}", Key::of(&**pod));
            self.events.normal(&pod.object_ref(&()), "TaintManagerEviction", text);
            self.delete(pod, &DeleteParams::default()).await?;
        }
        Ok(())
    }

    async fn mark_not_ready(&self, pod: &Pod) -> Result<(), Error> {
        let now = sampan_clock::now();
        let condition =
            json!({"type": "Ready", "status": "False", "reason": "NodeNotReady", "lastTransitionTime": now});
        let patch = json!({"status": {"conditions": [condition]}});
        let api = Api::<Pod>::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let patched = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&patch)).await;
        allow_missing(patched).map_err(Error::api("marking a Pod not ready")).map(drop)
    }

    async fn delete(&self, pod: &Pod, params: &DeleteParams) -> Result<(), Error> {
        let api = Api::<Pod>::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        allow_missing(api.delete(&pod.name_any(), params).await).map_err(Error::api("evicting a Pod")).map(drop)
    }
}
