//! ServiceAccount tokens bound to Pods: asked for once, kept until four fifths of their time have passed.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::Mutex;

use crate::{Error, spec};

/// Upstream's lifetime of a token for which none is asked.
const DEFAULT_LIFETIME_S: i64 = 3600;
/// A token is renewed after a day, however long it lives.
const LONGEST_USE: SignedDuration = SignedDuration::from_hours(24);
/// One whose renewal failed is tried again after this long, as long as it is good.
const RENEW_AGAIN: SignedDuration = SignedDuration::from_secs(60);
/// Tokens kept at most.
const KEPT: usize = 10_000;

/// Which token is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Request {
    namespace: String,
    service_account: String,
    pod: String,
    uid: String,
    audience: Option<String>,
    lifetime_s: i64,
}

impl Request {
    /// The token that `projection` asks for in `pod`.
    pub(super) fn of(pod: &Pod, projection: &ServiceAccountTokenProjection) -> Self {
        let account = spec::of(pod).service_account_name.clone().filter(|name| !name.is_empty());
        Self {
            namespace: spec::namespace(pod).to_owned(),
            service_account: account.unwrap_or_else(|| "default".to_owned()),
            pod: spec::name(pod).to_owned(),
            uid: spec::uid(pod).to_owned(),
            audience: projection.audience.clone().filter(|audience| !audience.is_empty()),
            lifetime_s: projection.expiration_seconds.unwrap_or(DEFAULT_LIFETIME_S),
        }
    }
}

/// A token. It has no `Debug`: it must not get into a log.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) value: String,
    pub(super) renew_at: Timestamp,
    until: Timestamp,
}

/// The tokens of this node's Pods.
pub(crate) struct Tokens {
    client: Client,
    kept: Mutex<HashMap<Request, Token>>,
}

impl Tokens {
    /// No tokens yet.
    pub(crate) fn new(client: &Client) -> Self {
        Self { client: client.clone(), kept: Mutex::default() }
    }

    /// The wanted token, kept or new. One that cannot be renewed now is used as long as it is good.
    pub(super) async fn token(&self, request: &Request) -> Result<Token, Error> {
        let now = sampan_clock::now();
        let kept = self.kept.lock().get(request).filter(|token| token.until > now).cloned();
        if let Some(token) = kept.as_ref().filter(|token| token.renew_at > now) {
            return Ok(token.clone());
        }
        let token = match (self.ask(request, now).await, kept) {
            (Ok(token), _) => token,
            (Err(error), Some(old)) => {
                tracing::warn!(pod = request.pod, namespace = request.namespace, %error, "a token is not renewed yet");
                let again = now.checked_add(RENEW_AGAIN).unwrap_or(old.until);
                return Ok(Token { renew_at: again.min(old.until), ..old });
            }
            (Err(error), None) => return Err(error),
        };
        let mut kept = self.kept.lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(request.clone(), token.clone());
        Ok(token)
    }

    /// Forgets the tokens of the Pod `uid`.
    pub(crate) fn forget(&self, uid: &str) {
        self.kept.lock().retain(|request, _| request.uid != uid);
    }

    async fn ask(&self, request: &Request, now: Timestamp) -> Result<Token, Error> {
        let body = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: request.audience.clone().map(|audience| vec![audience]),
                expiration_seconds: Some(request.lifetime_s),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(request.pod.clone()),
                    uid: Some(request.uid.clone()),
                }),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let api = Api::<ServiceAccount>::namespaced(self.client.clone(), &request.namespace);
        let answer = api.create_token_request(&request.service_account, &PostParams::default(), &body).await;
        let answer = answer.map_err(Error::api("failed to fetch token"))?;
        let status = answer.status.unwrap_or_default();
        let (Some(value), Some(until)) = (status.token, status.expiration_timestamp) else {
            return Err(Error::Missing("the API server gave no token".to_owned()));
        };
        let lifetime = until.0.duration_since(now).min(LONGEST_USE);
        let renew_at = now.checked_add(lifetime * 4 / 5).unwrap_or(now);
        Ok(Token { value, renew_at, until: until.0 })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_token_that_cannot_be_renewed_is_used_as_long_as_it_is_good() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        // Gives one token, and fails from then on.
        let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            let first = count.fetch_add(1, Ordering::SeqCst) == 0;
            let until = sampan_clock::now() + std::time::Duration::from_secs(600);
            let status = json!({"token": "first", "expirationTimestamp": until.to_string()});
            let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                "spec": {"audiences": []}, "status": status});
            async move {
                match first {
                    true => Ok(http::Response::new(kube::client::Body::from(token.to_string().into_bytes()))),
                    false => Err(std::io::Error::other("no API server here")),
                }
            }
        });
        let tokens = Tokens::new(&Client::new(service, "default"));
        let pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}})).unwrap();
        let request = Request::of(&pod, &ServiceAccountTokenProjection::default());
        let new = tokens.token(&request).await.unwrap();
        let due = |renew_at: Timestamp, until: Timestamp| {
            let mut kept = tokens.kept.lock();
            let token = kept.get_mut(&request).unwrap();
            (token.renew_at, token.until) = (renew_at, until);
        };
        let now = sampan_clock::now();
        due(now, new.until);
        let old = tokens.token(&request).await.unwrap();
        assert_eq!((old.value.as_str(), asked.load(Ordering::SeqCst)), ("first", 2));
        assert!(old.renew_at > now && old.renew_at < new.until, "{}", old.renew_at);
        due(now, now);
        assert!(tokens.token(&request).await.is_err());
    }
}
