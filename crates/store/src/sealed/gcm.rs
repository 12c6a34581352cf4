//! AES-GCM as all values are sealed: `<nonce, 12 bytes><ciphertext><tag, 16 bytes>`, bound to the place where they lie.

use bytes::Bytes;
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use ring::rand::{SecureRandom as _, SystemRandom};

/// `head`, and behind it `plain` sealed for the place `at`. `None` if the system has no randomness.
pub(super) fn seal(key: &LessSafeKey, at: &[u8], plain: &[u8], head: &[u8]) -> Option<Bytes> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).ok()?;
    let mut text = plain.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(at), &mut text).ok()?;
    Some([head, &nonce, &text].concat().into())
}

/// What was sealed for the place `at`. `None` if it was changed, moved, or is another key's.
pub(super) fn open(key: &LessSafeKey, at: &[u8], sealed: &[u8]) -> Option<Bytes> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut text = text.to_vec();
    let length = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(at), &mut text).ok()?.len();
    text.truncate(length);
    Some(text.into())
}
