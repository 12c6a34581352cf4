//! Network namespaces for tests: one for the whole test process, and more, each held by a thread.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, unshare};

/// Runs `test` in a process of its own in a network namespace of its own. `name` is the test's full name.
pub(crate) fn alone(name: &str, test: impl AsyncFnOnce()) {
    const MARK: &str = "SAMPAN_TEST_ALONE";
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
    if std::env::var_os(MARK).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let outcome = runtime.block_on(async { tokio::time::timeout(PATIENCE, test()).await });
        outcome.unwrap_or_else(|_| panic!("{name} is not done after {} s", PATIENCE.as_secs()));
        // Where tests keep a network's state, if they do.
        let _ = std::fs::remove_dir_all(state_dir());
        return;
    }
    let executable = std::env::current_exe().unwrap();
    let mut process = Command::new("unshare");
    process.arg("--net").arg(executable).args(["--exact", name, "--nocapture"]).env(MARK, "1");
    assert!(process.status().unwrap().success(), "{name} failed in its own namespace");
}

/// A directory of this process alone.
pub(crate) fn state_dir() -> PathBuf {
    std::env::temp_dir().join(format!("sampan-t{}", std::process::id()))
}

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace. It ends with this value.
pub(crate) struct Space {
    path: PathBuf,
    id: String,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Space {
    /// A new, empty namespace.
    pub(crate) fn new() -> Self {
        Self::start(true)
    }

    /// The namespace the test itself is in.
    pub(crate) fn here() -> Self {
        Self::start(false)
    }

    fn start(own: bool) -> Self {
        let (jobs, todo) = channel::<Job>();
        let (ready, started) = channel();
        let thread = std::thread::spawn(move || {
            if own {
                unshare(CloneFlags::CLONE_NEWNET).unwrap();
            }
            ready.send(nix::unistd::gettid().as_raw()).unwrap();
            todo.into_iter().for_each(|job| job());
        });
        let id = started.recv().unwrap();
        let path = PathBuf::from(format!("/proc/self/task/{id}/ns/net"));
        Self { path, id: id.to_string(), jobs: Some(jobs), thread: Some(thread) }
    }

    /// Where the namespace can be opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The id of the thread that holds it.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Runs `job` inside: sockets it opens and programs it starts belong there.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        let job = Box::new(move || done.send(job()).unwrap());
        self.jobs.as_ref().unwrap().send(job).unwrap();
        result.recv().expect("the job inside the namespace failed")
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}
