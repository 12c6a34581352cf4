//! Service-account tokens: signed statements of who a Pod is, for whom, and until when.
//!
//! They are JWTs as upstream's: ES256 here, bound to an audience, an expiry and (usually) a Pod. Whether the objects a
//! token is bound to still exist is for the API server to look up: [`Verified`] names them. Start at [`Tokens`].

mod claims;
mod keys;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, Validation};
use rcgen::KeyPair;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use self::claims::{Bound, Grant, Verified, service_account};
use self::claims::{Claims, LEGACY_ISSUER, LegacyClaims};
use self::keys::Verifying;
use crate::Error;

/// Signs and verifies the tokens of one cluster.
pub struct Tokens {
    issuer: String,
    signing: EncodingKey,
    /// The first belongs to the signing key.
    verifying: Vec<Verifying>,
}

impl Tokens {
    /// A new signing key, PEM.
    pub fn generate_key() -> Result<String, Error> {
        Ok(KeyPair::generate()?.serialize_pem())
    }

    /// The tokens of `issuer`, signed with the key that [`Tokens::generate_key`] made.
    pub fn load(issuer: &str, key_pem: &str) -> Result<Self, Error> {
        let signing = EncodingKey::from_ec_pem(key_pem.as_bytes()).map_err(|e| Error::Token(e.to_string()))?;
        Ok(Self { issuer: issuer.to_owned(), signing, verifying: vec![Verifying::from_pem(key_pem)?] })
    }

    /// Believes tokens of this key as well, private or public: one that signed before.
    pub fn also_believe(&mut self, key_pem: &str) -> Result<(), Error> {
        self.verifying.push(Verifying::from_pem(key_pem)?);
        Ok(())
    }

    /// The issuer, which is also the default audience.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs a token. `id` is its unique `jti`. Returns it with its expiry.
    pub fn sign(&self, grant: &Grant, id: &str, now: Timestamp) -> Result<(String, Timestamp), Error> {
        Ok((self.encode(&Claims::of(grant, &self.issuer, id, now))?, now + grant.life))
    }

    /// The token that lies in the Secret `secret`, and is valid as long as it does.
    pub fn sign_legacy(&self, namespace: &str, account: &Bound, secret: &str) -> Result<String, Error> {
        self.encode(&LegacyClaims {
            iss: LEGACY_ISSUER.to_owned(),
            namespace: namespace.to_owned(),
            secret: secret.to_owned(),
            account: account.name.clone(),
            uid: account.uid.clone(),
            sub: format!("system:serviceaccount:{namespace}:{}", account.name),
        })
    }

