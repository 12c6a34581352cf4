//! Forgets the store's history when it is older than five to ten minutes, as upstream does. A store that nobody
//! writes to is left alone.
//!
//! Of several servers on one store one does it: each notes what it is about to forget under a key that all know, if
//! nobody else has noted anything since it looked last.

use std::sync::Arc;
use std::time::Duration;

use sampan_store::{Error, Outcome, Revision, Store, Write};
use tokio_util::sync::CancellationToken;

/// How long history is kept at least.
const KEEP: Duration = Duration::from_secs(300);
/// Where the servers note what they forget: upstream's name, outside of all objects.
const NOTE: &str = "compact_rev_key";

/// Compacts until `stop`.
pub(crate) async fn run(store: Arc<dyn Store>, stop: CancellationToken) {
    let mut compactor = Compactor::new(store);
    while stop.run_until_cancelled(tokio::time::sleep(KEEP)).await.is_some() {
        if let Err(error) = compactor.round().await {
            tracing::warn!(%error, "the store's history could not be compacted");
        }
    }
}

struct Compactor {
    store: Arc<dyn Store>,
    /// The newest revision of the last round; none before the first.
    mark: Option<Revision>,
    /// When the note was last written, as far as we know; 0 for never.
    noted: Revision,
}

impl Compactor {
    fn new(store: Arc<dyn Store>) -> Self {
        Self { store, mark: None, noted: 0 }
    }

    /// Forgets what was old in the round before, unless another server does.
    async fn round(&mut self) -> Result<(), Error> {
        let newest = self.store.revision().await?;
        let Some(mark) = self.mark.replace(newest) else {
            // A server before this one may have left a note.
            self.noted = self.store.get(NOTE.as_bytes(), None).await?.map_or(0, |note| note.modified);
            return Ok(());
        };
        if mark <= self.noted {
            // Nothing but the note was written since.
            return Ok(());
        }
        match self.store.write(self.note(mark)).await? {
            Outcome::Done(revision) => {
                self.noted = revision;
                self.store.compact(mark).await
            }
            Outcome::Unmet(note) => {
                self.noted = note.map_or(0, |note| note.modified);
                Ok(())
            }
        }
    }

    fn note(&self, mark: Revision) -> Write {
        let (key, value) = (NOTE.into(), mark.to_string().into());
        match self.noted {
            0 => Write::Create { key, value },
            expected => Write::Update { key, value, expected },
        }
    }
}

#[cfg(test)]
mod tests {
    use sampan_store::embedded::{Embedded, Options};

    use super::*;

    async fn put(store: &Embedded, key: &'static str) -> Revision {
        match store.write(Write::Create { key: key.into(), value: "".into() }).await.unwrap() {
            Outcome::Done(revision) => revision,
            Outcome::Unmet(_) => panic!("{key} exists"),
        }
    }

    async fn is_forgotten(store: &Embedded, revision: Revision) -> bool {
        matches!(store.get(b"", Some(revision)).await, Err(Error::Compacted { .. }))
    }

    #[tokio::test]
    async fn one_of_several_forgets_and_none_when_nothing_happens() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(Options { dir: dir.path().into() }).unwrap());
        let [mut a, mut b] = [(); 2].map(|()| Compactor::new(store.clone()));
        let first = put(&store, "1").await;
        let second = put(&store, "2").await;
        for compactor in [&mut a, &mut b] {
            compactor.round().await.unwrap();
        }
        assert!(!is_forgotten(&store, first).await, "what has just been written is kept");
        for compactor in [&mut a, &mut b] {
            compactor.round().await.unwrap();
        }
        assert!(is_forgotten(&store, first).await && !is_forgotten(&store, second).await);
        assert_eq!((a.noted, b.noted), (second + 1, second + 1), "the first to come noted it, the other saw that");
        for _ in 0..3 {
            a.round().await.unwrap();
            b.round().await.unwrap();
        }
        assert_eq!(store.revision().await.unwrap(), second + 1, "nobody writes because of a note");
        let third = put(&store, "3").await;
        // The first is gone: the other takes over.
        for _ in 0..2 {
            b.round().await.unwrap();
        }
        assert!(is_forgotten(&store, third - 1).await && !is_forgotten(&store, third).await);
        // Who is started again loses no round over the note of its predecessor.
        let fourth = put(&store, "4").await;
        let mut again = Compactor::new(store.clone());
        for _ in 0..2 {
            again.round().await.unwrap();
        }
        assert!(is_forgotten(&store, fourth - 1).await && !is_forgotten(&store, fourth).await);
        store.close().await;
    }
}
