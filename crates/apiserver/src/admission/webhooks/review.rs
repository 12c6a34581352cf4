//! `AdmissionReview`: the question to a webhook, and what it answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sampan_api::kind::KindRef;
use sampan_api::status::{Details, Status};
use serde_json::{Value, json};

use super::hook::ReviewVersion;
use crate::admission::Request;

/// A question.
pub(super) struct Question<'q> {
    pub(super) request: &'q Request<'q>,
    /// The kind whose form the webhook sees, and its resource.
    pub(super) seen: &'q KindRef,
    pub(super) object: &'q Value,
    pub(super) old: &'q Value,
    pub(super) version: ReviewVersion,
    pub(super) uid: &'q str,
}

impl Question<'_> {
    /// The review as it is sent.
    pub(super) fn document(&self) -> Value {
        let mut asked = self.request.described(self.seen);
        asked["uid"] = self.uid.into();
        asked["object"] = self.object.clone();
        asked["oldObject"] = self.old.clone();
        json!({ "kind": "AdmissionReview", "apiVersion": self.version.api_version(), "request": asked })
    }
}

/// What a webhook says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Verdict {
    pub(super) allowed: bool,
    /// Why not, a `Status`.
    pub(super) result: Value,
    /// A JSON patch, undecoded.
    pub(super) patch: Vec<u8>,
    pub(super) warnings: Vec<String>,
    pub(super) annotations: Vec<(String, String)>,
}

/// Reads an answer to the question `uid`. An error is a sentence about what is wrong with it.
pub(super) fn verdict(answer: &Value, version: ReviewVersion, uid: &str, mutating: bool) -> Result<Verdict, String> {
    let response = &answer["response"];
    if !response.is_object() {
        return Err("webhook response was absent".to_owned());
    }
    let patch = patch(&response["patch"])?;
    if version == ReviewVersion::V1 {
        check_identity(answer, uid)?;
        check_patch(response, &patch, mutating)?;
    }
    let texts = |field: &str| response[field].as_array().into_iter().flatten().filter_map(Value::as_str);
    let annotations = response["auditAnnotations"].as_object().into_iter().flatten();
    Ok(Verdict {
        allowed: response["allowed"] == true,
        result: response["status"].clone(),
        patch: if mutating { patch } else { Vec::new() },
        warnings: texts("warnings").map(str::to_owned).collect(),
        annotations: annotations.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect(),
    })
}

fn check_identity(answer: &Value, uid: &str) -> Result<(), String> {
    let got = answer["response"]["uid"].as_str().unwrap_or_default();
    if got != uid {
        return Err(format!("expected response.uid={uid:?}, got {got:?}"));
    }
    let text = |field: &str| answer[field].as_str().unwrap_or_default();
    if (text("apiVersion"), text("kind")) != ("admission.k8s.io/v1", "AdmissionReview") {
        return Err(format!(
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {}, Kind={}",
            text("apiVersion"),
            text("kind")
        ));
    }
    Ok(())
}

/// The bytes of a patch: base64, or the list of numbers that Go's decoder takes as well and kube-rs writes.
fn patch(written: &Value) -> Result<Vec<u8>, String> {
    let read = match written {
        Value::String(text) => STANDARD.decode(text).map_err(|error| error.to_string()),
        written => serde_json::from_value::<Option<Vec<u8>>>(written.clone())
            .map(Option::unwrap_or_default)
            .map_err(|error| error.to_string()),
    };
    read.map_err(|error| format!("response.patch: {error}"))
}

fn check_patch(response: &Value, patch: &[u8], mutating: bool) -> Result<(), String> {
    let wrong = match (mutating, patch.is_empty(), response["patchType"].as_str()) {
        (true, false, None) => "webhook returned response.patch but not response.patchType".to_owned(),
        (true, true, Some(_)) => "webhook returned response.patchType but not response.patch".to_owned(),
        (true, false, Some("")) => "webhook returned invalid response.patchType of \"\"".to_owned(),
        (true, false, Some("JSONPatch")) | (_, true, None) => return Ok(()),
        (true, false, Some(other)) => format!("unsupported patch type {other:?}"),
        (false, false, _) => "validating webhook may not return response.patch".to_owned(),
        (false, true, Some(_)) => "validating webhook may not return response.patchType".to_owned(),
    };
    Err(wrong)
}

