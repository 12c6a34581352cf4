use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{LONGEST_BACKOFF, Queue};
use crate::framework::PluginSet;
use crate::pod::PodInfo;
use crate::testing;

fn pod(text: &str) -> Arc<PodInfo> {
    Arc::new(PodInfo::new(testing::pod(text)))
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_twice_as_long_each_time() {
    let mut queue = Queue::default();
    queue.put(pod("a"), Instant::now());
    for seconds in [1, 2, 4, 8, 10, 10] {
        let taken = queue.pop(Instant::now()).unwrap();
        queue.failed(&taken.uid, Instant::now());
        assert_eq!(queue.next_wake(), Some(Instant::now() + Duration::from_secs(seconds)));
        assert!(queue.pop(Instant::now()).is_none());
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }
    assert!(queue.pop(Instant::now()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_decided_about_is_nobody_elses() {
    let mut queue = Queue::default();
    queue.put(pod("a"), Instant::now());
    assert!(queue.pop(Instant::now()).is_some());
    queue.put(pod("a label.new=label"), Instant::now());
    assert!(queue.pop(Instant::now()).is_none());
    queue.remove("a");
    queue.failed("a", Instant::now());
    queue.refused("a", PluginSet::default());
    tokio::time::advance(LONGEST_BACKOFF).await;
    assert!(queue.pop(Instant::now()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_pod_itself_counts() {
    let mut queue = Queue::default();
    queue.put(pod("a"), Instant::now());
    queue.pop(Instant::now()).unwrap();
    queue.refused("a", PluginSet::default());
    queue.put(pod("a"), Instant::now());
    assert!(queue.pop(Instant::now()).is_none());
    queue.put(pod("a tolerate=k"), Instant::now());
    assert!(queue.pop(Instant::now()).is_some());
}
