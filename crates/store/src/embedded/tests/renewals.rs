//! Renewals cost no sync, and a crash that undoes them gives no revision out twice.

use super::faulty::{FaultyDisk, Loss, Operation};
use super::model::Model;
use super::{create, done, open, renew, roomy, tiny, update};
use crate::embedded::writer::{Limits, RESERVED};
use crate::{Error, Outcome, Revision, Span, Store, Write};

/// Heartbeats of two keys with another write after every fifth. `acknowledged` has, for each revision, how many
/// operations the disk had seen, and whether it was durable then.
struct Story {
    disk: FaultyDisk,
    model: Model,
    acknowledged: Vec<(usize, bool)>,
}

impl Story {
    async fn tell(limits: Limits, writes: usize) -> Self {
        let disk = FaultyDisk::default();
        let store = open(&disk, limits).unwrap();
        let mut story = Self { disk, model: Model::new(), acknowledged: vec![(0, true)] };
        for n in 0..writes {
            let write = story.write(n);
            let want = story.model.write(&write);
            assert_eq!(store.write(write.clone()).await.unwrap(), want);
            story.acknowledged.push((story.disk.operations(), !matches!(write, Write::Renew { .. })));
        }
        story
    }

    fn write(&self, n: usize) -> Write {
        let key = format!("key/{}", n % 2);
        let value = "v".repeat(n * 13 % 50);
        match self.model.now().get(key.as_bytes()).map(|entry| entry.modified) {
            None => create(&key, &value),
            Some(expected) if n % 5 == 4 => update(&key, &value, expected),
            Some(expected) => renew(&key, &value, expected),
        }
    }

    /// Crashes after `count` operations and `bytes` of the next, and recovers.
    async fn crash(&self, count: usize, bytes: usize, loss: Loss, limits: Limits) {
        let what = format!("{count} operations, {bytes} bytes, loss: {loss:?}");
        let disk = self.disk.crashed(count, bytes, loss);
        let told: Vec<_> = self.acknowledged.iter().filter(|(at, _)| *at <= count).collect();
        let newest = told.len() as Revision - 1;
        let durable = told.iter().rposition(|(_, durable)| *durable).unwrap_or(0) as Revision;
        for _ in 0..2 {
            let store = open(&disk, limits).unwrap_or_else(|error| panic!("{what}: {error}"));
            let revision = store.revision().await.unwrap();
            assert!(revision >= newest, "{what}: {newest} was given out, {revision} comes next");
            let there = store.range(&Span::prefix(b"key/"), None, None).await.unwrap().entries;
            let states = durable..=self.model.revision().min(newest + 1);
            let state = states.rev().find(|at| there.iter().eq(self.model.state(*at).values()));
            let state = state.unwrap_or_else(|| panic!("{what}: what was durable is not there"));
            for lost in state + 1..=newest {
                let read = store.get(b"key/0", Some(lost)).await;
                assert!(matches!(read, Err(Error::Compacted { .. })), "{what}: {lost} is lost, yet read as {read:?}");
            }
            store.close().await;
        }
        let store = open(&disk, limits).unwrap();
        let next = done(&store, create("after the crash", "works")).await;
        assert!(next > newest, "{what}");
        store.close().await;
        let store = open(&disk.crashed(disk.operations(), 0, Loss::Unsynced), limits).unwrap();
        assert_eq!(store.get(b"after the crash", None).await.unwrap().unwrap().modified, next, "{what}");
    }
}

#[tokio::test]
async fn a_renewal_is_not_synced_and_the_next_durable_write_takes_it_along() {
    let disk = FaultyDisk::default();
    let store = open(&disk, roomy()).unwrap();
    let syncs =
        || (0..disk.operations()).filter(|at| matches!(disk.operation(*at), Some(Operation::Sync { .. }))).count();
    let mut revision = done(&store, create("lease", "0")).await;
    revision = done(&store, renew("lease", "1", revision)).await;
    let before = syncs();
    for n in 2..100 {
        revision = done(&store, renew("lease", &n.to_string(), revision)).await;
    }
    assert_eq!(syncs(), before, "the first one reserved revisions for all of them");
    assert_eq!(store.get(b"lease", None).await.unwrap().unwrap().value, "99");
    done(&store, create("pod", "1")).await;
    let store = open(&disk.crashed(disk.operations(), 0, Loss::Unsynced), roomy()).unwrap();
    assert_eq!(store.get(b"lease", None).await.unwrap().unwrap().value, "99");
}

#[tokio::test]
async fn a_store_that_was_closed_has_lost_nothing() {
    // With the last revision that was reserved, and around it.
    for renewals in RESERVED - 2..=RESERVED + 3 {
        let disk = FaultyDisk::default();
        let store = open(&disk, roomy()).unwrap();
        let mut revision = done(&store, create("lease", "0")).await;
        for n in 0..renewals {
            revision = done(&store, renew("lease", &n.to_string(), revision)).await;
        }
        store.close().await;
        let store = open(&disk.crashed(disk.operations(), 0, Loss::Unsynced), roomy()).unwrap();
        assert_eq!(store.revision().await.unwrap(), revision, "{renewals}");
        assert_eq!(store.get(b"lease", Some(1)).await.unwrap().unwrap().value, "0");
        assert_eq!(done(&store, renew("lease", "again", revision)).await, revision + 1);
    }
}

#[tokio::test]
async fn a_renewal_of_what_has_changed_is_not_taken() {
    let store = open(&FaultyDisk::default(), roomy()).unwrap();
    let first = done(&store, create("lease", "0")).await;
    done(&store, update("lease", "1", first)).await;
    assert!(matches!(store.write(renew("lease", "2", first)).await.unwrap(), Outcome::Unmet(Some(_))));
    assert!(matches!(store.write(renew("none", "2", first)).await.unwrap(), Outcome::Unmet(None)));
}

#[tokio::test]
async fn survives_a_crash_at_every_byte_with_renewals_on_their_way() {
    let story = Story::tell(roomy(), 12).await;
    for count in 0..=story.disk.operations() {
        let bytes = match story.disk.operation(count) {
            Some(Operation::Write { bytes, .. }) => bytes.len(),
            _ => 1,
        };
        for bytes in 0..bytes {
            for loss in [Loss::Nothing, Loss::Unsynced, Loss::OddSectors] {
                story.crash(count, bytes, loss, roomy()).await;
            }
        }
    }
}

#[tokio::test]
async fn survives_a_crash_at_every_step_while_logs_are_sealed() {
    let story = Story::tell(tiny(), 60).await;
    for count in 0..=story.disk.operations() {
        for loss in [Loss::Nothing, Loss::Unsynced, Loss::OddSectors] {
            story.crash(count, 0, loss, tiny()).await;
        }
    }
}
