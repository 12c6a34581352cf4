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

    /// The wanted token, kept or new.
    pub(super) async fn token(&self, request: &Request) -> Result<Token, Error> {
        let now = sampan_clock::now();
        let kept = self.kept.lock().get(request).filter(|token| token.renew_at > now).cloned();
        if let Some(token) = kept {
            return Ok(token);
        }
        let token = self.ask(request, now).await?;
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
        Ok(Token { value, renew_at })
    }
}
