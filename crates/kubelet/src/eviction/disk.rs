//! Whatever needs a look at the disk: Pods that keep more than they may, unused images, and making room where a disk is
//! short. Trees of users can be of any size, so all of it is apart from what must be quick: a node short of memory does
//! not wait for it.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::decide::{Observation, Observations};
use super::threshold::Signal;
use super::victims::{AT_ONCE_S, Order, Victims};
use super::{limits, observe};

/// How long until the next look at what Pods keep.
const USUAL: Duration = Duration::from_secs(10);
/// And how many times as long as the look has taken: it costs a tenth of a core at most.
const REST: u32 = 10;

fn rest(took: Duration) -> Duration {
    USUAL.max(took * REST)
}

/// Images are looked through no more often than this.
const IMAGES_EVERY: Duration = Duration::from_secs(300);

/// Keeps the disk for as long as it is let, and makes room when an order comes.
pub(super) async fn run(victims: Victims, mut orders: watch::Receiver<Option<Order>>) {
    let mut keeper = Keeper { victims, images_at: None, heed_after: Instant::now() };
    let mut next = Instant::now();
    loop {
        tokio::select! {
            Some(order) = next_order(&mut orders, keeper.heed_after) => keeper.make_room(&order, &orders).await,
            () = sleep_until(next) => {
                keeper.thin_out_images().await;
                let took = keeper.enforce_limits().await;
                next = Instant::now() + rest(took);
            }
        }
    }
}

/// The next order of something that was seen after `heed_after`.
async fn next_order(orders: &mut watch::Receiver<Option<Order>>, heed_after: Instant) -> Option<Order> {
    let fresh = |order: &Option<Order>| order.as_ref().is_some_and(|order| order.at > heed_after);
    orders.wait_for(fresh).await.ok()?.clone()
}

struct Keeper {
    victims: Victims,
    /// When images were last looked through.
    images_at: Option<Instant>,
    /// What was seen before this does not count: something has been done since, or there was nothing to be done and it is
    /// too early to look again.
    heed_after: Instant,
}

impl Keeper {
    /// Removes unused images when their disk fills up.
    async fn thin_out_images(&mut self) {
        let node = &self.victims.node;
        let images = node.meter.image_directory().await;
        let seen = observe(&node.options.root_dir, images.as_deref());
        let disk = disk_of_images(&seen);
        let wanted_bytes = disk.map_or(0, |disk| surplus(disk, node.options.image_gc_percent));
        if wanted_bytes == 0 || self.images_at.is_some_and(|at| at.elapsed() < IMAGES_EVERY) {
            return;
        }
        self.images_at = Some(Instant::now());
        let freed_bytes = node.images.remove_unused(wanted_bytes).await;
        if freed_bytes < wanted_bytes {
            let message = format!(
                "Failed to garbage collect required amount of images. Attempted to free {wanted_bytes} bytes, but only \
                 found {freed_bytes} bytes eligible to free."
            );
            node.recorder.warning(&node.reference(), "FreeDiskSpaceFailed", message);
        }
    }

    /// Ends the Pods that keep more than they may; how long it took to find them.
    async fn enforce_limits(&self) -> Duration {
        let limited: Vec<Arc<Pod>> = self.victims.active().into_iter().filter(|pod| limits::has_limits(pod)).collect();
        if limited.is_empty() {
            return Duration::ZERO;
        }
        let begun = Instant::now();
        let measured = self.victims.measured(limited).await;
        let took = begun.elapsed();
        let mut ended = Vec::new();
        for candidate in measured {
            if let Some(why) = limits::excess(&candidate)
                && self.victims.end(&candidate.pod, AT_ONCE_S, &why, false)
            {
                ended.push(candidate.pod);
            }
        }
        self.victims.gone(&ended).await;
        took
    }

    /// Makes room: by dead containers and images that nobody uses, and when that was of no use by the Pod that ranks first.
    /// If there is none that may be ended, what fills the disk is nothing of the kubelet's, and it rests.
    async fn make_room(&mut self, order: &Order, orders: &watch::Receiver<Option<Order>>) {
        self.victims.tell(order);
        let removed = self.victims.remove_dead_containers().await;
        let freed_bytes = self.victims.node.images.remove_unused(i64::MAX).await;
        let mut pause = Duration::ZERO;
        if !removed && freed_bytes == 0 {
            let begun = Instant::now();
            let candidates = self.victims.measured(self.victims.active()).await;
            let took = begun.elapsed();
            // Looking may have taken long: somebody else may have made room.
            if orders.borrow().is_some() && !self.victims.end_first(candidates, order).await {
                pause = rest(took);
            }
        }
        self.heed_after = Instant::now() + pause;
    }
}

fn disk_of_images(seen: &Observations) -> Option<Observation> {
    seen.get(&Signal::ImagefsAvailable).or_else(|| seen.get(&Signal::NodefsAvailable)).copied()
}

/// How many bytes of images should go from a disk that may be `high` percent full, and should be `low` percent full then.
fn surplus(disk: Observation, (high, low): (u8, u8)) -> i64 {
    let used = disk.capacity - disk.available;
    let percent = |percent: u8| disk.capacity / 100 * i64::from(percent);
    if high >= 100 || used < percent(high) { 0 } else { used - percent(low) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_thinned_out_to_the_lower_mark() {
        for (available, marks, want) in [(151, (85, 80), 0), (150, (85, 80), 50), (0, (85, 80), 200), (0, (100, 80), 0)]
        {
            assert_eq!(surplus(Observation { available, capacity: 1000 }, marks), want, "{available}");
        }
    }
}
