//! Conditional writes.

use std::collections::BTreeSet;

use sampan_store::{Outcome, Store, Write};

use crate::{create, delete, entry, key, update};

pub(crate) async fn all(store: &impl Store) {
    creates_once(store).await;
    updates_only_what_was_read(store).await;
    deletes_only_what_was_read(store).await;
    a_key_can_come_again(store).await;
    keys_and_values_are_any_bytes(store).await;
    one_of_many_wins(store).await;
    revisions_are_unique_and_grow(store).await;
}

async fn creates_once(store: &impl Store) {
    let first = create(store, "w/create", "1").await;
    let again = store.write(Write::Create { key: key("w/create"), value: key("2") }).await.unwrap();
    assert_eq!(again, Outcome::Unmet(Some(entry("w/create", "1", first, first))));
    assert_eq!(store.get(b"w/create", None).await.unwrap(), Some(entry("w/create", "1", first, first)));
}

async fn updates_only_what_was_read(store: &impl Store) {
    let first = create(store, "w/update", "1").await;
    let second = update(store, "w/update", "2", first).await;
    assert!(second > first);
    let stale = store.write(Write::Update { key: key("w/update"), value: key("3"), expected: first }).await.unwrap();
    assert_eq!(stale, Outcome::Unmet(Some(entry("w/update", "2", first, second))));
    let write = Write::Renew { key: key("w/update"), value: key("4"), expected: second };
    let Outcome::Done(third) = store.write(write).await.unwrap() else { panic!("a renewal is an update") };
    assert_eq!(store.get(b"w/update", None).await.unwrap(), Some(entry("w/update", "4", first, third)));
    let absent = Write::Update { key: key("w/absent"), value: key("1"), expected: first };
    assert_eq!(store.write(absent).await.unwrap(), Outcome::Unmet(None));
}

async fn deletes_only_what_was_read(store: &impl Store) {
    let first = create(store, "w/delete", "1").await;
    let second = update(store, "w/delete", "2", first).await;
    let stale = store.write(Write::Delete { key: key("w/delete"), expected: first }).await.unwrap();
    assert_eq!(stale, Outcome::Unmet(Some(entry("w/delete", "2", first, second))));
    let third = delete(store, "w/delete", second).await;
    assert!(third > second);
    assert_eq!(store.get(b"w/delete", None).await.unwrap(), None);
    let gone = store.write(Write::Delete { key: key("w/delete"), expected: third }).await.unwrap();
    assert_eq!(gone, Outcome::Unmet(None));
}

async fn a_key_can_come_again(store: &impl Store) {
    let first = create(store, "w/again", "1").await;
    delete(store, "w/again", first).await;
    let second = create(store, "w/again", "2").await;
    assert_eq!(store.get(b"w/again", None).await.unwrap(), Some(entry("w/again", "2", second, second)));
}

async fn keys_and_values_are_any_bytes(store: &impl Store) {
    for (at, value) in [vec![], vec![0; 3], vec![0xff; 70_000]].into_iter().enumerate() {
        let name = [b"w/bytes/".as_slice(), &[0, 0xff, at as u8]].concat();
        let write = Write::Create { key: name.clone().into(), value: value.clone().into() };
        assert!(matches!(store.write(write).await.unwrap(), Outcome::Done(_)));
        assert_eq!(store.get(&name, None).await.unwrap().unwrap().value, value);
    }
}

async fn one_of_many_wins(store: &impl Store) {
    let creations = (0..32).map(|n| store.write(Write::Create { key: key("w/race"), value: key(&n.to_string()) }));
    let outcomes = futures::future::join_all(creations).await;
    let won: Vec<_> = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Outcome::Done(_)))).collect();
    assert_eq!(won.len(), 1);
    let current = store.get(b"w/race", None).await.unwrap();
    for outcome in outcomes {
        if let Outcome::Unmet(seen) = outcome.unwrap() {
            assert_eq!(seen, current);
        }
    }
}

async fn revisions_are_unique_and_grow(store: &impl Store) {
    let before = store.revision().await.unwrap();
    let names: Vec<String> = (0..100).map(|n| format!("w/unique/{n}")).collect();
    let revisions: Vec<_> = futures::future::join_all(names.iter().map(|name| create(store, name, "1"))).await;
    let unique: BTreeSet<_> = revisions.iter().copied().collect();
    assert_eq!(unique.len(), 100);
    assert!(unique.iter().all(|revision| *revision > before));
    assert!(store.revision().await.unwrap() >= *unique.last().unwrap());
}
