//! PodCertificateRequest: a kubelet asks a signer for a certificate of a Pod. Everything is said when it is made; the
//! signer answers once, through `status`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::subresources::{Gvk, status};
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, certificates, check, conditions, names, same, signer_name};

const GVK: Gvk = ("certificates.k8s.io", "v1", "PodCertificateRequest");

/// `podcertificaterequests.certificates.k8s.io`
pub static POD_CERTIFICATE_REQUEST: Kind = Kind {
    group: GVK.0,
    version: GVK.1,
    kind: GVK.2,
    plural: "podcertificaterequests",
    singular: "podcertificaterequest",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: Verbs::All,
    names: NameRule::Subdomain,
    subresources: &[status(GVK)],
    schema: "io.k8s.api.certificates.v1.PodCertificateRequest",
    storage: "podcertificaterequests",
    columns: &[
        cells::NAME,
        cells::text("PodName"),
        cells::text("ServiceAccountName"),
        cells::text("NodeName"),
        cells::text("SignerName"),
        cells::text("State"),
        cells::text("UnverifiedUserAnnotations"),
    ],
    rules: &RequestRules,
};

/// How a request ends; at most one of them is there.
const ENDS: &[&str] = &["Issued", "Denied", "Failed"];
const DEFAULT_SECONDS: i64 = 86_400;
/// An hour to 91 days; a day for the cluster's own signers.
const SECONDS: std::ops::RangeInclusive<i64> = 3600..=7_862_400;
const OWN_SECONDS: std::ops::RangeInclusive<i64> = 3600..=86_400;
const MAX_REQUEST_BYTES: usize = 10 * 1024;
const MAX_CHAIN_BYTES: usize = 100 * 1024;
/// A certificate is renewed no sooner after its beginning, and no later before its end.
const REFRESH_MARGIN: SignedDuration = SignedDuration::from_mins(10);
const MIN_LIFE: SignedDuration = SignedDuration::from_hours(1);

struct RequestRules;

impl Rules for RequestRules {
    fn default(&self, object: &mut Value) {
        fill::at(object, "/spec", |spec| fill::absent(spec, "maxExpirationSeconds", DEFAULT_SECONDS));
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "status");
    }

    fn prepare_status(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "spec");
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        check(object, |request| spec(&request.get("spec")))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |request| request.get("spec").immutable(&old["spec"]))
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |request| outcome(&request.get("status"), new, old))
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let field = |name, path| (name, read::text(object, path).to_owned());
        vec![
            field("spec.signerName", "/spec/signerName"),
            field("spec.podName", "/spec/podName"),
            field("spec.nodeName", "/spec/nodeName"),
        ]
    }

    fn selectable_names(&self) -> &'static [&'static str] {
        &["spec.signerName", "spec.podName", "spec.nodeName"]
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let text = |path| read::text(object, path).into();
        vec![
            cells::name(object),
            text("/spec/podName"),
            text("/spec/serviceAccountName"),
            text("/spec/nodeName"),
            text("/spec/signerName"),
            end(object).unwrap_or("Pending").into(),
            cells::labels(object, "/spec/unverifiedUserAnnotations"),
        ]
    }

    fn updates_say_version(&self) -> bool {
        true
    }
}

/// How a request has ended, if it has.
fn end(request: &Value) -> Option<&'static str> {
    let ends = |end: &&&str| {
        read::find(request, "/status/conditions", "type", end).is_some_and(|found| found["status"] == "True")
    };
    ENDS.iter().find(ends).copied()
}

