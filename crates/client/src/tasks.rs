//! The tasks of a component, and their common end.

use std::future::Future;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The tasks that one component owns. Cloning shares them; [`Tasks::shutdown`] stops and joins them all.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `future` until it ends or the component stops, whichever is first. It is dropped at an await point when the
    /// component stops; work that must finish selects on [`Tasks::stop`] itself inside [`Tasks::spawn_to_the_end`].
    pub fn spawn<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            stop.run_until_cancelled(future).await;
        });
    }

    /// Runs `future` to its own end; it watches [`Tasks::stop`] itself.
    pub fn spawn_to_the_end<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(future);
    }

    /// Cancelled when the component stops.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Stops the tasks and waits until the last has ended.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
