//! The keys behind tokens: one signs, several verify, so that it can be changed while tokens of the one before live.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::Error;

/// A P-256 key that verifies.
pub(super) struct Verifying {
    /// Its name in a token's header, as upstream computes it: the SHA-256 of its DER.
    pub(super) id: String,
    pub(super) key: DecodingKey,
    x: String,
    y: String,
}

impl Verifying {
    /// Of a private or a public key, PEM.
    pub(super) fn from_pem(pem: &str) -> Result<Self, Error> {
        let public =
            if pem.contains("PRIVATE KEY") { KeyPair::from_pem(pem)?.subject_public_key_info() } else { der(pem)? };
        Self::from_der(&public)
    }

    fn from_der(der: &[u8]) -> Result<Self, Error> {
        let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|e| Error::Token(e.to_string()))?;
        // An uncompressed point: 4, x, y.
        let point: &[u8] = &info.subject_public_key.data;
        let (Some(4), 65) = (point.first(), point.len()) else {
            return Err(Error::Token("a key for tokens must be ECDSA P-256".to_owned()));
        };
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let digest = ring::digest::digest(&ring::digest::SHA256, der);
        let key = DecodingKey::from_ec_components(&x, &y).map_err(|e| Error::Token(e.to_string()))?;
        Ok(Self { id: URL_SAFE_NO_PAD.encode(digest.as_ref()), key, x, y })
    }

    /// The key as a JSON Web Key.
    pub(super) fn jwk(&self) -> Value {
        json!({ "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256", "x": self.x, "y": self.y })
    }
}

fn der(pem: &str) -> Result<Vec<u8>, Error> {
    pem::parse(pem).map(pem::Pem::into_contents).map_err(|e| Error::Token(e.to_string()))
}
