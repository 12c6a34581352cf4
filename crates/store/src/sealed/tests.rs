use std::path::Path;

use super::*;
use crate::embedded::{Embedded, Options};

const AT: &[u8] = b"/registry/secrets/ns/s";
const SECRET: &str = "a password that nobody may see";

fn key(name: &str, byte: u8) -> Way {
    Way::Key(Box::new(Key::aes_gcm(name, &[byte; 32]).unwrap()))
}

async fn on<T>(dir: &Path, ways: Vec<Way>, act: impl AsyncFnOnce(&Sealed, &Embedded) -> T) -> T {
    let inner = Arc::new(Embedded::open(Options { dir: dir.into() }).unwrap());
    let rules = vec![Rule { prefix: Bytes::from_static(b"/registry/secrets/"), ways: ways.into() }];
    let result = act(&Sealed::new(Arc::clone(&inner) as Arc<dyn Store>, rules), &inner).await;
    inner.close().await;
    result
}

async fn put(store: &dyn Store, at: &[u8]) {
    let key = Bytes::copy_from_slice(at);
    let written = store.write(Write::Create { key, value: SECRET.into() }).await.unwrap();
    assert!(matches!(written, Outcome::Done(_)));
}

async fn read(store: &Sealed, at: &[u8]) -> Result<String, Error> {
    let entry = store.get(at, None).await?.unwrap();
    Ok(String::from_utf8(entry.value.to_vec()).unwrap())
}

/// Whether any file under `dir` holds the secret in the clear.
fn shows(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).any(|path| match path.is_dir() {
        true => shows(&path),
        false => std::fs::read(&path).unwrap().windows(SECRET.len()).any(|window| window == SECRET.as_bytes()),
    })
}

#[tokio::test]
async fn the_disk_shows_nothing_of_what_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    on(dir.path(), vec![key("one", 1)], async |store, _| {
        put(store, AT).await;
        assert_eq!(read(store, AT).await.unwrap(), SECRET);
        let mut events = store.watch(&Span::prefix(b"/registry/"), 0).await.unwrap();
        let Some(Ok(Event::Put { entry, .. })) = events.next().await else { panic!("an event") };
        assert_eq!(entry.value, SECRET);
        let page = store.range(&Span::prefix(b"/registry/"), None, None).await.unwrap();
        assert_eq!(page.entries[0].value, SECRET);
    })
    .await;
    assert!(!shows(dir.path()));
    on(dir.path(), vec![key("one", 1)], async |store, _| put(store, b"/registry/configmaps/ns/m").await).await;
    assert!(shows(dir.path()), "what no rule is about is kept as it is");
}

#[tokio::test]
async fn a_key_is_changed_by_putting_one_in_front() {
    let dir = tempfile::tempdir().unwrap();
    on(dir.path(), vec![Way::Plain], async |store, _| put(store, AT).await).await;
    on(dir.path(), vec![key("one", 1), Way::Plain], async |store, _| {
        assert_eq!(read(store, AT).await.unwrap(), SECRET);
        assert_eq!((store.reseal().await.unwrap(), store.reseal().await.unwrap()), (1, 0));
    })
    .await;
    on(dir.path(), vec![key("two", 2), key("one", 1)], async |store, _| {
        assert_eq!(read(store, AT).await.unwrap(), SECRET);
        assert_eq!(store.reseal().await.unwrap(), 1);
    })
    .await;
    on(dir.path(), vec![key("two", 2)], async |store, _| assert_eq!(read(store, AT).await.unwrap(), SECRET)).await;
    on(dir.path(), vec![key("one", 1)], async |store, _| assert!(read(store, AT).await.is_err(), "the key is gone"))
        .await;
}

#[tokio::test]
async fn what_was_changed_or_moved_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    on(dir.path(), vec![key("one", 1)], async |store, inner| {
        put(store, AT).await;
        let sealed = inner.get(AT, None).await.unwrap().unwrap().value;
        let elsewhere = b"/registry/secrets/mine/s";
        let place = |at: &[u8], value: Bytes| Write::Create { key: Bytes::copy_from_slice(at), value };
        inner.write(place(elsewhere, sealed.clone())).await.unwrap();
        assert!(matches!(read(store, elsewhere).await, Err(Error::Sealed { .. })), "moved");
        let mut changed = sealed.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        inner.write(place(b"/registry/secrets/ns/t", changed.into())).await.unwrap();
        assert!(read(store, b"/registry/secrets/ns/t").await.is_err(), "changed");
        inner.write(place(b"/registry/secrets/ns/u", sealed.slice(..20))).await.unwrap();
        assert!(read(store, b"/registry/secrets/ns/u").await.is_err(), "cut short");
        inner.write(place(b"/registry/secrets/ns/v", SECRET.into())).await.unwrap();
        assert!(read(store, b"/registry/secrets/ns/v").await.is_err(), "put there in the clear");
    })
    .await;
}
