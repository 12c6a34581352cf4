//! What is the engine's own about watches: the bound on their queue, and their end.

use futures::StreamExt;

use super::faulty::FaultyDisk;
use super::{create, done, open, roomy, update};
use crate::embedded::watch::{WATCH_BYTES, WATCH_QUEUE};
use crate::{Error, Event, Span, Store};

#[tokio::test]
async fn a_watcher_that_does_not_read_is_told_that_it_lags() {
    let store = open(&FaultyDisk::default(), roomy()).unwrap();
    let mut slow = store.watch(&Span::prefix(b"a"), 0).await.unwrap();
    let mut other = store.watch(&Span::prefix(b"b"), 0).await.unwrap();
    let mut revision = done(&store, create("a", "1")).await;
    for _ in 0..WATCH_QUEUE {
        revision = done(&store, update("a", "2", revision)).await;
    }
    let events: Vec<_> = slow.by_ref().collect().await;
    let (last, told) = events.split_last().unwrap();
    assert!(matches!(last, Err(Error::Lagged)), "{last:?}");
    // What was queued before is still told, without a gap.
    let puts = told.iter().filter_map(|event| match event {
        Ok(Event::Put { entry, .. }) => Some(entry.modified),
        _ => None,
    });
    assert!(puts.eq(1..=WATCH_QUEUE as u64));
    // Progress does not fill a queue.
    while !matches!(other.next().await, Some(Ok(Event::Progress { revision: at })) if at == revision) {}
}

#[tokio::test]
async fn large_values_are_no_way_around_the_bound() {
    let store = open(&FaultyDisk::default(), roomy()).unwrap();
    let mut slow = store.watch(&Span::prefix(b"a"), 0).await.unwrap();
    let value = "x".repeat(WATCH_BYTES / 16);
    let mut revision = done(&store, create("a", &value)).await;
    for _ in 0..16 {
        revision = done(&store, update("a", &value, revision)).await;
    }
    let events: Vec<_> = slow.by_ref().collect().await;
    assert!(matches!(events.last(), Some(Err(Error::Lagged))), "{:?}", events.len());
}

#[tokio::test]
async fn the_past_does_not_fill_the_queue() {
    let store = open(&FaultyDisk::default(), roomy()).unwrap();
    let writes = (0..2 * WATCH_QUEUE).map(|n| (n, create(&n.to_string(), "1")));
    for (_, write) in writes {
        done(&store, write).await;
    }
    let watch = store.watch(&Span::prefix(b""), 0).await.unwrap();
    let told = watch.take(2 * WATCH_QUEUE).filter(|event| std::future::ready(event.is_ok())).count().await;
    assert_eq!(told, 2 * WATCH_QUEUE);
}

#[tokio::test]
async fn closing_ends_watches() {
    let store = open(&FaultyDisk::default(), roomy()).unwrap();
    let mut watch = store.watch(&Span::prefix(b""), 0).await.unwrap();
    assert!(matches!(watch.next().await, Some(Ok(Event::Progress { revision: 0 }))));
    store.close().await;
    assert!(matches!(watch.next().await, Some(Err(Error::Closed))));
    assert!(watch.next().await.is_none());
}
