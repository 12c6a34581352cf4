//! One value sealed and opened: AES-GCM, in the form in which upstream's API server keeps it, so that either reads what
//! the other wrote.
//!
//! ```text
//! k8s:enc:aesgcm:v1:<key's name>:<nonce, 12 bytes><ciphertext><tag, 16 bytes>
//! ```
//! The store's key is authenticated with it: a value that was moved to another key does not open.

use bytes::Bytes;
use ring::aead::{AES_128_GCM, AES_256_GCM, LessSafeKey, UnboundKey};

use super::gcm;

/// What sealed values begin with.
const SCHEME: &[u8] = b"k8s:enc:";
const AES_GCM: &[u8] = b"k8s:enc:aesgcm:v1:";

/// A named key.
pub struct Key {
    header: Vec<u8>,
    key: LessSafeKey,
}

impl Key {
    /// AES-GCM with a secret of 16 or 32 bytes; `None` for any other length, or a name that is empty or has a colon.
    pub fn aes_gcm(name: &str, secret: &[u8]) -> Option<Self> {
        let algorithm = match secret.len() {
            16 => &AES_128_GCM,
            32 => &AES_256_GCM,
            _ => return None,
        };
        if name.is_empty() || name.contains(':') {
            return None;
        }
        let key = LessSafeKey::new(UnboundKey::new(algorithm, secret).ok()?);
        Some(Self { header: [AES_GCM, name.as_bytes(), b":"].concat(), key })
    }

    /// Whether a value says that this key sealed it.
    pub(super) fn sealed(&self, value: &[u8]) -> bool {
        value.starts_with(&self.header)
    }

    /// Seals `plain` for the place `at`. `None` if the system has no randomness.
    pub(super) fn seal(&self, at: &[u8], plain: &[u8]) -> Option<Bytes> {
        gcm::seal(&self.key, at, plain, &self.header)
    }

    /// Opens a value that [`Key::sealed`] says is this key's. `None` if it was changed, moved, or sealed by another key
    /// of this name.
    pub(super) fn open(&self, at: &[u8], value: &[u8]) -> Option<Bytes> {
        gcm::open(&self.key, at, &value[self.header.len()..])
    }
}

/// Whether a value says that some key sealed it.
pub(super) fn is_sealed(value: &[u8]) -> bool {
    value.starts_with(SCHEME)
}
