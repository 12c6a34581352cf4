//! Digests in their written form, and a reader that makes one on the way.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// `sha256:<hex>` of `bytes`.
pub(super) fn of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Passes bytes through and remembers their digest; fails when there are more than `limit_bytes`.
pub(super) struct Digesting<R> {
    inner: R,
    hash: Sha256,
    left_bytes: u64,
}

impl<R: Read> Digesting<R> {
    pub(super) fn new(inner: R, limit_bytes: u64) -> Self {
        Self { inner, hash: Sha256::new(), left_bytes: limit_bytes }
    }

    /// Reads what is left and returns the digest of everything.
    pub(super) fn finish(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(format!("sha256:{}", hex::encode(self.hash.finalize())))
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        let Some(left) = self.left_bytes.checked_sub(length as u64) else {
            return Err(io::Error::other("more data than an image may have"));
        };
        self.left_bytes = left;
        self.hash.update(&buffer[..length]);
        Ok(length)
    }
}
