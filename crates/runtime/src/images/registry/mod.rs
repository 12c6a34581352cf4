//! Images from registries, by the OCI distribution protocol (and Docker's, which is the same).
//!
//! [`Registry`] is one image's name at all places where it may be asked for: mirrors first, the registry itself last
//! (`hosts.rs`). Whatever comes is verified against the digest by which it was asked for, before anybody looks at it;
//! credentials go where they belong and nowhere else (`credentials.rs`).

mod blobs;
mod challenge;
mod credentials;
mod dialer;
mod error;
mod hosts;
mod session;
mod transport;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};

pub(crate) use credentials::Credentials;
pub use error::Error;

use super::manifest::{self, Descriptor, Document, Manifest};
use super::progress::Progress;
use super::{digest, reference};
use session::{Ask, Session};
use transport::Transport;

/// What other implementations take too.
const MAX_MANIFEST_BYTES: usize = 4 << 20;
const MAX_CONFIG_BYTES: usize = 8 << 20;
const MAX_INDEX_DEPTH: usize = 4;
const CONTENT_DIGEST: &str = "docker-content-digest";

/// How images are pulled.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// The registries' settings, `<registry>/hosts.toml`; need not exist.
    pub registries: PathBuf,
    /// A connection that brings nothing for this long is given up; the transfer is taken up again.
    pub stall_timeout: Duration,
    /// The most an image may measure, as it is transferred and as it is unpacked.
    pub max_image_bytes: u64,
    /// What stands between this machine and the registries.
    pub proxy: Proxy,
}

/// A proxy for TLS connections.
#[derive(Clone, Default)]
pub struct Proxy {
    /// Its URL, with credentials where it wants such; empty for none.
    pub url: String,
    /// Names and networks that are reached without it, separated by commas.
    pub except: String,
}

impl std::fmt::Debug for Proxy {
    /// Without its URL, which can hold a password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Proxy").field("except", &self.except).finish_non_exhaustive()
    }
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            registries: "/etc/sampan/registries.d".into(),
            stall_timeout: Duration::from_secs(60),
            max_image_bytes: 64 << 30,
            proxy: Proxy::default(),
        }
    }
}

/// One image's name, at every place that may know it.
pub(super) struct Registry {
    name: String,
    /// A tag, or a digest.
    target: String,
    sessions: Vec<Session>,
}

impl Registry {
    /// Everything that the settings say about the registry of `name` (in its full form).
    pub(super) fn open(options: &PullOptions, name: &str, credentials: &Credentials) -> Result<Self, Error> {
        let (registry, repository, target) = reference::parts(name);
        let session = |endpoint: hosts::Endpoint| {
            Ok(Session {
                transport: Transport::new(&endpoint.trust, endpoint.dial_timeout, options)?,
                secret: credentials.at(&endpoint, registry).cloned(),
                registry: registry.to_owned(),
                repository: repository.to_owned(),
                authorization: Default::default(),
                endpoint,
            })
        };
        let endpoints = hosts::read(&options.registries, registry)?;
        let sessions = endpoints.into_iter().map(session).collect::<Result<_, Error>>()?;
        Ok(Self { name: name.to_owned(), target: target.to_owned(), sessions })
    }

    /// The digest that the name means now. The registry is asked for one that is a digest too: whether these credentials
    /// may have it, nobody else can say.
    pub(super) async fn resolve(&self) -> Result<String, Error> {
        let is_digest = reference::is_digest(&self.target);
        let knows = |session: &&Session| if is_digest { session.endpoint.pulls } else { session.endpoint.resolves };
        let mut first = None;
        for session in self.sessions.iter().filter(knows) {
            match self.resolve_at(session).await {
                Ok(_) if is_digest => return Ok(self.target.clone()),
                Ok(digest) => return Ok(digest),
                Err(error) => {
                    tracing::debug!(name = self.name, origin = %session.endpoint.origin, %error, "not resolved here");
                    first.get_or_insert(error);
                }
            }
        }
        Err(self.named(first))
    }

