//! Nodes that are short of something by their own thresholds. No machine has all of its memory and disk to give.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::World;
use crate::Thresholds;

fn pod(name: &str) -> serde_json::Value {
    let container = json!({"name": name, "image": "busybox", "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": {"memory": "1Mi"}}});
    json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]})
}

#[tokio::test(start_paused = true)]
async fn a_node_short_of_memory_does_not_wait_for_who_counts_files() {
    let mut world = World::new().await;
    world.pod("a", pod("a"));
    world.running("a").await;
    world.runtime.count_for_ever();
    world.eviction = Thresholds::parse(Some("memory.available<99.9%"), "", "", "").unwrap();
    world.restart().await;
    let begun = Instant::now();
    let pod = world.until("a", "evicted", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(pod["status"]["reason"], "Evicted");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_rid_of_dead_containers_first() {
    let mut world = World::new().await;
    world.pod("over", pod("over"));
    world.running("over").await;
    world.runtime.exit("over", 3, "Error");
    world.until("over", "over", |pod| pod["status"]["phase"] == "Failed").await;
    world.pod("b", pod("b"));
    world.running("b").await;
    world.eviction = Thresholds::parse(Some("nodefs.available<99.9%"), "", "", "").unwrap();
    world.restart().await;
    let evicted = world.until("b", "evicted", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(evicted["status"]["reason"], "Evicted");
    assert!(!world.runtime.names().contains("over"), "the container of a Pod that was over is still there");
    // What became of it is still known.
    let over = world.api.get("pods", "ns", "over").unwrap();
    assert_eq!(over["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_nothing_of_the_kubelet_fills_is_not_looked_through_all_the_time() {
    let mut world = World::without_kubelet();
    let mut critical = pod("critical");
    critical["priority"] = json!(2_000_000_000);
    world.pod("critical", critical);
    world.eviction = Thresholds::parse(Some("nodefs.available<99.9%"), "", "", "").unwrap();
    world.start().await;
    world.running("critical").await;
    world.event("EvictionThresholdMet").await;
    let before = world.runtime.image_lists();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let looks = world.runtime.image_lists() - before;
    assert!((3..=8).contains(&looks), "{looks}");
    assert_eq!(world.api.get("pods", "ns", "critical").unwrap()["status"]["phase"], "Running");
    world.end().await;
}
