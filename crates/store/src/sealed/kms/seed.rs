//! What a plugin has sealed, opened: the seed from which each value gets a key of its own, so that no number of writes
//! wears it out; or, as older servers have it, the key itself.
//!
//! ```text
//! seed: <info, 32 bytes><nonce, 12 bytes><ciphertext><tag, 16 bytes>   key = HKDF-Expand(SHA-256, seed, info)
//! key:                  <nonce, 12 bytes><ciphertext><tag, 16 bytes>
//! ```

use bytes::Bytes;
use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::sealed::gcm;

/// Bytes of a seed, of a key, and of what makes one of the other.
pub(super) const SEED_BYTES: usize = 32;
/// `encrypted_dek_source_type` of seeds.
pub(super) const SEED_TYPE: i32 = 1;
const KEY_TYPE: i32 = 0;

/// An opened seed or key.
pub(super) enum Seed {
    Seed(Prk),
    Key(Box<LessSafeKey>),
}

impl Seed {
    /// What a plugin has opened; `None` if it is too short, or of a type that is not known.
    pub(super) fn of(source_type: i32, opened: &[u8]) -> Option<Self> {
        match source_type {
            SEED_TYPE if opened.len() >= SEED_BYTES => Some(Self::Seed(Prk::new_less_safe(HKDF_SHA256, opened))),
            KEY_TYPE => Some(Self::Key(Box::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, opened).ok()?)))),
            _ => None,
        }
    }

    /// Seals `plain` for the place `at`. `None` without randomness, or with a mere key, which only opens.
    pub(super) fn seal(&self, at: &[u8], plain: &[u8]) -> Option<Bytes> {
        let Self::Seed(seed) = self else { return None };
        let mut info = [0; SEED_BYTES];
        SystemRandom::new().fill(&mut info).ok()?;
        gcm::seal(&derived(seed, &info)?, at, plain, &info)
    }

    /// Opens what was sealed for the place `at`. `None` if it was changed, moved, or is another's.
    pub(super) fn open(&self, at: &[u8], data: &[u8]) -> Option<Bytes> {
        match self {
            Self::Key(key) => gcm::open(key, at, data),
            Self::Seed(seed) => {
                let (info, data) = data.split_first_chunk::<SEED_BYTES>()?;
                gcm::open(&derived(seed, info)?, at, data)
            }
        }
    }
}

fn derived(seed: &Prk, info: &[u8]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::from(seed.expand(&[info], &AES_256_GCM).ok()?)))
}

#[cfg(test)]
mod tests {
    use ring::aead::{Aad, NONCE_LEN, Nonce};

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn a_key_is_hkdf_s_first_bytes() {
        // RFC 5869, test case 1: its pseudorandom key, info, and the first 32 bytes of its output.
        let seed =
            Prk::new_less_safe(HKDF_SHA256, &bytes("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"));
        let key = bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
        let same = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
        let mut text = b"hidden".to_vec();
        let nonce = || Nonce::assume_unique_for_key([7; NONCE_LEN]);
        let derived = derived(&seed, &bytes("f0f1f2f3f4f5f6f7f8f9")).unwrap();
        derived.seal_in_place_append_tag(nonce(), Aad::from(b"at"), &mut text).unwrap();
        assert_eq!(same.open_in_place(nonce(), Aad::from(b"at"), &mut text).unwrap(), b"hidden");
    }

    #[test]
    fn what_is_sealed_opens_where_it_lies_and_nowhere_else() {
        let seed = Seed::of(SEED_TYPE, &[1; SEED_BYTES]).unwrap();
        let sealed = seed.seal(b"/here", b"hidden").unwrap();
        assert_eq!(sealed.len(), 32 + 12 + 6 + 16);
        assert_eq!(seed.open(b"/here", &sealed).unwrap(), "hidden");
        assert_eq!(seed.open(b"/there", &sealed), None);
        assert_eq!(Seed::of(SEED_TYPE, &[2; SEED_BYTES]).unwrap().open(b"/here", &sealed), None);
        assert_ne!(seed.seal(b"/here", b"hidden").unwrap()[..32], sealed[..32], "each has a key of its own");
        assert!(Seed::of(SEED_TYPE, &[1; 31]).is_none() && Seed::of(2, &[1; 32]).is_none());
        // As servers wrote before there were seeds.
        let key = Seed::of(KEY_TYPE, &[3; 32]).unwrap();
        let mut text = b"hidden".to_vec();
        let Seed::Key(inner) = &key else { panic!("a key") };
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        inner.seal_in_place_append_tag(nonce, Aad::from(b"/here"), &mut text).unwrap();
        assert_eq!(key.open(b"/here", &[&[0; NONCE_LEN][..], &text].concat()).unwrap(), "hidden");
    }
}
