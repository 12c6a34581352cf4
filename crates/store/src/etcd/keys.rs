//! The store's keys among etcd's: a prefix before each. Pure.
//!
//! ```text
//! PREFIX \0 barrier   the engine's own; nobody's key begins with a zero byte
//! PREFIX KEY          a key of the store
//! ```

use bytes::Bytes;

use super::wire::KeyValue;
use crate::{Entry, Span};

/// The keys of one store.
pub(super) struct Keys {
    prefix: Bytes,
    /// Everything under the prefix, the engine's own keys included.
    everything: Span,
}

impl Keys {
    /// Keys under `prefix`, which is not empty.
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: Bytes::copy_from_slice(prefix.as_bytes()), everything: Span::prefix(prefix.as_bytes()) }
    }

    /// A key of the store as etcd knows it.
    pub(super) fn full(&self, key: &[u8]) -> Bytes {
        [&self.prefix, key].concat().into()
    }

    /// A span of the store's keys as etcd knows it.
    pub(super) fn span(&self, span: &Span) -> Span {
        let start = if span.start.is_empty() { self.full(&[1]) } else { self.full(&span.start) };
        let end = if span.end.is_empty() { self.everything.end.clone() } else { self.full(&span.end) };
        Span { start, end }
    }

    /// All keys, the engine's own included.
    pub(super) fn everything(&self) -> &Span {
        &self.everything
    }

    /// The key that is written only to be seen by watches.
    pub(super) fn barrier(&self) -> Bytes {
        self.full(b"\0barrier")
    }

    /// A key of etcd's as the store knows it; `None` if it is not the store's.
    pub(super) fn own(&self, full: &Bytes) -> Option<Bytes> {
        let key = full.starts_with(&self.prefix).then(|| full.slice(self.prefix.len()..))?;
        (!key.starts_with(&[0])).then_some(key)
    }

    /// An entry of the store.
    pub(super) fn entry(&self, kv: KeyValue) -> Option<Entry> {
        let key = self.own(&kv.key)?;
        Some(Entry { key, value: kv.value, created: kv.create_revision as u64, modified: kv.mod_revision as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_as_they_went() {
        let keys = Keys::new("/sampan");
        for key in ["/registry/pods/a", "a", "\u{1}"] {
            assert_eq!(keys.own(&keys.full(key.as_bytes())), Some(Bytes::from(key)), "{key:?}");
        }
        assert_eq!(keys.own(&keys.barrier()), None);
        assert_eq!(keys.own(&Bytes::from("/other")), None);
    }

    #[test]
    fn no_span_of_the_store_reaches_beyond_it() {
        let keys = Keys::new("/sampan");
        let all = keys.span(&Span::prefix(b""));
        assert!(all.contains(&keys.full(b"\x01")) && all.contains(&keys.full(b"\xff\xff")));
        assert!(!all.contains(&keys.barrier()) && !all.contains(b"/sampao"));
        assert!(keys.everything().contains(&keys.barrier()));
        let part = keys.span(&Span { start: "b".into(), end: "".into() });
        assert!(part.contains(b"/sampanb") && !part.contains(b"/sampana") && !part.contains(b"/sampao"));
    }
}
