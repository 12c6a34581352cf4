//! Forgetting and giving space back, unasked.

use super::faulty::FaultyDisk;
use super::{create, done, open, tiny, update};
use crate::embedded::index::Retention;
use crate::embedded::writer::Limits;
use crate::{Error, Span, Store};

fn forgetful() -> Limits {
    Limits { retention: Retention { revisions: 40, bytes: 1 << 40 }, ..tiny() }
}

#[tokio::test]
async fn the_disk_does_not_grow_with_the_number_of_writes() {
    let disk = FaultyDisk::default();
    let store = open(&disk, forgetful()).unwrap();
    let mut revision = done(&store, create("a", "1")).await;
    let mut most = 0;
    for n in 0..2_000 {
        revision = done(&store, update("a", &format!("{n:0100}"), revision)).await;
        most = most.max(disk.total_bytes());
    }
    // 46 live records of about 150 bytes; OVERGROWTH times those and the slack dead; and a snapshot in the making.
    assert!(most < 50_000, "{most} bytes");
    assert_eq!(store.get(b"a", None).await.unwrap().unwrap().value, format!("{:0100}", 1_999));
}

#[tokio::test]
async fn keeps_the_newest_history_and_no_more() {
    let store = open(&FaultyDisk::default(), forgetful()).unwrap();
    let mut revision = done(&store, create("a", "1")).await;
    for n in 0..500 {
        revision = done(&store, update("a", &n.to_string(), revision)).await;
    }
    let Err(Error::Compacted { oldest, .. }) = store.get(b"a", Some(1)).await else { panic!("all history is there") };
    assert!((40..=46).contains(&(revision - oldest)), "{revision} - {oldest}");
    assert_eq!(store.get(b"a", Some(oldest)).await.unwrap().unwrap().modified, oldest);
}

#[tokio::test]
async fn history_is_bounded_in_bytes_too() {
    let limits = Limits { retention: Retention { revisions: 1_000, bytes: 10_000 }, ..tiny() };
    let store = open(&FaultyDisk::default(), limits).unwrap();
    let mut revision = done(&store, create("a", "1")).await;
    for _ in 0..50 {
        revision = done(&store, update("a", &"x".repeat(1_000), revision)).await;
    }
    let Err(Error::Compacted { oldest, .. }) = store.get(b"a", Some(1)).await else { panic!("all history is there") };
    assert!((8..=11).contains(&(revision - oldest)), "{revision} - {oldest}");
}

#[tokio::test]
async fn reads_go_on_while_files_are_replaced() {
    let disk = FaultyDisk::default();
    let store = open(&disk, forgetful()).unwrap();
    for n in 0..20 {
        done(&store, create(&format!("kept/{n:02}"), &n.to_string())).await;
    }
    let mut revision = done(&store, create("a", "1")).await;
    for _ in 0..500 {
        revision = done(&store, update("a", &"x".repeat(200), revision)).await;
        let page = store.range(&Span::prefix(b"kept/"), None, Some(5)).await.unwrap();
        assert!(page.entries.iter().enumerate().all(|(n, entry)| entry.value == n.to_string()));
        assert_eq!((page.entries.len(), page.remaining), (5, 15));
    }
    assert!(disk.names().iter().any(|name| name.ends_with(".snapshot")));
}
