//! Whether a token of a ServiceAccount is still good: what it names must be there, with the same UIDs.

use jiff::{SignedDuration, Timestamp};
use sampan_auth::token::{Bound, Verified};
use serde_json::Value;

use crate::registry::{Registry, metadata};

/// An object counts as there for this long after its deletion has begun.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);
const INVALIDATED: &str = "service account token has been invalidated";
/// Set on a Secret whose token is no longer to be believed.
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// Checks what `verified` names; `token` is the text itself. An error is for the caller's log, and for token reviews.
pub(super) fn check(registry: &Registry, token: &str, verified: &Verified, now: Timestamp) -> Result<(), String> {
    let Verified { namespace, service_account, .. } = verified;
    let look = |kind: &str, namespace: &str, name: &str| {
        let object = registry.peek("", kind, namespace, name)?;
        (!is_gone(&object, now)).then_some(object)
    };
    let name = &service_account.name;
    let account = registry.peek("", "ServiceAccount", namespace, name);
    let account = account.ok_or_else(|| format!("serviceaccounts {name:?} not found"))?;
    if is_gone(&account, now) {
        return Err(format!("service account {namespace}/{name} has been deleted"));
    }
    same("service account", &account, service_account, "claim")?;
    if let Some(secret) = &verified.secret {
        let found = look("Secret", namespace, &secret.name).ok_or(INVALIDATED)?;
        if verified.legacy {
            in_secret(&found, token, verified)?;
        } else {
            same("secret", &found, secret, "service account secret ref claim")?;
        }
    }
    match (&verified.pod, &verified.node) {
        (Some(pod), _) => {
            let found = look("Pod", namespace, &pod.name).ok_or(INVALIDATED)?;
            same("pod", &found, pod, "service account pod ref claim")
        }
        (None, Some(node)) => {
            let found = look("Node", "", &node.name).ok_or(INVALIDATED)?;
            same("node", &found, node, "service account node ref claim")
        }
        (None, None) => Ok(()),
    }
}

/// Whether an object's deletion began so long ago that it counts as done.
fn is_gone(object: &Value, now: Timestamp) -> bool {
    let deleted = object["metadata"]["deletionTimestamp"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
    deleted.is_some_and(|at| at < now - LEEWAY)
}

fn same(what: &str, found: &Value, bound: &Bound, claim: &str) -> Result<(), String> {
    let uid = metadata::text(found, "uid");
    if uid == bound.uid {
        return Ok(());
    }
    Err(format!("{what} UID ({uid}) does not match {claim} ({})", bound.uid))
}

/// A token that lies in a Secret is good as long as it does.
fn in_secret(secret: &Value, token: &str, verified: &Verified) -> Result<(), String> {
    use base64::Engine as _;
    let stored =
        secret["data"]["token"].as_str().and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    if stored.as_deref() != Some(token.as_bytes()) {
        return Err("service account token does not match server's copy".to_owned());
    }
    if secret["metadata"]["labels"][INVALID_SINCE].is_string() {
        return Err(format!(
            "the token in secret {0}/{1} for service account {0}/{2} has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '{INVALID_SINCE}' label from the secret to temporarily allow use of this token",
            verified.namespace,
            metadata::text(secret, "name"),
            verified.service_account.name
        ));
    }
    Ok(())
}
