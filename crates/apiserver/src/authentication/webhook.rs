//! The webhook that is asked whose a token is: a `TokenReview` for each that nobody else knows, remembered for a while.
//! What is remembered is a digest of the token, never the token.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sampan_auth::Identity;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::TokenWebhookOptions;
use crate::kubeconfig::Remote;
use crate::webhook::{Remembered, Services};

/// Time for one answer.
const PATIENCE: Duration = Duration::from_secs(30);

type Answer = Result<(Identity, Vec<String>), String>;

/// The webhook.
pub(super) struct TokenWebhook {
    remote: Remote,
    answers: Remembered<[u8; 32], Answer>,
    ttl: Duration,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Review {
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    authenticated: bool,
    error: String,
    audiences: Vec<String>,
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl TokenWebhook {
    pub(super) fn new(options: &TokenWebhookOptions, services: &Arc<Services>) -> Result<Self, String> {
        let remote = Remote::new(&options.kubeconfig, services)?;
        Ok(Self { remote, answers: Remembered::default(), ttl: options.cache_ttl })
    }

    /// Whose token it is, and for which of `audiences` it is meant.
    pub(super) async fn identity(&self, token: &str, audiences: &[String]) -> Answer {
        let key = digest(token, audiences);
        if let Some(answer) = self.answers.get(&key) {
            return answer;
        }
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": { "token": token, "audiences": audiences },
        });
        let answer = self.remote.ask(&review, PATIENCE).await.map_err(|error| {
            tracing::warn!(%error, "the webhook for tokens does not answer");
            "the webhook for tokens does not answer".to_owned()
        })?;
        let answer = read(serde_json::from_value(answer).unwrap_or_default(), audiences);
        self.answers.put(key, answer.clone(), self.ttl);
        answer
    }
}

/// What the answer says.
fn read(Review { status }: Review, audiences: &[String]) -> Answer {
    if !status.authenticated {
        return Err(if status.error.is_empty() { "invalid bearer token".to_owned() } else { status.error });
    }
    // Webhooks that know nothing of audiences say none; their tokens are meant for this server.
    let mut meant = if status.audiences.is_empty() { audiences.to_vec() } else { status.audiences };
    meant.retain(|audience| audiences.contains(audience));
    if meant.is_empty() {
        return Err("invalid bearer token, the webhook says it is meant for others".to_owned());
    }
    let User { username, uid, groups, extra } = status.user;
    if username.is_empty() {
        return Err("invalid bearer token, the webhook names nobody".to_owned());
    }
    let extra = extra.into_iter().map(|(key, values)| (key.to_lowercase(), values)).collect();
    Ok((Identity { name: username, uid, groups, extra }, meant))
}

fn digest(token: &str, audiences: &[String]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in audiences.iter().map(String::as_str).chain([token]) {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[track_caller]
    fn check(status: Value, want: Result<&str, &str>) {
        let review = serde_json::from_value(json!({ "kind": "TokenReview", "status": status })).unwrap();
        let got = read(review, &["us".to_owned(), "them".to_owned()]);
        let got = got.map(|(who, meant)| format!("{} {:?} {:?} {meant:?}", who.name, who.groups, who.extra));
        assert_eq!(got.as_deref().map_err(String::as_str), want);
    }

    #[test]
    fn answers() {
        let user = json!({ "username": "ann", "groups": ["g"], "extra": { "Team": ["blue"] } });
        let yes = |more: Value| {
            let mut status = json!({ "authenticated": true, "user": user });
            status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            status
        };
        check(yes(json!({})), Ok(r#"ann ["g"] {"team": ["blue"]} ["us", "them"]"#));
        check(yes(json!({ "audiences": ["us", "x"] })), Ok(r#"ann ["g"] {"team": ["blue"]} ["us"]"#));
        let others = Err("invalid bearer token, the webhook says it is meant for others");
        check(yes(json!({ "audiences": ["x"] })), others);
        check(yes(json!({ "user": {} })), Err("invalid bearer token, the webhook names nobody"));
        check(json!({ "authenticated": false, "error": "it is revoked" }), Err("it is revoked"));
        check(json!({}), Err("invalid bearer token"));
    }

    #[test]
    fn digests_tell_audiences_apart() {
        let of = |audiences: &[&str]| digest("t", &audiences.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
        assert_ne!(of(&["a", "b"]), of(&["ab"]));
        assert_eq!(of(&["a"]), of(&["a"]));
    }
}
