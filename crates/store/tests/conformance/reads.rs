//! Reads now and in the past, pages, and forgetting.

use sampan_store::{Error, Page, Revision, Span, Store};

use crate::{create, delete, entry, key, update};

pub(crate) async fn all(store: &impl Store) {
    reads_the_past(store).await;
    ranges_keep_key_order_and_ends(store).await;
    pages_add_up_at_one_revision(store).await;
    the_future_is_refused(store).await;
    forgets_what_it_is_told_to(store).await;
}

fn names(page: &Page) -> Vec<&[u8]> {
    page.entries.iter().map(|entry| &entry.key[..]).collect()
}

async fn reads_the_past(store: &impl Store) {
    let first = create(store, "r/past", "1").await;
    let second = update(store, "r/past", "2", first).await;
    let third = delete(store, "r/past", second).await;
    for (at, want) in [
        (first - 1, None),
        (first, Some(entry("r/past", "1", first, first))),
        (second, Some(entry("r/past", "2", first, second))),
        (third, None),
    ] {
        // Revision 0 means "now" to some engines; nobody has reason to ask for it.
        if at > 0 {
            assert_eq!(store.get(b"r/past", Some(at)).await.unwrap(), want, "at {at}");
            let page = store.range(&Span::prefix(b"r/past"), Some(at), None).await.unwrap();
            assert_eq!(page.entries, Vec::from_iter(want), "at {at}");
            assert_eq!(page.revision, at);
        }
    }
}

async fn ranges_keep_key_order_and_ends(store: &impl Store) {
    for name in ["r/order/b", "r/order/c", "r/order/a", "r/order/aa", "r/orderly"] {
        create(store, name, name).await;
    }
    let page = store.range(&Span::prefix(b"r/order/"), None, None).await.unwrap();
    assert_eq!(names(&page), [b"r/order/a".as_slice(), b"r/order/aa", b"r/order/b", b"r/order/c"]);
    assert_eq!(page.remaining, 0);
    let part = Span { start: key("r/order/aa"), end: key("r/order/c") };
    assert_eq!(names(&store.range(&part, None, None).await.unwrap()), [b"r/order/aa".as_slice(), b"r/order/b"]);
    let reversed = Span { start: key("r/order/c"), end: key("r/order/a") };
    assert!(store.range(&reversed, None, None).await.unwrap().entries.is_empty());
    let rest = Span { start: key("r/order/c"), end: key("") };
    assert!(names(&store.range(&rest, None, None).await.unwrap()).contains(&b"r/orderly".as_slice()));
}

async fn pages_add_up_at_one_revision(store: &impl Store) {
    let mut revisions: Vec<Revision> = Vec::new();
    for n in 0..10 {
        revisions.push(create(store, &format!("r/page/{n}"), "1").await);
    }
    let first = store.range(&Span::prefix(b"r/page/"), None, Some(4)).await.unwrap();
    assert_eq!((first.entries.len(), first.remaining), (4, 6));
    // What happens between two pages belongs to neither.
    delete(store, "r/page/9", revisions[9]).await;
    create(store, "r/page/55", "1").await;
    let mut start = first.entries[3].key.to_vec();
    start.push(0);
    let rest = Span { start: start.into(), end: Span::prefix(b"r/page/").end };
    let second = store.range(&rest, Some(first.revision), Some(4)).await.unwrap();
    assert_eq!((second.entries.len(), second.remaining), (4, 2));
    let third = store.range(&rest, Some(first.revision), Some(6)).await.unwrap();
    assert_eq!((third.entries.len(), third.remaining), (6, 0));
    assert_eq!(third.entries[5].key, "r/page/9");
}

async fn the_future_is_refused(store: &impl Store) {
    let newest = create(store, "r/future", "1").await;
    let asked = newest + 1_000;
    assert!(matches!(store.get(b"r/future", Some(asked)).await, Err(Error::Future { .. })));
    assert!(matches!(store.range(&Span::prefix(b"r/"), Some(asked), None).await, Err(Error::Future { .. })));
    assert!(matches!(store.compact(asked).await, Err(Error::Future { .. })));
}

async fn forgets_what_it_is_told_to(store: &impl Store) {
    let old = create(store, "r/compact/kept", "1").await;
    let gone = create(store, "r/compact/gone", "1").await;
    let deleted = delete(store, "r/compact/gone", gone).await;
    let kept = update(store, "r/compact/kept", "2", old).await;
    let newer = update(store, "r/compact/kept", "3", kept).await;
    store.compact(kept).await.unwrap();
    store.compact(kept).await.unwrap();
    for at in [old, gone, deleted] {
        assert!(matches!(store.get(b"r/compact/kept", Some(at)).await, Err(Error::Compacted { .. })), "at {at}");
    }
    assert!(matches!(store.watch(&Span::prefix(b"r/"), old).await, Err(Error::Compacted { .. })));
    let at = store.range(&Span::prefix(b"r/compact/"), Some(kept), None).await.unwrap();
    assert_eq!(at.entries, [entry("r/compact/kept", "2", old, kept)]);
    let now = store.range(&Span::prefix(b"r/compact/"), None, None).await.unwrap();
    assert_eq!(now.entries, [entry("r/compact/kept", "3", old, newer)]);
}
