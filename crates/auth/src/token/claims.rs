//! What a token of a ServiceAccount says, and whose it is by that.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Error, Identity};

/// The issuer of the tokens that lie in Secrets, which no flag changes.
pub(super) const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";
/// Clocks differ: a token may be from this far in the future.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// An object that a token names, by name and UID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Its name.
    pub name: String,
    /// Its UID.
    #[serde(default)]
    pub uid: String,
}

/// What a token is asked for.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    /// Namespace of the ServiceAccount.
    pub namespace: String,
    /// The ServiceAccount.
    pub service_account: Bound,
    /// The Pod it is tied to.
    pub pod: Option<Bound>,
    /// The Secret it is tied to.
    pub secret: Option<Bound>,
    /// The node it is tied to, or that its Pod runs on.
    pub node: Option<Bound>,
    /// For whom; the issuer itself when empty.
    pub audiences: Vec<String>,
    /// How long.
    pub life: SignedDuration,
}

/// A token whose signature, audience and time are right. What it names must still exist, with the same UIDs: that is
/// for the API server to look up.
#[derive(Clone, Debug)]
pub struct Verified {
    /// `system:serviceaccount:<namespace>:<name>` and its groups.
    pub identity: Identity,
    /// Namespace of the ServiceAccount.
    pub namespace: String,
    /// The ServiceAccount.
    pub service_account: Bound,
    /// The Pod it is tied to.
    pub pod: Option<Bound>,
    /// The Secret it is tied to, or for a legacy token the one it lies in (by name alone).
    pub secret: Option<Bound>,
    /// The node it is tied to; with a Pod, just where that was.
    pub node: Option<Bound>,
    /// The audiences it was issued for.
    pub audiences: Vec<String>,
    /// Whether it lies in a Secret, and is valid as long as it does.
    pub legacy: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) aud: Vec<String>,
    pub(super) exp: i64,
    pub(super) iat: i64,
    pub(super) nbf: i64,
    #[serde(default)]
    pub(super) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(super) kubernetes: Kubernetes,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Kubernetes {
    namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<Bound>,
    serviceaccount: Bound,
}

impl Claims {
    pub(super) fn of(grant: &Grant, issuer: &str, id: &str, now: Timestamp) -> Self {
        Self {
            iss: issuer.to_owned(),
            sub: format!("system:serviceaccount:{}:{}", grant.namespace, grant.service_account.name),
            aud: if grant.audiences.is_empty() { vec![issuer.to_owned()] } else { grant.audiences.clone() },
            exp: (now + grant.life).as_second(),
            iat: now.as_second(),
            nbf: now.as_second(),
            jti: id.to_owned(),
            kubernetes: Kubernetes {
                namespace: grant.namespace.clone(),
                node: grant.node.clone(),
                pod: grant.pod.clone(),
                secret: grant.secret.clone(),
                serviceaccount: grant.service_account.clone(),
            },
        }
    }

    pub(super) fn check_time(&self, now: Timestamp) -> Result<(), Error> {
        let refuse = |why: &str| Err(Error::Token(format!("service account token {why}")));
        if now.as_second() >= self.exp {
            return refuse("has expired");
        }
        if (now + LEEWAY).as_second() < self.nbf {
            return refuse("is not valid yet");
        }
        Ok(())
    }

    pub(super) fn verified(self) -> Verified {
        let Kubernetes { namespace, node, pod, secret, serviceaccount } = self.kubernetes;
        let mut extra = BTreeMap::new();
        let mut note = |key: &str, value: &str| {
            if !value.is_empty() {
                extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
            }
        };
        if !self.jti.is_empty() {
            note("credential-id", &format!("JTI={}", self.jti));
        }
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
            secret,
            node,
            audiences: self.aud,
            legacy: false,
        }
    }
}

/// What a token says that lies in a Secret.
#[derive(Serialize, Deserialize)]
pub(super) struct LegacyClaims {
    pub(super) iss: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub(super) namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub(super) secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub(super) account: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub(super) uid: String,
    pub(super) sub: String,
}

impl LegacyClaims {
    pub(super) fn verified(self, audience: &str) -> Verified {
        Verified {
            identity: service_account(&self.namespace, &self.account, &self.uid),
            namespace: self.namespace,
            service_account: Bound { name: self.account, uid: self.uid },
            pod: None,
            secret: Some(Bound { name: self.secret, uid: String::new() }),
            node: None,
            audiences: vec![audience.to_owned()],
            legacy: true,
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
            crate::AUTHENTICATED.to_owned(),
        ],
        extra: BTreeMap::new(),
    }
}
