//! A disk that is full, fails to sync, or gives back other bytes than it was given; and a directory in use.

use futures::StreamExt;

use super::faulty::{Fault, FaultyDisk, Loss};
use super::{create, done, open, roomy, tiny, update};
use crate::embedded::record::MAX_PAYLOAD_BYTES;
use crate::embedded::{Embedded, Options};
use crate::{Error, Span, Store, Write};

const FULL: Fault = Fault { space: Some(10), no_files: true, sync: false };
const DEAD: Fault = Fault { space: None, no_files: false, sync: true };

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_space() {
    let disk = FaultyDisk::default();
    let store = open(&disk, roomy()).unwrap();
    let first = done(&store, create("a", "1")).await;
    let log = disk.names().remove(0);
    let length = disk.used(&log);
    disk.set_fault(FULL);
    for _ in 0..3 {
        let refused = store.write(update("a", "2", first)).await;
        assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
        assert_eq!(disk.used(&log), length, "the log is at its old end");
    }
    assert_eq!(store.get(b"a", None).await.unwrap().unwrap().value, "1");
    disk.set_fault(Fault::default());
    let second = done(&store, update("a", "3", first)).await;
    assert_eq!(second, first + 1, "refused writes take no revision");
    store.close().await;
    let store = open(&disk.crashed(disk.operations(), 0, Loss::Unsynced), roomy()).unwrap();
    assert_eq!(store.get(b"a", None).await.unwrap().unwrap().value, "3");
}

#[tokio::test]
async fn a_write_for_which_there_is_space_but_none_ahead_of_it_takes_place() {
    let disk = FaultyDisk::default();
    let store = open(&disk, roomy()).unwrap();
    disk.set_fault(Fault { space: Some(150), ..Fault::default() });
    let mut revision = done(&store, create("a", "0")).await;
    for n in 1..10 {
        revision = done(&store, update("a", &n.to_string(), revision)).await;
    }
    store.close().await;
    for loss in [Loss::Nothing, Loss::Unsynced, Loss::OddSectors] {
        let store = open(&disk.crashed(disk.operations(), 0, loss), roomy()).unwrap();
        assert_eq!(store.get(b"a", None).await.unwrap().unwrap().value, "9");
    }
}

#[tokio::test]
async fn a_refused_write_does_not_come_back_after_a_crash() {
    let disk = FaultyDisk::default();
    let store = open(&disk, roomy()).unwrap();
    done(&store, create("a", "1")).await;
    // The first record of the batch fits, the second does not.
    disk.set_fault(Fault { space: Some(60), ..Fault::default() });
    let (b, c) = futures::join!(store.write(create("b", "1")), store.write(create("c", &"x".repeat(500))));
    disk.set_fault(Fault::default());
    store.close().await;
    for loss in [Loss::Nothing, Loss::Unsynced, Loss::OddSectors] {
        let store = open(&disk.crashed(disk.operations(), 0, loss), roomy()).unwrap();
        assert_eq!(store.get(b"b", None).await.unwrap().is_some(), b.is_ok(), "{loss:?}");
        assert_eq!(store.get(b"c", None).await.unwrap().is_some(), c.is_ok(), "{loss:?}");
    }
}

#[tokio::test]
async fn a_disk_too_full_to_seal_or_compact_still_serves() {
    // Neither leaves room for a snapshot; the first has none for a new log either.
    let no_files = Fault { no_files: true, ..Fault::default() };
    let no_snapshot = Fault { space: Some(60), ..Fault::default() };
    for fault in [no_files, no_snapshot] {
        let disk = FaultyDisk::default();
        let store = open(&disk, tiny()).unwrap();
        let mut revision = done(&store, create("a", "1")).await;
        disk.set_fault(fault);
        for n in 0..200 {
            revision = done(&store, update("a", &format!("{n:04}"), revision)).await;
            store.compact(revision).await.unwrap();
        }
        let full = disk.total_bytes();
        disk.set_fault(Fault::default());
        while disk.total_bytes() >= full {
            revision = done(&store, update("a", "0200", revision)).await;
            store.compact(revision).await.unwrap();
        }
        store.close().await;
        for loss in [Loss::Nothing, Loss::Unsynced] {
            let store = open(&disk.crashed(disk.operations(), 0, loss), tiny()).unwrap();
            assert_eq!(store.get(b"a", None).await.unwrap().unwrap().value, "0200");
        }
    }
}

#[tokio::test]
async fn a_restart_on_a_full_disk_works() {
    let disk = FaultyDisk::default();
    let store = open(&disk, tiny()).unwrap();
    done(&store, create("a", "1")).await;
    disk.set_fault(FULL);
    store.close().await;
    assert_eq!(open(&disk, tiny()).unwrap().get(b"a", None).await.unwrap().unwrap().value, "1");
}

