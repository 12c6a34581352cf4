//! The tasks of a component, and their common end.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The tasks that one component owns. Cloning shares them; [`Tasks::shutdown`] stops and joins them all.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
    /// How many of them have ended in a panic.
    panics: Arc<AtomicUsize>,
}

/// Goes along with one task, and counts its panic.
struct Witness(Arc<AtomicUsize>);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
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
        let (stop, witness) = (self.stop.clone(), Witness(Arc::clone(&self.panics)));
        self.tracker.spawn(async move {
            let _witness = witness;
            stop.run_until_cancelled(future).await;
        });
    }

    /// Runs `future` to its own end; it watches [`Tasks::stop`] itself.
    pub fn spawn_to_the_end<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let witness = Witness(Arc::clone(&self.panics));
        self.tracker.spawn(async move {
            let _witness = witness;
            future.await;
        });
    }

    /// What is wrong with the component: its tasks have been stopped, or some have panicked.
    pub fn health(&self) -> Result<(), String> {
        if self.stop.is_cancelled() {
            return Err("it has been stopped".to_owned());
        }
        match self.panics.load(Ordering::Relaxed) {
            0 => Ok(()),
            1 => Err("a task of it has panicked; the log says why".to_owned()),
            count => Err(format!("{count} tasks of it have panicked; the log says why")),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_no_health() {
        let tasks = Tasks::new();
        tasks.spawn(async {});
        tasks.spawn(std::future::pending());
        tokio::task::yield_now().await;
        assert_eq!(tasks.health(), Ok(()));
        tasks.spawn_to_the_end(async { panic!("on purpose") });
        tokio::task::yield_now().await;
        assert!(tasks.health().is_err_and(|why| why.starts_with("a task of it has panicked")));
        tasks.shutdown().await;
        assert_eq!(tasks.health(), Err("it has been stopped".to_owned()));
    }

    #[tokio::test]
    async fn a_task_that_spawns_others_panics_once() {
        let tasks = Tasks::new();
        let own = tasks.clone();
        tasks.spawn(async move {
            own.spawn(std::future::pending());
            panic!("on purpose")
        });
        tokio::task::yield_now().await;
        assert_eq!(tasks.health(), Err("a task of it has panicked; the log says why".to_owned()));
        tasks.shutdown().await;
    }
}
