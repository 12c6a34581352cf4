//! CertificateSigningRequest: someone asks a signer for a certificate, someone else approves.
//!
//! What is asked for and who asks never changes. `approval` decides, and only once; `status` delivers the certificate.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::subresources::{Gvk, VIEW, status};
use super::{cells, fill, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Subresource, Verbs, Writer};
use crate::validation::{Cursor, certificates, check, same, signer_name};

const GVK: Gvk = ("certificates.k8s.io", "v1", "CertificateSigningRequest");

/// `certificatesigningrequests.certificates.k8s.io`
pub static CERTIFICATE_SIGNING_REQUEST: Kind = Kind {
    group: GVK.0,
    version: GVK.1,
    kind: GVK.2,
    plural: "certificatesigningrequests",
    singular: "certificatesigningrequest",
    short_names: &["csr"],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::PathSegment,
    subresources: &[Subresource { name: "approval", gvk: GVK, verbs: VIEW }, status(GVK)],
    schema: "io.k8s.api.certificates.v1.CertificateSigningRequest",
    storage: "certificatesigningrequests",
    columns: &[
        cells::NAME,
        cells::AGE,
        cells::text("SignerName"),
        cells::text("Requestor"),
        cells::text("RequestedDuration"),
        cells::text("Condition"),
    ],
    rules: &RequestRules,
};

/// What a certificate may be used for.
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
/// Conditions that are true or absent, and stay.
const FINAL: [&str; 3] = ["Approved", "Denied", "Failed"];
/// Those of them that only `approval` may set.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const MIN_SECONDS: i64 = 600;

struct RequestRules;

impl Rules for RequestRules {
    fn prepare_create(&self, object: &mut Value) {
        // Nobody creates a request that is approved already.
        object["status"] = json!({});
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        fill::keep(new, old, "spec");
        fill::keep(new, old, "status");
    }

    fn prepare_view(&self, _view: &str, new: &mut Value, old: &Value) {
        fill::keep(new, old, "spec");
        let certificate = old.pointer("/status/certificate").cloned();
        fill::at(new, "/status", |status| match certificate {
            Some(certificate) => status["certificate"] = certificate,
            None => fill::clear(status, "certificate"),
        });
    }

    fn note_writer(&self, new: &mut Value, old: Option<&Value>, writer: &Writer<'_>) {
        match old {
            None => stamp(new, writer),
            Some(old) => condition_times(new, old, writer.now),
        }
    }

    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |request| {
            spec(&request.get("spec"));
            conditions(&request.get("status").get("conditions"));
        })
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |request| {
            let status = request.get("status");
            conditions(&status.get("conditions"));
            let certificate = status.get("certificate");
            let before = &old["status"]["certificate"];
            let changed = certificate.text() != before.as_str().unwrap_or_default();
            if changed {
                certificates::certificate(&certificate);
            }
            finals_stay(&status.get("conditions"), &old["status"]["conditions"]);
            decisions_stay(&status.get("conditions"), &old["status"]["conditions"]);
            if changed && before.as_str().is_some_and(|text| !text.is_empty()) {
                certificate.forbidden("updates may not modify existing certificate content");
            }
        })
    }

    fn validate_view(&self, _view: &str, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |request| {
            let conditions = request.get("status").get("conditions");
            self::conditions(&conditions);
            finals_stay(&conditions, &old["status"]["conditions"]);
        })
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.signerName", read::text(object, "/spec/signerName").to_owned())]
    }

    fn selectable_names(&self) -> &'static [&'static str] {
        &["spec.signerName"]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let seconds = object.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
        vec![
            cells::name(object),
            cells::age(object, now),
            cells::or_none(read::text(object, "/spec/signerName")),
            read::text(object, "/spec/username").into(),
            cells::or_none(&seconds.map(cells::human_duration).unwrap_or_default()),
            state(object).into(),
        ]
    }
}

/// Who asks is whoever sent the request, whatever it says.
fn stamp(request: &mut Value, writer: &Writer<'_>) {
    let fields = [
        ("username", json!(writer.name)),
        ("uid", json!(writer.uid)),
        ("groups", json!(writer.groups)),
        ("extra", json!(writer.extra)),
    ];
    fill::at(request, "/spec", |spec| {
        for (name, value) in fields {
            if fill::is_zero(&value) || value.as_object().is_some_and(serde_json::Map::is_empty) {
                fill::clear(spec, name);
            } else {
                spec[name] = value;
            }
        }
    });
}

/// A condition without times has been updated now, and has been so since it was first seen.
fn condition_times(new: &mut Value, old: &Value, now: Timestamp) {
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    fill::each(new, "/status/conditions", |condition| {
        fill::absent(condition, "lastUpdateTime", now.as_str());
        let same = |old: &&Value| old["type"] == condition["type"] && old["status"] == condition["status"];
        let since = read::list(old, "/status/conditions").iter().find(same);
        let since = since.and_then(|old| old["lastTransitionTime"].as_str()).unwrap_or(&now);
        fill::absent(condition, "lastTransitionTime", since);
    });
}

fn state(request: &Value) -> String {
    let has = |kind: &str| read::find(request, "/status/conditions", "type", kind).is_some();
    let decision = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    };
    let failed = if has("Failed") { ",Failed" } else { "" };
    let issued = if read::text(request, "/status/certificate").is_empty() { "" } else { ",Issued" };
    format!("{decision}{failed}{issued}")
}