fn spec(spec: &Cursor<'_>) {
    signer_name(&spec.get("signerName"));
    for (name, rule) in [
        ("podName", names::subdomain as fn(&str) -> Vec<String>),
        ("serviceAccountName", names::subdomain),
        ("nodeName", names::subdomain),
    ] {
        spec.get(name).must_follow(rule);
    }
    for name in ["podUID", "serviceAccountUID", "nodeUID"] {
        let uid = spec.get(name);
        if uid.must() && uid.text().len() > 128 {
            uid.too_long(128);
        }
    }
    let own = spec.get("signerName").text().starts_with("kubernetes.io/");
    let allowed = if own { OWN_SECONDS } else { SECONDS };
    let seconds = spec.get("maxExpirationSeconds");
    if seconds.int().is_none_or(|seconds| !allowed.contains(&seconds)) {
        seconds.invalid(format!("must be in the range [{}, {}]", allowed.start(), allowed.end()));
    }
    for (key, annotation) in spec.get("unverifiedUserAnnotations").entries() {
        if !key.contains('/') {
            annotation.invalid_as(key, "unverifiedUserAnnotations keys must be domain-prefixed");
        }
    }
    let request = spec.get("stubPKCS10Request");
    if request.text().len() > MAX_REQUEST_BYTES * 4 / 3 + 4 {
        request.too_long(MAX_REQUEST_BYTES);
    } else if request.must() {
        certificates::stub_request(&request);
    }
}

/// What a signer says; all of it at once, and for good.
fn outcome(status: &Cursor<'_>, new: &Value, old: &Value) {
    let before = status.fault_count();
    let all = status.get("conditions");
    for (count, condition) in all.items().enumerate() {
        let kind = condition.get("type");
        if !ENDS.contains(&kind.text()) {
            kind.not_supported(ENDS);
            continue;
        }
        if count > 0 {
            kind.invalid("There may be at most one condition with type \"Issued\", \"Denied\", or \"Failed\"");
        }
        condition.get("status").must_be_one_of(&["True"]);
    }
    conditions(&all);
    if status.fault_count() > before {
        return;
    }
    let unchanged = same(&new["status"], &old["status"]);
    match (end(old), end(new)) {
        (Some(_), _) if unchanged => {}
        (Some(_), _) => {
            status.invalid_as("<omitted>", "immutable after PodCertificateRequest is issued, denied, or failed")
        }
        (None, Some("Issued")) => issued(status, new),
        (None, Some(_)) => {
            let says_more = ["certificateChain", "notBefore", "beginRefreshAt", "notAfter"];
            if says_more.iter().any(|field| status.get(field).is_set()) {
                let why = "non-condition status fields must be empty when denying or failing the PodCertificateRequest";
                status.invalid_as("<omitted>", why);
            }
        }
        (None, None) if unchanged => {}
        (None, None) => {
            let why = "status is immutable unless transitioning to \"Issued\", \"Denied\", or \"Failed\"";
            status.invalid_as("<omitted>", why);
        }
    }
}

fn issued(status: &Cursor<'_>, new: &Value) {
    let chain = status.get("certificateChain");
    if chain.text().len() > MAX_CHAIN_BYTES {
        return chain.too_long(MAX_CHAIN_BYTES);
    }
    let stub = STANDARD.decode(read::text(new, "/spec/stubPKCS10Request")).unwrap_or_default();
    let Some((from, until)) = certificates::issued_chain(&chain, &stub) else { return };
    let moment = |name: &str, otherwise: &str| {
        let field = status.get(name);
        let parsed = field.text().parse::<Timestamp>().ok();
        if parsed.is_none() {
            field.required(otherwise);
        }
        parsed
    };
    let consistent = "must be present and consistent with the issued certificate";
    let not_before = moment("notBefore", consistent);
    let not_after = moment("notAfter", consistent);
    let refresh = moment("beginRefreshAt", "must be present and in the range [notbefore+10min, notafter-10min]");
    let (Some(not_before), Some(not_after), Some(refresh)) = (not_before, not_after, refresh) else { return };
    if not_before != from {
        return status.get("notBefore").invalid("must be set to the NotBefore time encoded in the leaf certificate");
    }
    if not_after != until {
        return status.get("notAfter").invalid("must be set to the NotAfter time encoded in the leaf certificate");
    }
    let (life, most) = (until.duration_since(from), read::int(new, "/spec/maxExpirationSeconds"));
    if life < MIN_LIFE {
        return chain.invalid_as(life.to_string(), "leaf certificate lifetime must be >= 1 hour");
    }
    if life > SignedDuration::from_secs(most) {
        let why = format!("leaf certificate lifetime must be <= spec.maxExpirationSeconds ({most})");
        return chain.invalid_as(life.to_string(), why);
    }
    if refresh < from + REFRESH_MARGIN {
        return status.get("beginRefreshAt").invalid("must be at least 10 minutes after status.notBefore");
    }
    if refresh > until - REFRESH_MARGIN {
        status.get("beginRefreshAt").invalid("must be at least 10 minutes before status.notAfter");
    }
}

