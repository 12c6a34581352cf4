//! A node that is short of memory by its own thresholds: what it says of itself, whom it turns away and whom it ends.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use sampan_testkit::{Cluster, retry};

/// A Pod that is bound to the node without the scheduler's consent.
fn pod(name: &str, node: &str, resources: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 1
  tolerations: [{{operator: Exists}}]
  containers:
  - name: c
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    resources: {resources}
"
    )
}

/// Waits until `get` prints something that `is` wants.
fn until(cluster: &Cluster, get: &str, is: impl Fn(&str) -> bool) -> Result<String> {
    retry(get, || {
        let printed = cluster.kubectl(get)?;
        ensure!(is(&printed), "still {printed:?}");
        Ok(printed)
    })
}

#[test]
fn a_node_short_of_memory_ends_its_pods() -> Result<()> {
    // No machine has all of its memory to give.
    let cluster = Cluster::start(&["--eviction-hard", "memory.available<99.9%"])?;
    cluster.import_busybox()?;
    let node = cluster.kubectl("get node -o jsonpath={.items[0].metadata.name}")?;
    until(
        &cluster,
        "get node -o jsonpath={.items[0].status.conditions[?(@.type==\"MemoryPressure\")].reason}",
        |reason| reason == "KubeletHasInsufficientMemory",
    )?;
    until(&cluster, "get node -o jsonpath={.items[0].spec.taints[*].key}", |taints| {
        taints.contains("node.kubernetes.io/memory-pressure")
    })
    .context("the node is tainted")?;

    cluster.apply(&pod("guest", &node, "{requests: {memory: 1Mi}}"))?;
    let why =
        until(&cluster, "get pod guest -o jsonpath={.status.phase}:{.status.reason}:{.status.message}", |status| {
            status.starts_with("Failed:")
        })?;
    let low = "Failed:Evicted:The node was low on resource: memory. Threshold quantity: ";
    ensure!(why.starts_with(low), "{why}");
    let condition = "get pod guest -o jsonpath={.status.conditions[?(@.type==\"DisruptionTarget\")].reason}";
    ensure!(cluster.kubectl(condition)? == "TerminationByKubelet", "the victim did not cause it");
    let events = cluster.kubectl("get events -A -o jsonpath={.items[*].message}")?;
    ensure!(events.contains("Attempting to reclaim memory") && events.contains("Starting kubelet."), "{events}");
    Ok(())
}

#[test]
fn a_node_short_of_disk_takes_nothing_more() -> Result<()> {
    let cluster = Cluster::start(&["--eviction-hard", "nodefs.available<99.9%"])?;
    cluster.import_busybox()?;
    let node = cluster.kubectl("get node -o jsonpath={.items[0].metadata.name}")?;
    cluster.apply(&pod("guest", &node, "{}"))?;
    let why =
        until(&cluster, "get pod guest -o jsonpath={.status.phase}:{.status.reason}:{.status.message}", |status| {
            status.starts_with("Failed:")
        })?;
    ensure!(why == "Failed:Evicted:Pod was rejected: The node had condition: [DiskPressure]. ", "{why}");
    Ok(())
}

#[test]
fn a_node_short_of_disk_is_rid_of_dead_containers() -> Result<()> {
    let mut cluster = Cluster::start(&[])?;
    cluster.import_busybox()?;
    let node = cluster.kubectl("get node -o jsonpath={.items[0].metadata.name}")?;
    let over = pod("over", &node, "{}").replace("[sleep, infinity]", "[echo, said]");
    cluster.apply(&over.replace("spec:\n", "spec:\n  restartPolicy: Never\n"))?;
    cluster.kubectl("wait --for=jsonpath={.status.phase}=Succeeded pod/over --timeout=60s")?;
    ensure!(cluster.kubectl("logs over")?.trim() == "said");

    // From now on the disk is too full: the Pod is over, and what it keeps there goes.
    cluster.kill_server()?;
    cluster.add_flag("--eviction-soft", "nodefs.available<99.9%");
    cluster.add_flag("--eviction-soft-grace-period", "nodefs.available=1s");
    cluster.up()?;
    let uid = cluster.kubectl("get pod over -o jsonpath={.metadata.uid}")?;
    let logs = PathBuf::from(format!("/var/lib/{}/logs/default_over_{uid}/c", cluster.instance()));
    retry("the container's log is gone", || {
        let left = std::fs::read_dir(&logs).map_or(0, Iterator::count);
        ensure!(left == 0, "{left} files are still there");
        Ok(())
    })?;
    ensure!(cluster.kubectl("logs over").is_err(), "the container is still there");
    let known = "get pod over -o jsonpath={.status.phase}:{.status.containerStatuses[0].state.terminated.reason}";
    ensure!(cluster.kubectl(known)? == "Succeeded:Completed");
    Ok(())
}
