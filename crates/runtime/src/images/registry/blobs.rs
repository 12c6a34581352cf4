//! Large things, from a registry into a file: as long as it takes, but never longer without progress.
//!
//! A transfer that breaks off goes on where it ended; the digest is computed on the way. What does not have the
//! declared digest and size is refused, wherever it came from.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::CONTENT_RANGE;
use http::{Method, StatusCode};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use super::error::Error;
use super::session::{Ask, Session};
use crate::images::manifest::Descriptor;
use crate::images::progress::Progress;

/// Attempts at one place that bring nothing, one after the other.
const MAX_FRUITLESS: u32 = 4;
/// Attempts at one place, however much each of them brings.
const MAX_ATTEMPTS: u32 = 100;
/// Before the first further attempt; doubled for each that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Fetches `blob` into the new file `path` from the first of `sessions` that has it.
pub(super) async fn fetch(
    sessions: &[&Session],
    blob: &Descriptor,
    path: &Path,
    progress: &Progress,
) -> Result<(), Error> {
    let mut part = Part::create(path, blob).await?;
    let mut first = None;
    for session in sessions {
        match persist(session, &mut part, progress).await {
            Ok(()) => return Ok(()),
            Err(error) => {
                tracing::debug!(origin = %session.endpoint.origin, blob = blob.digest, %error, "no blob from here");
                first.get_or_insert(error);
            }
        }
        part.restart(progress).await?;
    }
    Err(first.unwrap_or_else(|| Error::NotFound(blob.digest.clone())))
}

/// Tries one place as often as it is worth it.
async fn persist(session: &Session, part: &mut Part<'_>, progress: &Progress) -> Result<(), Error> {
    let mut fruitless = 0;
    for _ in 0..MAX_ATTEMPTS {
        let before = part.written;
        let error = match part.receive(session, progress).await {
            Ok(()) => return part.verify().await,
            Err(error) => error,
        };
        fruitless = if part.written > before { 1 } else { fruitless + 1 };
        if !error.is_passing() || fruitless >= MAX_FRUITLESS {
            return Err(error);
        }
        tracing::debug!(blob = part.blob.digest, %error, "a transfer goes on after a pause");
        tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(fruitless)).await;
    }
    Err(Error::content(&part.blob.digest, format!("not complete after {MAX_ATTEMPTS} attempts")))
}

/// What has come of a blob.
struct Part<'a> {
    blob: &'a Descriptor,
    path: PathBuf,
    file: File,
    hash: Sha256,
    written: u64,
}

impl<'a> Part<'a> {
    async fn create(path: &Path, blob: &'a Descriptor) -> Result<Self, Error> {
        let file = File::create(path).await.map_err(Error::io(format!("creating {}", path.display())))?;
        Ok(Self { blob, path: path.to_path_buf(), file, hash: Sha256::new(), written: 0 })
    }

    /// Takes what is missing, as far as it comes.
    async fn receive(&mut self, session: &Session, progress: &Progress) -> Result<(), Error> {
        let digest = &self.blob.digest;
        let path = format!("blobs/{digest}");
        let ask = Ask { method: &Method::GET, path: &path, accept: "*/*", from: self.written };
        let response = session.ask(ask).await?;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if !range.starts_with(&format!("bytes {}-", self.written)) {
                return Err(Error::content(digest, "the registry goes on at another place than the one asked for"));
            }
        } else if self.written > 0 {
            self.restart(progress).await?;
        }
        let mut body = response.into_body();
        while let Some(bytes) = session.transport.next(&mut body, digest).await? {
            self.written += bytes.len() as u64;
            if self.written > self.blob.size {
                return Err(Error::content(digest, format!("more than the {} bytes declared", self.blob.size)));
            }
            self.hash.update(&bytes);
            self.file.write_all(&bytes).await.map_err(self.writing())?;
            progress.received(digest, self.written);
        }
        if self.written == self.blob.size {
            return Ok(());
        }
        let reason = format!("it ended after {} of {} bytes", self.written, self.blob.size);
        Err(Error::Transfer { what: digest.clone(), reason })
    }

    async fn verify(&mut self) -> Result<(), Error> {
        self.file.flush().await.map_err(self.writing())?;
        let actual = format!("sha256:{}", hex::encode(self.hash.finalize_reset()));
        if actual == self.blob.digest {
            return Ok(());
        }
        Err(Error::Digest { expected: self.blob.digest.clone(), actual })
    }

    async fn restart(&mut self, progress: &Progress) -> Result<(), Error> {
        let emptied = async {
            self.file.flush().await?;
            self.file.set_len(0).await?;
            self.file.rewind().await.map(drop)
        };
        emptied.await.map_err(self.writing())?;
        self.hash = Sha256::new();
        self.written = 0;
        progress.received(&self.blob.digest, 0);
        Ok(())
    }

    fn writing(&self) -> impl FnOnce(io::Error) -> Error {
        Error::io(format!("writing {}", self.path.display()))
    }
}
