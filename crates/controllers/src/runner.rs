//! The loop that every controller shares: take a key, reconcile it, try again with back-off when that fails.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sampan_client::{Key, Tasks, WorkQueue};

use crate::Error;

/// A controller, as the runner sees it.
#[async_trait]
pub(crate) trait Reconcile: Send + Sync + 'static {
    /// Brings the object of `key` nearer to what it asks for. Returns when to look again though nothing changes.
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error>;
}

/// Runs `workers` loops of `controller` over `queue`.
pub(crate) fn run<C: Reconcile>(
    name: &'static str,
    controller: Arc<C>,
    queue: &WorkQueue<Key>,
    workers: usize,
    tasks: &Tasks,
) {
    for _ in 0..workers {
        let (controller, queue) = (Arc::clone(&controller), queue.clone());
        tasks.spawn(async move {
            while let Some(key) = queue.next().await {
                work(name, &*controller, &queue, &key).await;
                queue.done(&key);
            }
        });
    }
}

async fn work<C: Reconcile>(name: &str, controller: &C, queue: &WorkQueue<Key>, key: &Key) {
    match controller.reconcile(key).await {
        Ok(wake) => {
            queue.forget(key);
            if let Some(delay) = wake {
                queue.add_after(key.clone(), delay);
            }
        }
        Err(error) => {
            if error.is_conflict() {
                tracing::debug!(controller = name, %key, %error, "trying again");
            } else {
                tracing::warn!(controller = name, %key, %error, "trying again");
            }
            queue.retry(key.clone());
        }
    }
}
