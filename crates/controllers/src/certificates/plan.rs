//! What a certificate request needs next.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};

/// The signer whose requests are approved without a person.
pub(super) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// The signers whose certificates come from the cluster's own authority.
const BUILT_IN: [&str; 4] = [
    "kubernetes.io/kube-apiserver-client",
    KUBELET_CLIENT,
    "kubernetes.io/kubelet-serving",
    "kubernetes.io/legacy-unknown",
];
/// How long a request is kept that nobody decides,
const UNDECIDED: SignedDuration = SignedDuration::from_hours(24);
/// and one that is decided.
const DECIDED: SignedDuration = SignedDuration::from_hours(1);

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is old: away with it.
    Delete,
    /// See whether whoever asks may have it without a person's word. Then wait this long at most.
    Approve(Duration),
    /// Sign it.
    Sign,
    /// A signer outside has it, and takes the time it takes.
    Nothing,
    /// Nothing for this long.
    Wait(Duration),
}

pub(super) fn next(request: &CertificateSigningRequest, now: Timestamp) -> Next {
    let conditions = request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    let issued = certificate.is_some_and(|certificate| !certificate.0.is_empty());
    let condition = |kind: &str| conditions.iter().find(|one| one.type_ == kind);
    let approved = condition("Approved");
    let ended = condition("Failed").or(condition("Denied"));
    if let (Some(_), None, false) = (approved, ended, issued) {
        let ours = BUILT_IN.contains(&request.spec.signer_name.as_str());
        return if ours { Next::Sign } else { Next::Nothing };
    }
    let (since, keep) = match ended.or(approved) {
        Some(condition) => (at(condition), DECIDED),
        None => (None, UNDECIDED),
    };
    let since = since.or(request.metadata.creation_timestamp.as_ref().map(|time| time.0)).unwrap_or(now);
    let left = Duration::try_from(since + keep - now).unwrap_or_default();
    match (left.is_zero(), conditions.is_empty() && request.spec.signer_name == KUBELET_CLIENT) {
        (true, _) => Next::Delete,
        (false, true) => Next::Approve(left),
        (false, false) => Next::Wait(left),
    }
}

fn at(condition: &CertificateSigningRequestCondition) -> Option<Timestamp> {
    condition.last_update_time.as_ref().map(|time| time.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(signer: &str, status: &Value, hours: i64, want: fn(Next) -> bool) {
        let request = json!({
            "metadata": {"name": "r", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"signerName": signer, "request": ""}, "status": status,
        });
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let got = next(&serde_json::from_value(request).unwrap(), now + SignedDuration::from_hours(hours));
        assert!(want(got), "{got:?}");
    }

    #[test]
    fn requests_are_approved_signed_and_forgotten() {
        let condition = |kind: &str| json!({"type": kind, "status": "True", "lastUpdateTime": "2026-01-01T00:00:00Z"});
        let with = |kinds: &[&str]| json!({"conditions": kinds.iter().map(|kind| condition(kind)).collect::<Vec<_>>()});
        let client = "kubernetes.io/kube-apiserver-client";
        check(KUBELET_CLIENT, &json!({}), 0, |next| matches!(next, Next::Approve(_)));
        check(client, &json!({}), 0, |next| matches!(next, Next::Wait(_)));
        check(client, &json!({}), 24, |next| next == Next::Delete);
        check(client, &with(&["Approved"]), 0, |next| next == Next::Sign);
        check("example.com/own", &with(&["Approved"]), 99, |next| next == Next::Nothing);
        check(client, &with(&["Approved", "Failed"]), 0, |next| matches!(next, Next::Wait(_)));
        check(client, &with(&["Denied"]), 1, |next| next == Next::Delete);
        let mut issued = with(&["Approved"]);
        issued["certificate"] = "YQ==".into();
        check(client, &issued, 0, |next| matches!(next, Next::Wait(_)));
        check(client, &issued, 1, |next| next == Next::Delete);
    }
}