/// The refusal of a webhook: what it says, with its name before it.
pub(super) fn denied(name: &str, result: &Value) -> Status {
    let text = |field: &str| result[field].as_str().unwrap_or_default();
    let by = format!("admission webhook {name:?} denied the request");
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{by} without explanation"),
        ("", reason) => format!("{by}: {reason}"),
        (message, _) => format!("{by}: {message}"),
    };
    let code =
        result["code"].as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
    let details: Option<Details> = serde_json::from_value(result["details"].clone()).ok();
    Status { code: code.unwrap_or(400), reason: text("reason").to_owned(), message, details: details.map(Box::new) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(response: Value, mutating: bool, want: &str) {
        let answer = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response });
        assert_eq!(verdict(&answer, ReviewVersion::V1, "u", mutating).unwrap_err(), want);
    }

    #[test]
    fn answers_that_are_none() {
        refused(Value::Null, true, "webhook response was absent");
        refused(json!({ "uid": "x" }), true, "expected response.uid=\"u\", got \"x\"");
        let patch = |kind: Value| json!({ "uid": "u", "patch": "W10=", "patchType": kind });
        refused(patch(Value::Null), true, "webhook returned response.patch but not response.patchType");
        refused(patch("JSONPatch".into()), false, "validating webhook may not return response.patch");
        refused(
            json!({ "uid": "u", "patchType": "JSONPatch" }),
            true,
            "webhook returned response.patchType but not response.patch",
        );
        let old =
            json!({ "apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "response": { "uid": "u" } });
        assert_eq!(
            verdict(&old, ReviewVersion::V1, "u", true).unwrap_err(),
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v1beta1, Kind=AdmissionReview"
        );
        assert!(!verdict(&old, ReviewVersion::V1Beta1, "other", true).unwrap().allowed);
    }

    #[test]
    fn patches() {
        let check = |written: Value, want: &[u8]| assert_eq!(patch(&written).as_deref(), Ok(want), "{written}");
        check(Value::Null, b"");
        check("W10=".into(), b"[]");
        check(json!([91, 93]), b"[]");
        assert!(patch(&json!([256])).unwrap_err().starts_with("response.patch: invalid value: integer `256`"));
        assert!(patch(&"!".into()).unwrap_err().starts_with("response.patch: Invalid symbol"));
    }

    #[test]
    fn verdicts() {
        let answer = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
            "uid": "u", "allowed": true, "patch": "W10=", "patchType": "JSONPatch", "warnings": ["w"],
            "auditAnnotations": { "k": "v" },
        } });
        let got = verdict(&answer, ReviewVersion::V1, "u", true).unwrap();
        let annotations = vec![("k".to_owned(), "v".to_owned())];
        assert_eq!(
            got,
            Verdict {
                allowed: true,
                patch: b"[]".to_vec(),
                warnings: vec!["w".into()],
                annotations,
                result: Value::Null
            }
        );
    }

    #[test]
    fn denials() {
        let check = |result: Value, want: (u16, &str, &str)| {
            let status = denied("a.b.c", &result);
            assert_eq!((status.code, status.reason.as_str(), status.message.as_str()), want);
        };
        check(Value::Null, (400, "", "admission webhook \"a.b.c\" denied the request without explanation"));
        check(
            json!({ "code": 403, "reason": "Forbidden", "message": "no" }),
            (403, "Forbidden", "admission webhook \"a.b.c\" denied the request: no"),
        );
        check(
            json!({ "code": 200, "reason": "Odd" }),
            (400, "Odd", "admission webhook \"a.b.c\" denied the request: Odd"),
        );
    }
}
