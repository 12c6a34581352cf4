//! Crashes at every byte: what was acknowledged is there, what is there was asked for, and the store works on.

use std::sync::Arc;

use bytes::Bytes;

use super::faulty::{FaultyDisk, Loss, Operation};
use super::model::{Model, agree};
use super::{create, open, roomy, tiny};
use crate::embedded::Embedded;
use crate::embedded::writer::Limits;
use crate::{Error, Outcome, Store, Write};

const LOSSES: [Loss; 3] = [Loss::Nothing, Loss::Unsynced, Loss::OddSectors];

/// A story with a crash to come: the model at its end, and how many operations the disk had seen when each revision was
/// acknowledged.
struct Story {
    disk: FaultyDisk,
    model: Model,
    acknowledged: Vec<usize>,
    /// Each `compact`, by the operations seen when it was asked for and when it was acknowledged.
    compactions: Vec<(usize, usize, u64)>,
}

impl Story {
    async fn tell(limits: Limits, writes: usize, compact_every: usize) -> Self {
        let disk = FaultyDisk::default();
        let store = open(&disk, limits).unwrap();
        let mut story = Self { disk, model: Model::new(), acknowledged: vec![0], compactions: Vec::new() };
        for n in 0..writes {
            let write = story.write(n);
            let want = story.model.write(&write);
            assert_eq!(store.write(write).await.unwrap(), want);
            if matches!(want, Outcome::Done(_)) {
                story.acknowledged.push(story.disk.operations());
            }
            if n % compact_every == compact_every - 1 {
                let (asked, revision) = (story.disk.operations(), story.model.revision() - 2);
                store.compact(revision).await.unwrap();
                story.compactions.push((asked, story.disk.operations(), revision));
            }
        }
        store.close().await;
        story
    }

    /// Creates, updates and deletes four keys in turn, with values of many lengths.
    fn write(&self, n: usize) -> Write {
        let key = Bytes::from(format!("key/{}", n % 4));
        let value = Bytes::from(vec![b'a' + (n % 26) as u8; n * 17 % 60]);
        match self.model.now().get(&key).map(|entry| entry.modified) {
            None => Write::Create { key, value },
            Some(expected) if n % 3 == 2 => Write::Delete { key, expected },
            Some(expected) => Write::Update { key, value, expected },
        }
    }

    /// Crashes after `count` operations and `bytes` of the next, recovers and compares.
    async fn crash(&self, count: usize, bytes: usize, loss: Loss, limits: Limits) {
        let what = format!("{count} operations, {bytes} bytes, loss: {loss:?}");
        let disk = self.disk.crashed(count, bytes, loss);
        let store = open(&disk, limits).unwrap_or_else(|error| panic!("{what}: {error}"));
        let revision = store.revision().await.unwrap();
        let acknowledged = self.acknowledged.iter().filter(|at| **at <= count).count() as u64 - 1;
        assert!(revision >= acknowledged, "{what}: {acknowledged} was acknowledged, {revision} is there");
        assert!(revision <= acknowledged + 1, "{what}: {revision} is there, only {acknowledged} was acknowledged");
        let mut model = self.model.clone();
        model.truncate(revision);
        let compacted = self.compacted(&store, count).await;
        agree(&store, &model, compacted).await;
        let after = create("after the crash", "works");
        assert_eq!(store.write(after.clone()).await.unwrap(), model.write(&after), "{what}");
        // A second crash, which loses everything that was not synced.
        store.close().await;
        let disk = disk.crashed(disk.operations(), 0, Loss::Unsynced);
        agree(&open(&disk, limits).unwrap(), &model, compacted).await;
    }

    /// What is forgotten: at least what was acknowledged, at most what was asked for.
    async fn compacted(&self, store: &Embedded, count: usize) -> u64 {
        let at_least =
            self.compactions.iter().filter(|(_, done, _)| *done <= count).map(|(.., revision)| *revision).max();
        let at_most =
            self.compactions.iter().filter(|(asked, ..)| *asked <= count).map(|(.., revision)| *revision).max();
        match store.get(b"", Some(0)).await {
            Err(Error::Compacted { oldest, .. }) => {
                assert!(Some(oldest) >= at_least && Some(oldest) <= at_most);
                oldest
            }
            other => {
                assert_eq!((other.unwrap(), at_least), (None, None));
                0
            }
        }
    }

    /// Bytes written by the `at`th operation.
    fn bytes_of(&self, at: usize) -> usize {
        match self.disk.operation(at) {
            Some(Operation::Write { bytes, .. }) => bytes.len(),
            _ => 0,
        }
    }
}

#[tokio::test]
async fn survives_a_crash_at_every_byte_of_the_log() {
    let story = Story::tell(roomy(), 8, usize::MAX).await;
    for count in 0..=story.disk.operations() {
        for bytes in 0..story.bytes_of(count).max(1) {
            for loss in LOSSES {
                story.crash(count, bytes, loss, roomy()).await;
            }
        }
    }
}

#[tokio::test]
async fn survives_a_crash_at_every_step_of_sealing_and_compaction() {
    let story = Story::tell(tiny(), 120, 5).await;
    let operations = story.disk.operations();
    let snapshots =
        (0..operations).filter(|at| matches!(story.disk.operation(*at), Some(Operation::Rename { .. }))).count();
    assert!(snapshots >= 3, "only {snapshots} compactions");
    for count in 0..=operations {
        for bytes in [0, story.bytes_of(count) / 2] {
            for loss in LOSSES {
                story.crash(count, bytes, loss, tiny()).await;
            }
        }
    }
}

#[tokio::test]
async fn unacknowledged_writes_of_one_batch_may_come_back_but_only_in_order() {
    let disk = FaultyDisk::default();
    let store = Arc::new(open(&disk, roomy()).unwrap());
    let writes = (0..20).map(|n| store.write(create(&format!("key/{n:02}"), "value")));
    let outcomes = futures::future::join_all(writes).await;
    assert!(outcomes.iter().all(Result::is_ok));
    store.close().await;
    for count in 0..disk.operations() {
        let Some(Operation::Write { bytes, .. }) = disk.operation(count) else { continue };
        for bytes in 0..bytes.len() {
            let store = open(&disk.crashed(count, bytes, Loss::Nothing), roomy()).unwrap();
            let there = store.range(&crate::Span::prefix(b"key/"), None, None).await.unwrap().entries;
            assert!(there.iter().enumerate().all(|(n, entry)| entry.key == format!("key/{n:02}")));
        }
    }
}