#[cfg(test)]
mod tests {
    use super::POD_CERTIFICATE_REQUEST as REQUEST;
    use super::*;
    use crate::kinds::testing::{check, check_row, object};

    const SPEC: &str =
        "podName: p, podUID: '1', serviceAccountName: a, serviceAccountUID: '2', nodeName: n, nodeUID: '3'";

    #[track_caller]
    fn through_status(old: &str, new: &str, want: &[&str]) {
        let (old, new) = (object(old), object(new));
        let faults = REQUEST.rules.validate_status(&new, &old);
        assert_eq!(faults.iter().map(field::Error::to_string).collect::<Vec<_>>(), want);
    }

    fn condition(kind: &str) -> String {
        format!("{{type: {kind}, status: 'True', reason: R, lastTransitionTime: '2026-01-01T00:00:00Z'}}")
    }

    #[test]
    fn what_is_asked_for_must_make_sense() {
        check(
            &REQUEST,
            &format!(
                "{{spec: {{{SPEC}, signerName: kubernetes.io/x, maxExpirationSeconds: 86401, stubPKCS10Request: aGk=, \
                      unverifiedUserAnnotations: {{a: b}}}}}}"
            ),
            &[
                "spec.maxExpirationSeconds: Invalid value: 86401: must be in the range [3600, 86400]",
                "spec.unverifiedUserAnnotations[a]: Invalid value: \"a\": unverifiedUserAnnotations keys must be domain-prefixed",
                "spec.stubPKCS10Request: Invalid value: \"<value omitted>\": must be a valid PKCS#10 certificate signing request",
            ],
        );
    }

    #[test]
    fn a_signer_answers_once() {
        let with = |conditions: &str| format!("{{status: {{conditions: [{conditions}]}}}}");
        let denied = with(&condition("Denied"));
        through_status("{}", &denied, &[]);
        through_status(&denied, &denied, &[]);
        let final_ =
            "status: Invalid value: \"<omitted>\": immutable after PodCertificateRequest is issued, denied, or failed";
        through_status(&denied, &with(&condition("Failed")), &[final_]);
        through_status(&denied, "{}", &[final_]);
        through_status(
            "{}",
            "{status: {notAfter: '2026-01-01T00:00:00Z'}}",
            &[
                "status: Invalid value: \"<omitted>\": status is immutable unless transitioning to \"Issued\", \"Denied\", or \"Failed\"",
            ],
        );
        through_status(
            "{}",
            &with(&format!("{}, {}", condition("Issued"), condition("Denied"))),
            &[
                "status.conditions[1].type: Invalid value: \"Denied\": There may be at most one condition with type \"Issued\", \"Denied\", or \"Failed\"",
            ],
        );
        through_status(
            "{}",
            &with(&condition("Issued")),
            &[
                "status.certificateChain: Invalid value: null: issued certificate chain must contain at least one certificate",
            ],
        );
    }

    #[test]
    fn rows() {
        let row = format!("{{metadata: {{name: r}}, spec: {{{SPEC}, signerName: a.b/c}}}}");
        check_row(&REQUEST, &row, "r | p | a | n | a.b/c | Pending | <none>");
    }
}
