//! The etcd engine: the same promises, kept by an etcd v3 server or cluster. Several API servers may share one.
//!
//! ```text
//! write -> one transaction: compare the key's revision, put or delete it, else read it
//! get, range -> linearizable reads, in pages at one revision
//! watch -> one gRPC stream of its own, reopened where it broke off
//! ```
//! Every key lies under a prefix, so that clusters can share an etcd. What is kept there is ours alone: it is not the
//! form in which another API server stores its objects.
//!
//! It keeps no copy of anything. Start at [`Etcd`]; [`Location`] says how to name one.

mod barrier;
mod endpoints;
mod error;
mod keys;
mod location;
mod newest;
mod pages;
mod watch;
mod wire;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use self::endpoints::Tls;
pub use self::location::{InvalidLocation, Location};

use self::barrier::Barrier;
use self::endpoints::{Endpoints, Safety};
use self::error::error_for;
use self::keys::Keys;
use self::newest::Newest;
use crate::{Entry, Error, Event, Outcome, Page, Revision, Span, Store, Write};

/// Where etcd is, and how to show oneself to it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its endpoints, and the prefix of all keys.
    pub location: Location,
    /// With TLS; `None` for plain text.
    pub tls: Option<Tls>,
}

/// A store in etcd.
pub struct Etcd(Arc<Inner>);

/// What the engine and its watches share.
struct Inner {
    endpoints: Endpoints,
    keys: Keys,
    newest: Newest,
    barrier: Barrier,
}

impl Etcd {
    /// Connects, and asks etcd once whether it answers.
    ///
    /// Fails with [`Error::Remote`] if none of the endpoints answers in time or the TLS files are of no use.
    pub async fn connect(options: Options) -> Result<Self, Error> {
        let Location { endpoints, prefix } = &options.location;
        let endpoints = Endpoints::new(endpoints, options.tls.as_ref())?;
        let (newest, barrier) = Default::default();
        let store = Self(Arc::new(Inner { endpoints, keys: Keys::new(prefix), newest, barrier }));
        store.revision().await?;
        Ok(store)
    }
}

#[async_trait]
impl Store for Etcd {
    async fn revision(&self) -> Result<Revision, Error> {
        let Inner { endpoints, keys, newest, barrier } = &*self.0;
        let revision = newest.ask(|| pages::newest(endpoints, keys)).await?;
        barrier.expect(revision);
        Ok(revision)
    }

    async fn get(&self, key: &[u8], at: Option<Revision>) -> Result<Option<Entry>, Error> {
        let request = wire::RangeRequest { key: self.0.keys.full(key), ..Default::default() };
        let answer = pages::read(&self.0.endpoints, request, at).await?;
        Ok(answer.kvs.into_iter().next().and_then(|kv| self.0.keys.entry(kv)))
    }

    async fn range(&self, span: &Span, at: Option<Revision>, limit: Option<usize>) -> Result<Page, Error> {
        pages::range(&self.0.endpoints, &self.0.keys, span, (at, limit.unwrap_or(usize::MAX))).await
    }

    async fn write(&self, write: Write) -> Result<Outcome, Error> {
        write::write(&self.0.endpoints, &self.0.keys, write).await
    }

    async fn watch(&self, span: &Span, after: Revision) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
        watch::begin(&self.0, span, after).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        let request = wire::CompactionRequest { revision: revision as i64 };
        let compact =
            self.0.endpoints.call("compact", Safety::Repeatable, |mut kv| async move { kv.compact(request).await });
        match compact.await.map_err(|failure| error_for(failure, revision)) {
            // That much is forgotten already.
            Err(Error::Compacted { .. }) => Ok(()),
            other => other.map(drop),
        }
    }
}