fn spec(spec: &Cursor<'_>) {
    certificates::request(&spec.get("request"));
    let usages = spec.get("usages");
    usages.must();
    for usage in usages.items() {
        usage.may_be_one_of(USAGES);
    }
    let mut taken = Vec::new();
    for usage in usages.items() {
        if taken.contains(&usage.text()) {
            usage.duplicate();
        }
        taken.push(usage.text());
    }
    let signer = spec.get("signerName");
    if signer.text() == LEGACY_SIGNER {
        signer.invalid("the legacy signerName is not allowed via this API version");
    } else {
        signer_name(&signer);
    }
    let seconds = spec.get("expirationSeconds");
    if seconds.int().is_some_and(|seconds| seconds < MIN_SECONDS) {
        seconds.invalid("may not specify a duration less than 600 seconds (10 minutes)");
    }
}

fn conditions(conditions: &Cursor<'_>) {
    let mut taken = Vec::new();
    for condition in conditions.items() {
        let (kind, status) = (condition.get("type"), condition.get("status"));
        kind.must();
        status.must_be_one_of(if FINAL.contains(&kind.text()) { &["True"] } else { &["False", "True", "Unknown"] });
        let other = DECISIONS.iter().find(|other| DECISIONS.contains(&kind.text()) && **other != kind.text());
        if other.is_some_and(|other| taken.contains(other)) {
            conditions.invalid_as(kind.text(), "Approved and Denied conditions are mutually exclusive");
        }
        if taken.contains(&kind.text()) {
            kind.duplicate();
        }
        taken.push(kind.text());
    }
}

/// The conditions of one type.
fn of_type<'v>(conditions: &'v Value, kind: &str) -> Vec<&'v Value> {
    read::list(conditions, "").iter().filter(|condition| condition["type"] == kind).collect()
}

fn finals_stay(new: &Cursor<'_>, old: &Value) {
    for kind in FINAL {
        if of_type(new.value(), kind).len() < of_type(old, kind).len() {
            new.forbidden(format!("updates may not remove a condition of type {kind:?}"));
        }
    }
}

fn decisions_stay(new: &Cursor<'_>, old: &Value) {
    for kind in DECISIONS {
        let (after, before) = (of_type(new.value(), kind), of_type(old, kind));
        if after.len() > before.len() {
            new.forbidden(format!("updates may not add a condition of type {kind:?}"));
        } else if after.len() == before.len() && !after.iter().zip(&before).all(|(a, b)| same(a, b)) {
            new.forbidden(format!("updates may not modify a condition of type {kind:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::CERTIFICATE_SIGNING_REQUEST as CSR;
    use super::*;
    use crate::kinds::testing::{check, check_row, object};

    fn through(view: &str, old: &str, new: &str) -> Vec<String> {
        let (old, new) = (object(old), object(new));
        let faults = if view == "status" {
            CSR.rules.validate_status(&new, &old)
        } else {
            CSR.rules.validate_view(view, &new, &old)
        };
        faults.iter().map(field::Error::to_string).collect()
    }

    #[test]
    fn what_is_asked_for_must_make_sense() {
        check(
            &CSR,
            "{spec: {request: aGk=, usages: [client auth, client auth, flying], signerName: a/b/c, expirationSeconds: 5}}",
            &[
                "spec.request: Invalid value: \"aGk=\": PEM block type must be CERTIFICATE REQUEST",
                &format!(
                    "spec.usages[2]: Unsupported value: \"flying\": supported values: {}",
                    USAGES.iter().map(|usage| format!("{usage:?}")).collect::<Vec<_>>().join(", ")
                ),
                "spec.usages[1]: Duplicate value: \"client auth\"",
                "spec.signerName: Invalid value: \"a/b/c\": must be a fully qualified domain and path of the form \
                 'example.com/signer-name'",
                "spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 600 seconds (10 minutes)",
            ],
        );
    }

    #[test]
    fn who_asks_is_who_sends() {
        let mut request = object("{spec: {username: root, groups: ['system:masters'], extra: {a: [b]}, uid: '1'}}");
        let now = "2026-01-01T12:00:00Z".parse().expect("a time");
        let writer = Writer { name: "jane", uid: "", groups: &["dev".to_owned()], extra: &BTreeMap::new(), now };
        CSR.rules.note_writer(&mut request, None, &writer);
        assert_eq!(request, object("{spec: {username: jane, groups: [dev]}}"));
    }

    #[test]
    fn decisions_are_made_once_and_through_approval() {
        let approved = "{status: {conditions: [{type: Approved, status: 'True'}]}}";
        assert_eq!(through("approval", "{}", approved), Vec::<String>::new());
        assert_eq!(
            through("status", "{}", approved),
            ["status.conditions: Forbidden: updates may not add a condition of type \"Approved\""]
        );
        assert_eq!(
            through("approval", approved, "{status: {conditions: [{type: Denied, status: 'True'}]}}"),
            ["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""]
        );
        assert_eq!(
            through(
                "approval",
                approved,
                "{status: {conditions: [{type: Approved, status: 'True'}, {type: Denied, status: 'False'}]}}"
            ),
            [
                "status.conditions[1].status: Unsupported value: \"False\": supported values: \"True\"",
                "status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive",
            ]
        );
    }

    #[test]
    fn a_certificate_is_one_and_stays() {
        assert_eq!(
            through("status", "{}", "{status: {certificate: aGk=}}"),
            [
                "status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block"
            ]
        );
        assert_eq!(
            through("status", "{status: {certificate: aGk=}}", "{status: {}}"),
            ["status.certificate: Forbidden: updates may not modify existing certificate content"]
        );
    }

    #[test]
    fn rows() {
        check_row(
            &CSR,
            "{metadata: {name: a}, spec: {signerName: e.com/s, username: jane, expirationSeconds: 3600}, status: \
             {conditions: [{type: Approved}], certificate: aGk=}}",
            "a | <unknown> | e.com/s | jane | 60m | Approved,Issued",
        );
        check_row(&CSR, "{metadata: {name: a}}", "a | <unknown> | <none> |  | <none> | Pending");
    }
}
