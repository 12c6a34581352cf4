//! Service-account tokens: signed statements of who a Pod is, for whom, and until when.
//!
//! They are JWTs as upstream's: ES256 here, bound to an audience, an expiry and (usually) a Pod. Whether the objects a
//! token is bound to still exist is for the API server to look up: [`Verified`] names them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rcgen::KeyPair;
use serde::{Deserialize, Serialize};

use crate::{Error, Identity};

/// An object that a token names, by name and UID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// What a token is asked for.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Namespace of the ServiceAccount.
    pub namespace: String,
    /// The ServiceAccount.
    pub service_account: Bound,
    /// The Pod it is tied to.
    pub pod: Option<Bound>,
    /// The node that Pod runs on.
    pub node: Option<Bound>,
    /// For whom; the issuer itself when empty.
    pub audiences: Vec<String>,
    /// How long.
    pub life: SignedDuration,
}

/// A token whose signature, audience and time are right.
#[derive(Clone, Debug)]
pub struct Verified {
    /// `system:serviceaccount:<namespace>:<name>` and its groups.
    pub identity: Identity,
    /// Namespace of the ServiceAccount.
    pub namespace: String,
    /// The ServiceAccount, which must still exist with this UID.
    pub service_account: Bound,
    /// The Pod, which must still exist with this UID.
    pub pod: Option<Bound>,
    /// The audiences it was issued for.
    pub audiences: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Vec<String>,
    exp: i64,
    iat: i64,
    nbf: i64,
    jti: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

#[derive(Serialize, Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Bound,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<Bound>,
}

/// Signs and verifies the tokens of one cluster.
pub struct Tokens {
    issuer: String,
    key_id: String,
    signing: EncodingKey,
    verifying: DecodingKey,
}

impl Tokens {
    /// A new signing key, PEM.
    pub fn generate_key() -> Result<String, Error> {
        Ok(KeyPair::generate()?.serialize_pem())
    }

    /// The tokens of `issuer`, signed with the key that [`Tokens::generate_key`] made.
    pub fn load(issuer: &str, key_pem: &str) -> Result<Self, Error> {
        use base64::Engine as _;
        let key = KeyPair::from_pem(key_pem)?;
        let public = key.public_key_pem();
        let digest = ring::digest::digest(&ring::digest::SHA256, public.as_bytes());
        Ok(Self {
            issuer: issuer.to_owned(),
            key_id: base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest.as_ref()),
            signing: EncodingKey::from_ec_pem(key_pem.as_bytes()).map_err(|e| Error::Token(e.to_string()))?,
            verifying: DecodingKey::from_ec_pem(public.as_bytes()).map_err(|e| Error::Token(e.to_string()))?,
        })
    }

    /// The issuer, which is also the default audience.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs a token. `id` is its unique `jti`. Returns it with its expiry.
    pub fn sign(&self, grant: &Grant, id: &str, now: Timestamp) -> Result<(String, Timestamp), Error> {
        let expiry = now + grant.life;
        let aud = if grant.audiences.is_empty() { vec![self.issuer.clone()] } else { grant.audiences.clone() };
        let claims = Claims {
            iss: self.issuer.clone(),
            sub: format!("system:serviceaccount:{}:{}", grant.namespace, grant.service_account.name),
            aud,
            exp: expiry.as_second(),
            iat: now.as_second(),
            nbf: now.as_second(),
            jti: id.to_owned(),
            kubernetes: Kubernetes {
                namespace: grant.namespace.clone(),
                serviceaccount: grant.service_account.clone(),
                pod: grant.pod.clone(),
                node: grant.node.clone(),
            },
        };
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::ES256) };
        let token = jsonwebtoken::encode(&header, &claims, &self.signing).map_err(|e| Error::Token(e.to_string()))?;
        Ok((token, expiry))
    }

    /// Checks signature, issuer, time and that the token is meant for one of `audiences` (the issuer when empty).
    /// Only ES256 is accepted, whatever the token's header says.
    pub fn verify(&self, token: &str, audiences: &[String], now: Timestamp) -> Result<Verified, Error> {
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_issuer(&[&self.issuer]);
        if audiences.is_empty() {
            rules.set_audience(&[&self.issuer]);
        } else {
            rules.set_audience(audiences);
        }
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Time is checked below against the caller's clock, which tests hold.
        rules.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.verifying, &rules)
            .map_err(|e| Error::Token(e.to_string()))?
            .claims;
        if now.as_second() >= claims.exp {
            return Err(Error::Token("it has expired".to_owned()));
        }
        if now.as_second() + 60 < claims.nbf {
            return Err(Error::Token("it is not valid yet".to_owned()));
        }
        Ok(claims.verified())
    }
}

impl Claims {
    fn verified(self) -> Verified {
        let Kubernetes { namespace, serviceaccount, pod, node } = self.kubernetes;
        let mut extra = BTreeMap::new();
        let mut note = |key: &str, value: &str| {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        };
        note("credential-id", &format!("JTI={}", self.jti));
        for (kind, bound) in [("pod", &pod), ("node", &node)] {
            if let Some(bound) = bound {
                note(&format!("{kind}-name"), &bound.name);
                note(&format!("{kind}-uid"), &bound.uid);
            }
        }
        let identity = service_account(&namespace, &serviceaccount.name, &serviceaccount.uid);
        Verified {
            identity: Identity { extra, ..identity },
            namespace,
            service_account: serviceaccount,
            pod,
            audiences: self.aud,
        }
    }
}

/// The identity of a ServiceAccount.
pub fn service_account(namespace: &str, name: &str, uid: &str) -> Identity {
    Identity {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        uid: uid.to_owned(),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ],
        extra: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
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
            node: None,
            audiences: vec![],
            life: SignedDuration::from_hours(1),
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
}
