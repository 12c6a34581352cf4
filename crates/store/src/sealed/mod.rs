//! Encryption at rest: a store over a store, which seals the values of some keys on their way in and opens them on
//! their way out. What lies on the disk, and what backups hold, shows nothing of them.
//!
//! The first way of a [`Rule`] seals; all of them open, so that a key is changed by putting a new one in front.
//! [`Sealed::reseal`] then writes anew what is not sealed with it. A value that no key opens is an error, never an
//! object that seems not to be there.

mod gcm;
mod keys;
mod kms;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::time::{sleep, timeout};

pub use self::keys::Key;
pub use self::kms::Kms;
pub use self::kms::figures::{Figures, Latencies, Use, Used};
use crate::{Entry, Error, Event, Outcome, Page, Revision, Span, Store, Write};

/// How many entries are looked at at a time.
const PAGE: usize = 256;
/// How often a KMS plugin is asked whether it has a new key,
const ASKED_EVERY: Duration = Duration::from_secs(60);
/// and how soon sealing anew is tried again that failed: later each time, up to the same.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// A way to keep values.
pub enum Way {
    /// Sealed with a key.
    Key(Box<Key>),
    /// Sealed with keys that a KMS plugin keeps.
    Kms(Arc<Kms>),
    /// As they are.
    Plain,
}

/// How the values of the keys under a prefix are kept.
pub struct Rule {
    /// `/registry/secrets/`
    pub prefix: Bytes,
    /// The first is how they are written; all of them are read. There is at least one.
    pub ways: Arc<[Way]>,
}

/// A store with sealed values.
pub struct Sealed {
    inner: Arc<dyn Store>,
    rules: Arc<[Rule]>,
}

impl Sealed {
    /// Seals the values in `inner` by the first of `rules` whose prefix a key has; others are kept as they are.
    pub fn new(inner: Arc<dyn Store>, rules: Vec<Rule>) -> Self {
        Self { inner, rules: rules.into() }
    }

    /// Writes anew what is not kept in its first way; how many values that were. Those that someone else writes
    /// meanwhile are left to them.
    pub async fn reseal(&self) -> Result<usize, Error> {
        let mut written = 0;
        for rule in self.rules.iter() {
            let mut span = Span::prefix(&rule.prefix);
            loop {
                let page = self.inner.range(&span, None, Some(PAGE)).await?;
                for entry in &page.entries {
                    if rule.is_first_way(&entry.value).await? {
                        continue;
                    }
                    let value = rule.open(&entry.key, &entry.value).await?;
                    let write = Write::Update { key: entry.key.clone(), value, expected: entry.modified };
                    written += usize::from(matches!(self.write(write).await?, Outcome::Done(_)));
                }
                match page.entries.last() {
                    Some(last) if page.remaining > 0 => span.start = [&last.key[..], &[0]].concat().into(),
                    _ => break,
                }
            }
        }
        Ok(written)
    }

    /// The KMS providers among the ways, each once.
    pub fn plugins(&self) -> Vec<Arc<Kms>> {
        let mut plugins: Vec<Arc<Kms>> = Vec::new();
        for way in self.rules.iter().flat_map(|rule| rule.ways.iter()) {
            if let Way::Kms(kms) = way
                && !plugins.iter().any(|known| Arc::ptr_eq(known, kms))
            {
                plugins.push(Arc::clone(kms));
            }
        }
        plugins
    }

    /// Seals anew what is stored whenever a plugin has another key than before, which each is asked once a minute. Returns
    /// only if there is no plugin.
    pub async fn keep_current(&self) {
        let plugins = self.plugins();
        while !plugins.is_empty() {
            let turns = plugins.iter().map(|kms| Box::pin(kms.turned()));
            match timeout(ASKED_EVERY, futures::future::select_all(turns)).await {
                Ok((_, at, _)) => self.reseal_all(plugins[at].name()).await,
                // Whether one is well shows elsewhere; here it is told of a new key.
                Err(_) => drop(futures::future::join_all(plugins.iter().map(|kms| kms.check())).await),
            }
        }
    }

