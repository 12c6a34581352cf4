//! Tokens of users that somebody else signs: JSON Web Tokens of an OpenID Connect issuer. Pure; fetching an issuer's
//! keys is the API server's affair, and so is what its claims make of a user.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

/// Clocks differ: a token may be from this far in the future, as upstream has it.
const NOT_BEFORE_LEEWAY: SignedDuration = SignedDuration::from_mins(5);
/// An issuer has no more keys at a time.
const MAX_KEYS: usize = 128;

/// The algorithms that may be asked for. None of them lets a public key pass for a shared secret.
pub const ALGORITHMS: [&str; 8] = ["RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "PS384", "PS512"];

/// What a token must be.
#[derive(Clone, Debug)]
pub struct Rules {
    /// By whom.
    pub issuer: String,
    /// For one of these.
    pub audiences: Vec<String>,
    /// Signed by one of these, of [`ALGORITHMS`].
    pub algorithms: Vec<String>,
}

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No key of the set signed it: the issuer may have new ones.
    UnknownKey,
    /// Anything else.
    Invalid(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey => f.write_str("failed to verify signature: no key of the issuer verifies it"),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

/// The keys of an issuer.
pub struct KeySet(Vec<Key>);

struct Key {
    id: Option<String>,
    algorithm: Option<String>,
    key: DecodingKey,
}

impl KeySet {
    /// Reads a JSON Web Key Set. Keys of kinds that are not known here are passed over: issuers have those too.
    ///
    /// # Errors
    /// The document is none; the text says so.
    pub fn parse(document: &Value) -> Result<Self, String> {
        let keys = document["keys"].as_array().ok_or("it has no keys")?;
        Ok(Self(keys.iter().take(MAX_KEYS).filter_map(key).collect()))
    }

    /// The claims of a token that meets the rules.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn verify(&self, token: &str, rules: &Rules, now: Timestamp) -> Result<Value, Refusal> {
        let claims = self.signed(token, rules)?;
        check(&claims, rules, now).map_err(Refusal::Invalid)?;
        Ok(claims)
    }

    fn signed(&self, token: &str, rules: &Rules) -> Result<Value, Refusal> {
        let malformed = |error: jsonwebtoken::errors::Error| Refusal::Invalid(format!("malformed jwt: {error}"));
        let header = jsonwebtoken::decode_header(token).map_err(malformed)?;
        let algorithm = name(header.alg);
        if !ALGORITHMS.contains(&algorithm.as_str()) || !rules.algorithms.contains(&algorithm) {
            let why = format!(
                "id token signed with unsupported algorithm, expected {:?} got {algorithm:?}",
                rules.algorithms
            );
            return Err(Refusal::Invalid(why));
        }
        let mut validation = Validation::new(header.alg);
        validation.required_spec_claims.clear();
        // Audience and time are checked by the caller's clock, which tests hold.
        (validation.validate_aud, validation.validate_exp) = (false, false);
        let fits = |key: &&Key| {
            header.kid.as_ref().is_none_or(|id| key.id.as_ref() == Some(id))
                && key.algorithm.as_ref().is_none_or(|own| *own == algorithm)
        };
        let mut verified = self.0.iter().filter(fits).map(|key| jsonwebtoken::decode(token, &key.key, &validation));
        verified.find_map(Result::ok).map(|decoded| decoded.claims).ok_or(Refusal::UnknownKey)
    }
}

fn key(value: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = value["alg"].as_str().map(str::to_owned);
    Some(Key { id: jwk.common.key_id.clone(), algorithm, key: DecodingKey::from_jwk(&jwk).ok()? })
}

fn name(algorithm: Algorithm) -> String {
    format!("{algorithm:?}")
}

fn check(claims: &Value, rules: &Rules, now: Timestamp) -> Result<(), String> {
    let issuer = claims["iss"].as_str().unwrap_or_default();
    if issuer != rules.issuer {
        return Err(format!("id token issued by a different provider, expected {:?} got {issuer:?}", rules.issuer));
    }
    let audiences: Vec<&str> = match &claims["aud"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !audiences.iter().any(|audience| rules.audiences.iter().any(|wanted| wanted == audience)) {
        return Err(format!("expected audience in {:?} got {audiences:?}", rules.audiences));
    }
    let expiry = seconds(&claims["exp"]).ok_or("token has no expiry")?;
    if now.as_second() >= expiry {
        return Err(format!("token is expired (Token Expiry: {})", moment(expiry)));
    }
    match seconds(&claims["nbf"]) {
        Some(begin) if (now + NOT_BEFORE_LEEWAY).as_second() < begin => {
            Err(format!("current time {now} before the nbf (not before) time: {}", moment(begin)))
        }
        _ => Ok(()),
    }
}

/// A moment in seconds; some issuers give fractions.
fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}

fn moment(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use rcgen::KeyPair;
    use serde_json::json;

    use super::*;
    use crate::token::Tokens;

    /// An issuer with one key of the name `id`.
    struct Issuer {
        signing: EncodingKey,
        keys: Value,
    }

    fn issuer() -> Issuer {
        let pem = KeyPair::generate().unwrap().serialize_pem();
        let keys = Tokens::load("https://issuer", &pem).unwrap().key_set();
        Issuer { signing: EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(), keys }
    }

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn rules() -> Rules {
        Rules {
            issuer: "https://issuer".to_owned(),
            audiences: vec!["kubernetes".to_owned()],
            algorithms: vec!["RS256".to_owned(), "ES256".to_owned()],
        }
    }

    fn claims(changes: Value) -> Value {
        let at = now().as_second();
        let mut claims = json!({ "iss": "https://issuer", "aud": "kubernetes", "exp": at + 60, "sub": "ann" });
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    fn sign(issuer: &Issuer, id: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &issuer.signing).unwrap()
    }

    #[track_caller]
    fn check(changes: Value, want: Result<(), &str>) {
        let issuer = issuer();
        let token = sign(&issuer, None, &claims(changes));
        let got = KeySet::parse(&issuer.keys).unwrap().verify(&token, &rules(), now()).map(drop);
        assert_eq!(got, want.map_err(|why| Refusal::Invalid(why.to_owned())));
    }

    #[test]
    fn claims_meet_the_rules() {
        let at = now().as_second();
        check(json!({}), Ok(()));
        check(json!({ "aud": ["other", "kubernetes"] }), Ok(()));
        check(json!({ "exp": at as f64 + 0.5 }), Err("token is expired (Token Expiry: 2026-01-01T00:00:00Z)"));
        check(json!({ "exp": null }), Err("token has no expiry"));
        check(json!({ "nbf": at + 299 }), Ok(()));
        let early = "current time 2026-01-01T00:00:00Z before the nbf (not before) time: 2026-01-01T00:05:01Z";
        check(json!({ "nbf": at + 301 }), Err(early));
        check(json!({ "aud": "other" }), Err("expected audience in [\"kubernetes\"] got [\"other\"]"));
        check(json!({ "aud": null }), Err("expected audience in [\"kubernetes\"] got []"));
        let other = "id token issued by a different provider, expected \"https://issuer\" got \"https://other\"";
        check(json!({ "iss": "https://other" }), Err(other));
    }

    #[test]
    fn only_the_issuer_s_own_keys_sign() {
        let (ours, theirs) = (issuer(), issuer());
        let keys = KeySet::parse(&ours.keys).unwrap();
        let id = ours.keys["keys"][0]["kid"].as_str();
        assert!(keys.verify(&sign(&ours, id, &claims(json!({}))), &rules(), now()).is_ok());
        for token in [sign(&theirs, None, &claims(json!({}))), sign(&ours, Some("other"), &claims(json!({})))] {
            assert_eq!(keys.verify(&token, &rules(), now()), Err(Refusal::UnknownKey));
        }
        let rs256 = Rules { algorithms: vec!["RS256".to_owned()], ..rules() };
        assert!(matches!(keys.verify(&sign(&ours, id, &claims(json!({}))), &rs256, now()), Err(Refusal::Invalid(_))));
    }

    #[test]
    fn no_algorithm_takes_a_public_key_for_a_secret() {
        let ours = issuer();
        let keys = KeySet::parse(&ours.keys).unwrap();
        let good = sign(&ours, None, &claims(json!({})));
        // {"alg":"none","typ":"JWT"}
        let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", good.split('.').nth(1).unwrap());
        let secret = EncodingKey::from_secret(ours.keys["keys"][0]["x"].as_str().unwrap().as_bytes());
        let hs256 = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(json!({})), &secret).unwrap();
        let careless = Rules { algorithms: vec!["HS256".to_owned(), "none".to_owned()], ..rules() };
        for token in [none, hs256] {
            assert!(matches!(keys.verify(&token, &careless, now()), Err(Refusal::Invalid(_))));
        }
    }

    #[test]
    fn other_keys_of_a_set_are_passed_over() {
        let mut keys = issuer().keys;
        let own = keys["keys"][0].clone();
        let mut encrypting = own.clone();
        encrypting["use"] = "enc".into();
        keys["keys"] = json!([{ "kty": "oct", "k": "AAAA" }, { "kty": "new" }, encrypting, own]);
        let ids: Vec<_> = KeySet::parse(&keys).unwrap().0.into_iter().map(|key| key.id).collect();
        assert!(ids.contains(&own_id(&keys)) && ids.len() <= 2, "{ids:?}");
        assert!(KeySet::parse(&json!({})).is_err());
    }

    fn own_id(keys: &Value) -> Option<String> {
        keys["keys"][3]["kid"].as_str().map(str::to_owned)
    }
}
