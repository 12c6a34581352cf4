//! The owner of upgraded connections, which live on after their response was sent.

use std::{future::Future, sync::Arc};

use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use crate::Error;

/// So many sessions may be open at once, unless [`Sessions::new`] says otherwise.
const DEFAULT_LIMIT: usize = 1000;

/// The open streaming sessions of one server: bounded in number, ended and joined by [`Sessions::shutdown`].
///
/// A server puts its `Sessions` into the extensions of each request; [`crate::proxy::forward`] and the `serve`
/// functions find it there. Requests without one get an owner of their own, and their session ends with its connection.
#[derive(Clone, Debug)]
pub struct Sessions {
    limit: usize,
    free: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT)
    }
}

impl Sessions {
    /// An owner of at most `limit` sessions at once.
    pub fn new(limit: usize) -> Self {
        Self { limit, free: Arc::new(Semaphore::new(limit)), stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    /// The owner that the server put into the request's extensions.
    pub(crate) fn of<B>(request: &http::Request<B>) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// Runs `session` until it ends or the owner shuts down; fails at once when too many are open.
    pub(crate) fn spawn(&self, session: impl Future<Output = Result<(), Error>> + Send + 'static) -> Result<(), Error> {
        let permit = self.free.clone().try_acquire_owned().map_err(|_| Error::Busy { limit: self.limit })?;
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let _permit = permit;
            if let Some(Err(error)) = stop.run_until_cancelled_owned(session).await {
                debug!(%error, "streaming session ended");
            }
        });
        Ok(())
    }

    /// How many sessions are open now.
    pub fn open(&self) -> usize {
        self.limit - self.free.available_permits()
    }

    /// Ends every session and waits until all are gone. New ones end at once.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
