//! Watches: complete, ordered, without repeats, from any revision that can be read.

use std::collections::HashSet;
use std::sync::Arc;

use sampan_store::{Event, Outcome, Revision, Store, Write};

use crate::{Watch, create, delete, entry, key, update};

pub(crate) async fn all<S: Store>(store: &Arc<S>) {
    tells_past_and_present(&**store).await;
    keeps_to_its_span(&**store).await;
    says_how_far_it_is(&**store).await;
    goes_on_behind_a_compacted_past(&**store).await;
    loses_and_repeats_nothing_under_load(store).await;
}

async fn tells_past_and_present(store: &impl Store) {
    let start = store.revision().await.unwrap();
    let first = create(store, "x/tells", "1").await;
    let second = update(store, "x/tells", "2", first).await;
    let mut watch = Watch::new(store, "x/tells", start).await;
    let mut later = Watch::new(store, "x/tells", first).await;
    let third = delete(store, "x/tells", second).await;
    let fourth = create(store, "x/tells", "4").await;
    assert_eq!(watch.put().await, entry("x/tells", "1", first, first));
    for watch in [&mut watch, &mut later] {
        assert_eq!(watch.put().await, entry("x/tells", "2", first, second));
        assert_eq!(watch.deleted().await, (key("x/tells"), third));
        assert_eq!(watch.put().await, entry("x/tells", "4", fourth, fourth));
    }
}

async fn keeps_to_its_span(store: &impl Store) {
    let start = store.revision().await.unwrap();
    let mut watch = Watch::new(store, "x/span/", start).await;
    for other in ["x/span", "x/span0", "x/spa"] {
        create(store, other, "1").await;
    }
    create(store, "x/span/in", "1").await;
    assert_eq!(watch.put().await.key, "x/span/in");
}

async fn says_how_far_it_is(store: &impl Store) {
    let start = create(store, "x/far", "1").await;
    let mut watch = Watch::new(store, "x/nothing/", start).await;
    watch.quiet_until(start).await;
    let newer = create(store, "x/farther", "1").await;
    watch.quiet_until(newer).await;
    // Progress never overtakes an event.
    let event = create(store, "x/nothing/but", "1").await;
    loop {
        match watch.any().await.unwrap().unwrap() {
            Event::Progress { revision } => assert!(revision < event),
            Event::Put { entry } => break assert_eq!(entry.modified, event),
            Event::Delete { .. } => panic!("nothing was deleted"),
        }
    }
}

async fn goes_on_behind_a_compacted_past(store: &impl Store) {
    let first = create(store, "x/compacted", "1").await;
    let second = update(store, "x/compacted", "2", first).await;
    let third = update(store, "x/compacted", "3", second).await;
    store.compact(second).await.unwrap();
    let mut watch = Watch::new(store, "x/compacted", second).await;
    assert_eq!(watch.put().await, entry("x/compacted", "3", first, third));
}

const WRITERS: usize = 8;
const ROUNDS: usize = 50;

async fn loses_and_repeats_nothing_under_load<S: Store>(store: &Arc<S>) {
    let start = store.revision().await.unwrap();
    let early = Watch::new(&**store, "x/load/", start).await;
    let writers: Vec<_> = (0..WRITERS).map(|n| tokio::spawn(writer(store.clone(), n))).collect();
    // In the midst of it, so that past and present meet.
    create(&**store, "x/load/mark", "1").await;
    let late = Watch::new(&**store, "x/load/", start).await;
    let total = WRITERS * ROUNDS + 1;
    let (early, late) = (follow(early, total).await, follow(late, total).await);
    assert_eq!(early, late);
    let mut written: Vec<Revision> = Vec::new();
    for writer in writers {
        written.extend(writer.await.unwrap());
    }
    written.sort_unstable();
    let watched: Vec<Revision> = early.into_iter().filter(|revision| written.binary_search(revision).is_ok()).collect();
    assert_eq!(watched, written);
}

/// Fights with the others over three keys, and tells which revisions it got.
async fn writer<S: Store>(store: Arc<S>, n: usize) -> Vec<Revision> {
    let mut revisions = Vec::new();
    let name = format!("x/load/{}", n % 3);
    let mut current = None;
    while revisions.len() < ROUNDS {
        let (key, value) = (key(&name), key(&format!("{n}")));
        let write = match current {
            None => Write::Create { key, value },
            Some(expected) if revisions.len() % 5 == 4 => Write::Delete { key, expected },
            Some(expected) => Write::Update { key, value, expected },
        };
        let deletes = matches!(write, Write::Delete { .. });
        match store.write(write).await.unwrap() {
            Outcome::Done(revision) => {
                revisions.push(revision);
                current = (!deletes).then_some(revision);
            }
            Outcome::Unmet(now) => current = now.map(|entry| entry.modified),
        }
    }
    revisions
}

/// The revisions of the next `count` events, which must grow and continue each key's story.
async fn follow(mut watch: Watch, count: usize) -> Vec<Revision> {
    let mut there = HashSet::new();
    let mut revisions = Vec::new();
    while revisions.len() < count {
        let event = watch.next().await;
        let revision = event.revision();
        assert!(revisions.last().is_none_or(|last| *last < revision), "{revision} after {revisions:?}");
        match event {
            Event::Put { entry } => assert_eq!(there.insert(entry.key.clone()), entry.is_new(), "{entry:?}"),
            Event::Delete { key, .. } => assert!(there.remove(&key), "{key:?} at {revision}"),
            Event::Progress { .. } => unreachable!("next() skips progress"),
        }
        revisions.push(revision);
    }
    revisions
}