    /// Asks for the head, which costs the least; a registry that does not tell the digest there has to show the body.
    async fn resolve_at(&self, session: &Session) -> Result<String, Error> {
        let path = format!("manifests/{}", self.target);
        let ask = Ask { method: &Method::HEAD, path: &path, accept: manifest::ACCEPTED, from: 0 };
        let told = match session.ask(ask).await {
            Ok(response) => content_digest(response.headers()),
            Err(Error::Status { status, .. }) if status.as_u16() == 405 => None,
            Err(error) => return Err(error),
        };
        if let Some(digest) = told {
            return Ok(digest);
        }
        let response = session.ask(Ask { method: &Method::GET, ..ask }).await?;
        let body = session.transport.all(response.into_body(), &path, MAX_MANIFEST_BYTES).await?;
        Ok(digest::of(&body))
    }

    /// The manifest of the image for this machine that `digest` leads to.
    pub(super) async fn manifest(&self, digest: &str) -> Result<Manifest, Error> {
        let mut digest = digest.to_owned();
        for _ in 0..MAX_INDEX_DEPTH {
            let (text, served) = self.get("manifests", &digest, MAX_MANIFEST_BYTES).await?;
            let document = manifest::parse(&text, &served).map_err(|reason| Error::content(&digest, reason))?;
            match document {
                Document::Image(manifest) => return Ok(manifest),
                Document::Index(manifests) => match manifests.into_iter().find(Descriptor::is_for_us) {
                    Some(manifest) => digest = checked(manifest)?.digest,
                    None => return Err(no_match()),
                },
            }
        }
        Err(Error::content(&digest, "an index of indexes without end"))
    }

    /// The text of an image's configuration.
    pub(super) async fn config(&self, config: &Descriptor) -> Result<Bytes, Error> {
        let config = checked(config.clone())?;
        let (text, _) = self.get("blobs", &config.digest, MAX_CONFIG_BYTES).await?;
        Ok(text)
    }

    /// Fetches a layer into the new file `path`.
    pub(super) async fn layer(&self, layer: &Descriptor, path: &Path, progress: &Progress) -> Result<(), Error> {
        let layer = checked(layer.clone())?;
        let sessions: Vec<_> = self.sessions.iter().filter(|session| session.endpoint.pulls).collect();
        blobs::fetch(&sessions, &layer, path, progress).await
    }

    /// Something small by its digest, with the type it was served as, from the first place that has it.
    async fn get(&self, kind: &str, wanted: &str, limit: usize) -> Result<(Bytes, String), Error> {
        let mut first = None;
        for session in self.sessions.iter().filter(|session| session.endpoint.pulls) {
            match get_at(session, &format!("{kind}/{wanted}"), limit).await {
                Ok((body, served)) => match digest::of(&body) {
                    actual if actual == wanted => return Ok((body, served)),
                    actual => drop(first.get_or_insert(Error::Digest { expected: wanted.to_owned(), actual })),
                },
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Err(self.named(first))
    }

    /// What is not found is the image, not some URL.
    fn named(&self, error: Option<Error>) -> Error {
        match error {
            None | Some(Error::NotFound(_)) => Error::NotFound(self.name.clone()),
            Some(other) => other,
        }
    }
}

async fn get_at(session: &Session, path: &str, limit: usize) -> Result<(Bytes, String), Error> {
    let accept = if path.starts_with("manifests/") { manifest::ACCEPTED } else { "*/*" };
    let response = session.ask(Ask { method: &Method::GET, path, accept, from: 0 }).await?;
    let served = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let served = served.to_owned();
    let body = session.transport.all(response.into_body(), path, limit).await?;
    Ok((body, served))
}

fn content_digest(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_DIGEST)?.to_str().ok()?;
    reference::is_digest(text).then(|| text.to_owned())
}

/// A digest becomes a part of a URL and of a file's name: it has to be one.
fn checked(descriptor: Descriptor) -> Result<Descriptor, Error> {
    if reference::is_digest(&descriptor.digest) {
        return Ok(descriptor);
    }
    Err(Error::content(&descriptor.digest, "it is not a sha256 digest"))
}

/// Something that is not what it should be.
pub(super) fn content(what: &str, reason: impl Into<String>) -> Error {
    Error::content(what, reason)
}

/// No image for this machine, in containerd's words.
pub(super) fn no_match() -> Error {
    Error::NotFound("no match for platform in manifest".to_owned())
}
