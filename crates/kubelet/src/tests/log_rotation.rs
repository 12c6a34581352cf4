//! Rotation of logs that a test writes, in real time: the kernel tells of the writes.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use sampan_client::Tasks;

use super::fake_runtime::FakeRuntime;
use crate::cri::Runtime;
use crate::logs::{LogLimits, Logs};
use crate::seen::{Instance, Seen, State};

fn running(id: &str, log: &Path) -> Instance {
    let now = sampan_clock::now();
    Instance {
        id: id.to_owned(),
        sandbox: String::new(),
        name: id.to_owned(),
        attempt: 0,
        created_at: now,
        image: String::new(),
        image_id: String::new(),
        image_volumes: Vec::new(),
        hash: String::new(),
        restart_delay_s: 0,
        round: 0,
        log_path: log.display().to_string(),
        limits: None,
        user: None,
        recursive_read_only: std::collections::BTreeSet::new(),
        state: State::Running { started_at: now },
    }
}

#[tokio::test]
async fn a_container_that_hangs_holds_up_no_other() {
    let runtime = FakeRuntime::new();
    runtime.get_stuck("hangs");
    let tasks = Tasks::new();
    let limits = LogLimits::parse(Some("100"), Some(3)).unwrap();
    let logs = Logs::start(&Runtime::over(runtime.connect().await), limits, &tasks).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let containers = ["hangs", "works"].map(|id| {
        let path = dir.path().join(id);
        std::fs::write(&path, [b'x'; 101]).unwrap();
        runtime.set_log(id, &path);
        running(id, &path)
    });
    logs.follow("u", &Seen { sandboxes: Vec::new(), containers: containers.to_vec() });
    let files = || {
        let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("works")).count()
    };
    // The other container writes on, and has been rotated twice when it has three files.
    let rotated = async {
        while files() < 3 {
            let log = std::fs::OpenOptions::new().append(true).open(dir.path().join("works"));
            log.map(|mut log| log.write_all(&[b'y'; 101])).ok();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), rotated).await.unwrap();
    assert!(!dir.path().join("hangs").exists(), "its log was moved aside, and nobody has made another one");
    tasks.shutdown().await;
}