    /// Seals everything anew for the new key of `provider`, however often that takes: the old one may be withdrawn.
    async fn reseal_all(&self, provider: &str) {
        let mut pause = FIRST_RETRY;
        loop {
            match self.reseal().await {
                Ok(count) => return tracing::info!(provider, count, "sealed anew with the plugin's new key"),
                Err(error) => tracing::warn!(provider, %error, "not all that is stored is sealed with the new key yet"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(ASKED_EVERY);
        }
    }

    async fn seal(&self, write: Write) -> Result<Write, Error> {
        Ok(match write {
            Write::Create { key, value } => Write::Create { value: seal(&self.rules, &key, value).await?, key },
            Write::Update { key, value, expected } => {
                Write::Update { value: seal(&self.rules, &key, value).await?, key, expected }
            }
            Write::Renew { key, value, expected } => {
                Write::Renew { value: seal(&self.rules, &key, value).await?, key, expected }
            }
            delete @ Write::Delete { .. } => delete,
        })
    }
}

impl Rule {
    async fn is_first_way(&self, value: &Bytes) -> Result<bool, Error> {
        match self.ways.first() {
            Some(Way::Key(key)) => Ok(key.sealed(value)),
            Some(Way::Kms(kms)) => kms.is_current(value).await,
            _ => Ok(!keys::is_sealed(value)),
        }
    }

    async fn open(&self, at: &[u8], value: &Bytes) -> Result<Bytes, Error> {
        for way in self.ways.iter() {
            match way {
                // Of several keys with one name each may be the one.
                Way::Key(key) if key.sealed(value) => {
                    if let Some(plain) = key.open(at, value) {
                        return Ok(plain);
                    }
                }
                Way::Kms(kms) if kms.sealed(value) => {
                    if let Some(plain) = kms.open(at, value).await? {
                        return Ok(plain);
                    }
                }
                Way::Plain if !keys::is_sealed(value) => return Ok(value.clone()),
                _ => {}
            }
        }
        Err(Error::Sealed { key: String::from_utf8_lossy(at).into_owned() })
    }
}

fn rule<'r>(rules: &'r [Rule], key: &[u8]) -> Option<&'r Rule> {
    rules.iter().find(|rule| key.starts_with(&rule.prefix))
}

async fn seal(rules: &[Rule], at: &[u8], value: Bytes) -> Result<Bytes, Error> {
    match rule(rules, at).and_then(|rule| rule.ways.first()) {
        Some(Way::Key(key)) => {
            key.seal(at, &value).ok_or_else(|| Error::Sealed { key: String::from_utf8_lossy(at).into_owned() })
        }
        Some(Way::Kms(kms)) => kms.seal(at, &value).await,
        _ => Ok(value),
    }
}

async fn open(rules: &[Rule], entry: Entry) -> Result<Entry, Error> {
    match rule(rules, &entry.key) {
        Some(rule) => Ok(Entry { value: rule.open(&entry.key, &entry.value).await?, ..entry }),
        None => Ok(entry),
    }
}

async fn open_event(rules: &[Rule], event: Event) -> Result<Event, Error> {
    Ok(match event {
        Event::Put { entry } => Event::Put { entry: open(rules, entry).await? },
        other @ (Event::Delete { .. } | Event::Progress { .. }) => other,
    })
}

#[async_trait]
impl Store for Sealed {
    async fn revision(&self) -> Result<Revision, Error> {
        self.inner.revision().await
    }

    async fn get(&self, key: &[u8], at: Option<Revision>) -> Result<Option<Entry>, Error> {
        match self.inner.get(key, at).await? {
            Some(entry) => open(&self.rules, entry).await.map(Some),
            None => Ok(None),
        }
    }

    async fn range(&self, span: &Span, at: Option<Revision>, limit: Option<usize>) -> Result<Page, Error> {
        let mut page = self.inner.range(span, at, limit).await?;
        for entry in &mut page.entries {
            if let Some(rule) = rule(&self.rules, &entry.key) {
                entry.value = rule.open(&entry.key, &entry.value).await?;
            }
        }
        Ok(page)
    }

    async fn write(&self, write: Write) -> Result<Outcome, Error> {
        match self.inner.write(self.seal(write).await?).await? {
            Outcome::Unmet(Some(entry)) => Ok(Outcome::Unmet(Some(open(&self.rules, entry).await?))),
            other => Ok(other),
        }
    }

    async fn watch(&self, span: &Span, after: Revision) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
        let rules = Arc::clone(&self.rules);
        let events = self.inner.watch(span, after).await?;
        let opened = events.then(move |event| {
            let rules = Arc::clone(&rules);
            async move { open_event(&rules, event?).await }
        });
        Ok(opened.boxed())
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.inner.compact(revision).await
    }
}

#[cfg(test)]
mod tests;
