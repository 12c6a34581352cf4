//! Forgets the store's history when it is older than five to ten minutes, as upstream does. A store that nobody
//! writes to is left alone.

use std::sync::Arc;
use std::time::Duration;

use sampan_store::{Revision, Store};
use tokio_util::sync::CancellationToken;

/// How long history is kept at least.
const KEEP: Duration = Duration::from_secs(300);

/// Compacts until `stop`.
pub(crate) async fn run(store: Arc<dyn Store>, stop: CancellationToken) {
    let (mut mark, mut done): (Revision, Revision) = (0, 0);
    while stop.run_until_cancelled(tokio::time::sleep(KEEP)).await.is_some() {
        if mark > done {
            match store.compact(mark).await {
                Ok(()) => done = mark,
                Err(error) => tracing::warn!(%error, "the store's history could not be compacted"),
            }
        }
        mark = store.revision().await.unwrap_or(mark);
    }
}
