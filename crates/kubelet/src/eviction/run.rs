//! The loop: observe, decide, and have something go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::stalls::Stalls;
use super::threshold::Pressure;
use super::victims::{Order, Victims};
use super::{State, decide, disk, observe};
use crate::node::Node;
use crate::pods::PodTable;

/// How long until the next look: as a rule, and when something is scarce or nearly so.
const USUAL: Duration = Duration::from_secs(10);
const NEAR: Duration = Duration::from_secs(1);
/// At most one look in this time, however often the kernel tells of stalls.
const AT_MOST: Duration = Duration::from_millis(200);
/// What Pods use is waited for so long, and asked for so often: a runtime that counts files must not let a node die of
/// want of memory.
const READING: Duration = Duration::from_secs(1);
const READINGS: usize = 3;
/// Keeps the node alive for as long as it is let.
pub(crate) async fn run(node: Arc<Node>, pods: Arc<PodTable>) {
    let (orders, taken) = watch::channel(None);
    let victims = Victims { node, pods };
    let evictor = Evictor { victims: victims.clone(), state: State::default(), orders };
    tokio::join!(evictor.run(), disk::run(victims, taken));
}

struct Evictor {
    victims: Victims,
    state: State,
    /// What must go from a disk, for whoever keeps the disks.
    orders: watch::Sender<Option<Order>>,
}

impl Evictor {
    async fn run(mut self) {
        let stalls = Stalls::watch();
        loop {
            let near = self.look().await;
            tokio::time::sleep(AT_MOST).await;
            tokio::select! {
                () = tokio::time::sleep(if near { NEAR } else { USUAL }) => {}
                () = stalls.next() => {}
            }
        }
    }

    /// One round; whether the next one is due soon.
    async fn look(&mut self) -> bool {
        let node = &self.victims.node;
        let images = node.meter.known_image_directory();
        let seen = observe(&node.options.root_dir, images.as_deref());
        let thresholds = &node.options.eviction;
        let (state, decision) = decide(thresholds, &self.state, &seen, sampan_clock::now());
        self.state = state;
        self.publish(&decision.pressures);
        let order = decision.reclaim.and_then(|index| {
            let threshold = node.options.eviction.all.get(index)?.clone();
            let seen = *seen.get(&threshold.signal)?;
            Some(Order { threshold, seen, at: Instant::now() })
        });
        let of_disk = |order: &Order| order.threshold.signal.pressure() == Pressure::Disk;
        self.orders.send_replace(order.clone().filter(of_disk));
        if let Some(order) = order.filter(|order| !of_disk(order)) {
            self.end_one(&order).await;
        }
        decision.near
    }

    fn publish(&self, pressures: &BTreeSet<Pressure>) {
        self.victims.node.pressures.send_if_modified(|published| {
            let differs = published != pressures;
            published.clone_from(pressures);
            differs
        });
    }

    /// Ends the Pod that ranks first by what Pods use, or if that is not told in time by what they are.
    async fn end_one(&self, order: &Order) {
        self.victims.tell(order);
        for _ in 0..READINGS {
            match tokio::time::timeout(READING, self.victims.used(self.victims.active())).await {
                Ok(Ok(candidates)) => {
                    self.victims.end_first(candidates, order).await;
                    return;
                }
                Ok(Err(error)) => tracing::warn!(%error, "what Pods use could not be read"),
                Err(_) => tracing::warn!("what Pods use is not told in time"),
            }
        }
        self.victims.end_first(Victims::unknown(self.victims.active()), order).await;
    }
}