    fn encode(&self, claims: &impl Serialize) -> Result<String, Error> {
        let header = Header { kid: Some(self.verifying[0].id.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.signing).map_err(|e| Error::Token(e.to_string()))
    }

    /// Whether a token says that it comes from here, which [`Tokens::verify`] then finds to be true or not.
    pub fn claims_to_be_ours(&self, token: &str) -> bool {
        issuer_of(token).is_some_and(|issuer| issuer == self.issuer || issuer == LEGACY_ISSUER)
    }

    /// Checks signature, issuer, time and that the token is meant for one of `audiences` (the issuer when empty).
    /// Only ES256 is accepted, whatever the token's header says.
    pub fn verify(&self, token: &str, audiences: &[String], now: Timestamp) -> Result<Verified, Error> {
        let own = std::slice::from_ref(&self.issuer);
        let wanted = if audiences.is_empty() { own } else { audiences };
        let verified = if issuer_of(token).as_deref() == Some(LEGACY_ISSUER) {
            self.decode::<LegacyClaims>(token, LEGACY_ISSUER)?.verified(&self.issuer)
        } else {
            let claims = self.decode::<Claims>(token, &self.issuer)?;
            claims.check_time(now)?;
            claims.verified()
        };
        if !verified.audiences.iter().any(|audience| wanted.contains(audience)) {
            let why =
                format!("token audiences {:?} is invalid for the target audiences {wanted:?}", verified.audiences);
            return Err(Error::Token(why));
        }
        Ok(verified)
    }

    fn decode<C: DeserializeOwned>(&self, token: &str, issuer: &str) -> Result<C, Error> {
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_issuer(&[issuer]);
        rules.set_required_spec_claims(&["iss", "sub"]);
        // Audience and time are checked by the caller, against the caller's clock, which tests hold.
        rules.validate_aud = false;
        rules.validate_exp = false;
        let id = jsonwebtoken::decode_header(token).map_err(|e| Error::Token(e.to_string()))?.kid;
        let mut why = Error::Token("no key verifies it".to_owned());
        for key in self.verifying.iter().filter(|key| id.as_ref().is_none_or(|id| *id == key.id)) {
            match jsonwebtoken::decode::<C>(token, &key.key, &rules) {
                Ok(decoded) => return Ok(decoded.claims),
                Err(error) => why = Error::Token(error.to_string()),
            }
        }
        Err(why)
    }

    /// What others need to verify the tokens: the discovery document of OpenID Connect; `jwks_uri` is where
    /// [`Tokens::key_set`] is served.
    pub fn discovery(&self, jwks_uri: &str) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// The verifying keys as a JSON Web Key Set.
    pub fn key_set(&self) -> Value {
        json!({ "keys": self.verifying.iter().map(Verifying::jwk).collect::<Vec<_>>() })
    }
}

/// The issuer that a token names, unverified.
pub fn issuer_of(token: &str) -> Option<String> {
    use base64::Engine as _;
    let payload = token.split('.').nth(1)?;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    claims["iss"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn tokens() -> Tokens {
        Tokens::load("https://issuer", &Tokens::generate_key().unwrap()).unwrap()
    }

    fn grant() -> Grant {
        let bound = |name: &str| Bound { name: name.to_owned(), uid: format!("{name}-uid") };
        Grant {
            namespace: "ns".to_owned(),
            service_account: bound("sa"),
            pod: Some(bound("pod")),
            life: SignedDuration::from_hours(1),
            ..Grant::default()
        }
    }

    #[test]
    fn a_token_says_who_it_is_for_whom_and_until_when() {
        let tokens = tokens();
        let (token, expiry) = tokens.sign(&grant(), "id", now()).unwrap();
        let verified = tokens.verify(&token, &[], now()).unwrap();
        assert_eq!(verified.identity.name, "system:serviceaccount:ns:sa");
        assert_eq!(verified.pod.unwrap().uid, "pod-uid");
        assert!(tokens.verify(&token, &["other".to_owned()], now()).is_err(), "another audience");
        assert!(tokens.verify(&token, &[], expiry).is_err(), "expired");
    }

    #[test]
    fn other_keys_and_algorithms_are_refused() {
        let (ours, theirs) = (tokens(), tokens());
        let (token, _) = theirs.sign(&grant(), "id", now()).unwrap();
        assert!(ours.verify(&token, &[], now()).is_err(), "another key");
        let payload = token.split('.').nth(1).unwrap();
        // {"alg":"none","typ":"JWT"}
        let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.");
        assert!(theirs.verify(&none, &[], now()).is_err(), "alg=none");
        let claims = serde_json::json!({"iss": "https://issuer", "sub": "x", "aud": ["https://issuer"],
            "exp": 9_999_999_999_i64, "iat": 0, "nbf": 0, "jti": "", "kubernetes.io":
            {"namespace": "ns", "serviceaccount": {"name": "sa", "uid": "u"}}});
        let secret = EncodingKey::from_secret(b"the public key");
        let forged = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &secret).unwrap();
        assert!(theirs.verify(&forged, &[], now()).is_err(), "HS256");
    }

    #[test]
    fn a_key_that_signed_before_is_still_believed() {
        let old_key = Tokens::generate_key().unwrap();
        let (token, _) = Tokens::load("https://issuer", &old_key).unwrap().sign(&grant(), "id", now()).unwrap();
        let mut tokens = tokens();
        assert!(tokens.verify(&token, &[], now()).is_err());
        tokens.also_believe(&old_key).unwrap();
        assert!(tokens.verify(&token, &[], now()).is_ok());
        let keys = tokens.key_set();
        assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(keys["keys"][1]["kid"].as_str(), header.kid.as_deref());
    }

    #[test]
    fn a_token_in_a_secret_names_it_and_does_not_end() {
        let tokens = tokens();
        let account = Bound { name: "sa".to_owned(), uid: "u".to_owned() };
        let token = tokens.sign_legacy("ns", &account, "sa-token").unwrap();
        let verified = tokens.verify(&token, &[], now() + SignedDuration::from_hours(99_999)).unwrap();
        assert!(verified.legacy);
        assert_eq!((verified.secret.unwrap().name.as_str(), verified.identity.uid.as_str()), ("sa-token", "u"));
        assert!(tokens.verify(&token, &["other".to_owned()], now()).is_err(), "another audience");
    }
}
