//! A real process, really killed: whatever it said was written, is there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use sampan_store::embedded::{Embedded, Options};
use sampan_store::{Error, Outcome, Revision, Span, Store, Write};

/// Set in the process that is to be killed: where it writes.
const DIR: &str = "SAMPAN_STORE_KILL_TEST_DIR";
const CLIENTS: u64 = 8;
const ROUNDS: usize = 6;

#[test]
fn kill_9_loses_no_acknowledged_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 1..=ROUNDS {
        // A different moment in each round; what decides is where it hits the writer.
        acknowledged.extend(write_until_killed(dir.path(), 150 * round));
        verify(dir.path(), &acknowledged);
    }
    assert!(acknowledged.len() >= 150 * ROUNDS);
}

/// Not a test of its own: the process that [`kill_9_loses_no_acknowledged_write`] starts and kills.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = Arc::new(Embedded::open(Options { dir: dir.into() }).unwrap());
        let clients = (0..CLIENTS).map(|client| tokio::spawn(write_forever(store.clone(), client)));
        futures::future::join_all(clients).await;
    });
}

async fn write_forever(store: Arc<Embedded>, client: u64) {
    for n in store.revision().await.unwrap().. {
        let key = format!("key/{client}/{n}");
        let write = Write::Create { key: key.clone().into(), value: vec![b'x'; 300].into() };
        let Outcome::Done(revision) = store.write(write).await.unwrap() else { panic!("{key} exists") };
        println!("acknowledged {revision} {key}");
    }
}

fn write_until_killed(dir: &Path, lines: usize) -> Vec<(Revision, String)> {
    let mut child = start(dir);
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut said = Vec::new();
    for line in output.lines() {
        let line = line.unwrap();
        // The test harness writes here too, sometimes without a line's end.
        if let Some((_, said_now)) = line.split_once("acknowledged ")
            && let Some((revision, key)) = said_now.split_once(' ')
        {
            said.push((revision.parse().unwrap(), key.to_owned()));
        }
        if said.len() == lines {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    said
}

fn start(dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(DIR, dir).stdout(Stdio::piped());
    command.spawn().unwrap()
}

fn verify(dir: &Path, acknowledged: &BTreeMap<Revision, String>) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = Embedded::open(Options { dir: dir.to_owned() }).unwrap();
        for (revision, key) in acknowledged {
            let entry = store.get(key.as_bytes(), None).await.unwrap().unwrap_or_else(|| panic!("{key} is lost"));
            assert_eq!((entry.modified, entry.value.len()), (*revision, 300));
        }
        let all = store.range(&Span::prefix(b""), None, None).await.unwrap();
        assert_eq!(all.entries.len() as u64, store.revision().await.unwrap(), "revisions are continuous");
        assert!(matches!(Embedded::open(Options { dir: dir.to_owned() }), Err(Error::InUse { .. })));
        store.close().await;
    });
}