#[tokio::test]
async fn a_failed_sync_stops_the_store_for_good() {
    let disk = FaultyDisk::default();
    let store = open(&disk, roomy()).unwrap();
    let first = done(&store, create("a", "1")).await;
    let mut watch = store.watch(&Span::prefix(b""), first).await.unwrap();
    assert!(watch.next().await.unwrap().is_ok());
    disk.set_fault(DEAD);
    assert!(matches!(store.write(update("a", "2", first)).await, Err(Error::Io { .. })));
    assert!(matches!(watch.next().await, Some(Err(Error::Io { .. }))));
    assert!(watch.next().await.is_none());
    disk.set_fault(Fault::default());
    assert!(matches!(store.write(create("b", "1")).await, Err(Error::Io { .. })));
    assert!(matches!(store.get(b"a", None).await, Err(Error::Io { .. })));
    assert!(matches!(store.revision().await, Err(Error::Io { .. })));
    assert!(matches!(store.watch(&Span::prefix(b""), 0).await, Err(Error::Io { .. })));
    store.close().await;
    let store = open(&disk.crashed(disk.operations(), 0, Loss::Unsynced), roomy()).unwrap();
    assert_eq!(store.get(b"a", None).await.unwrap().unwrap().value, "1");
}

/// Three logs and a snapshot.
async fn several_files() -> FaultyDisk {
    let disk = FaultyDisk::default();
    let store = open(&disk, tiny()).unwrap();
    let mut revision = done(&store, create("a", "1")).await;
    while !disk.names().iter().any(|name| name.ends_with(".snapshot")) {
        revision = done(&store, update("a", &"x".repeat(100), revision)).await;
        store.compact(revision).await.unwrap();
    }
    store.close().await;
    let store = open(&disk, tiny()).unwrap();
    for n in 0..60 {
        done(&store, create(&format!("key/{n}"), &"x".repeat(50))).await;
    }
    store.close().await;
    disk
}

#[tokio::test]
async fn damage_is_refused_with_file_and_offset_wherever_it_is() {
    let disk = several_files().await;
    let names = disk.names();
    assert!(names.len() >= 3, "{names:?}");
    for name in &names {
        let last = Some(name) == names.iter().rfind(|name| name.ends_with(".log"));
        for offset in 0..disk.len(name) {
            let damaged = disk.crashed(disk.operations(), 0, Loss::Nothing);
            damaged.flip(name, offset);
            match open(&damaged, tiny()) {
                Err(Error::Corrupt { path, offset: at, .. }) => {
                    assert!(path.ends_with(name), "{name} is damaged, {} was named", path.display());
                    assert!(at <= offset as u64, "{name}: byte {offset} is damaged, {at} was named");
                }
                // What may be a crash's torn tail: nothing that is known to have been acknowledged follows.
                Ok(_) => assert!(last && offset + 150 > disk.used(name), "{name}: byte {offset} went unnoticed"),
                Err(other) => panic!("{name}, byte {offset}: {other}"),
            }
        }
    }
}

#[tokio::test]
async fn a_missing_file_is_noticed() {
    let disk = several_files().await;
    let names = disk.names();
    for name in &names[..names.len() - 1] {
        let without = disk.crashed(disk.operations(), 0, Loss::Nothing);
        crate::embedded::disk::Disk::remove(&without, name).unwrap();
        let opened = open(&without, tiny()).map(|_| ());
        assert!(matches!(opened, Err(Error::Corrupt { .. })), "without {name}: {opened:?}");
    }
}

#[tokio::test]
async fn damage_that_comes_later_is_noticed_by_the_read() {
    let disk = FaultyDisk::default();
    let store = open(&disk, roomy()).unwrap();
    done(&store, create("a", "value")).await;
    store.close().await;
    let store = open(&disk, roomy()).unwrap();
    let name = disk.names().remove(0);
    disk.flip(&name, disk.used(&name) - 1);
    assert!(matches!(store.get(b"a", None).await, Err(Error::Corrupt { .. })));
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_harms_nobody() {
    let store = open(&FaultyDisk::default(), roomy()).unwrap();
    let value = vec![0; MAX_PAYLOAD_BYTES].into();
    let refused = store.write(Write::Create { key: "a".into(), value }).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    let value = vec![0; MAX_PAYLOAD_BYTES - 1].into();
    done(&store, Write::Create { key: "a".into(), value }).await;
}

#[tokio::test]
async fn a_directory_belongs_to_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: dir.path().join("data") };
    let store = Embedded::open(options.clone()).unwrap();
    assert!(matches!(Embedded::open(options.clone()), Err(Error::InUse { path }) if path == options.dir));
    store.close().await;
    assert!(matches!(store.write(create("a", "1")).await, Err(Error::Closed)));
    drop(Embedded::open(options.clone()).unwrap());
    drop(Embedded::open(options).unwrap());
}
