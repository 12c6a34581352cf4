//! Conversion webhooks: objects of custom kinds between versions of different forms.
//!
//! All objects of one answer go in one `ConversionReview`. What comes back must be the same objects in the other form:
//! as many, in order, with the metadata that they had, but for labels and annotations.

use std::time::Duration;

use sampan_api::kind::Kind;
use sampan_api::status::Status;
use serde_json::{Value, json};

use crate::webhook::{Client, Place};

/// How long a webhook may take; upstream's bound.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The versions of reviews that are spoken, the preferred one first.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];
/// What of the metadata a webhook may change.
const FREE: [&str; 2] = ["labels", "annotations"];

/// The objects in the form of `to`, as the webhook of `spec.conversion.webhook` makes it.
pub(crate) async fn ask(
    client: &Client,
    webhook: &Value,
    to: &Kind,
    objects: Vec<Value>,
) -> Result<Vec<Value>, Status> {
    let from = objects.first().and_then(|object| object["apiVersion"].as_str()).unwrap_or_default().to_owned();
    let failed = |why: &str| {
        tracing::warn!(why, kind = to.kind, "a conversion webhook failed");
        Status::internal(&format!("conversion webhook for {from}, Kind={} failed: {why}", to.kind))
    };
    let place = Place::of_client_config(&webhook["clientConfig"]).map_err(|why| failed(&why))?;
    let review = review(webhook, &to.api_version(), &objects).map_err(|why| failed(&why))?;
    let answer = client.post(&place, &review, TIMEOUT).await.map_err(|error| failed(&error.to_string()))?;
    converted(&review, answer, &to.api_version(), &objects).map_err(|why| failed(&why))
}

fn review(webhook: &Value, to: &str, objects: &[Value]) -> Result<Value, String> {
    let understood: Vec<&str> =
        webhook["conversionReviewVersions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let version = understood.iter().find(|version| REVIEWS.contains(version));
    let version = version.ok_or("no supported conversion review versions found")?;
    Ok(json!({
        "kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{version}"),
        "request": { "uid": uuid::Uuid::new_v4().to_string(), "desiredAPIVersion": to, "objects": objects },
    }))
}

/// The objects of an answer, if it is one to this review.
fn converted(review: &Value, mut answer: Value, to: &str, objects: &[Value]) -> Result<Vec<Value>, String> {
    if answer["kind"] != review["kind"] || answer["apiVersion"] != review["apiVersion"] {
        return Err(format!("expected webhook response of {}, Kind=ConversionReview", review["apiVersion"]));
    }
    let response = &mut answer["response"];
    if response["uid"] != review["request"]["uid"] {
        return Err(format!("expected response.uid={}, got {}", review["request"]["uid"], response["uid"]));
    }
    if response["result"]["status"] != "Success" {
        let message = response["result"]["message"].as_str().filter(|message| !message.is_empty());
        return Err(message.unwrap_or("unknown reason").to_owned());
    }
    let Value::Array(converted) = response["convertedObjects"].take() else {
        return Err(format!("webhook returned 0 objects, expected {}", objects.len()));
    };
    if converted.len() != objects.len() {
        return Err(format!("webhook returned {} objects, expected {}", converted.len(), objects.len()));
    }
    converted.into_iter().zip(objects).map(|(new, old)| taken_over(new, old, to)).collect()
}

/// A converted object, with nothing changed that is not the webhook's.
fn taken_over(mut new: Value, old: &Value, to: &str) -> Result<Value, String> {
    if new["apiVersion"] != to {
        return Err(format!("invalid apiVersion {}, expected {to}", new["apiVersion"]));
    }
    for field in ["name", "namespace", "uid"] {
        if new["metadata"][field] != old["metadata"][field] {
            return Err(format!(
                "must have the same metadata.{field}: {} != {}",
                new["metadata"][field], old["metadata"][field]
            ));
        }
    }
    if new["kind"] != old["kind"] {
        return Err(format!("invalid kind {}, expected {}", new["kind"], old["kind"]));
    }
    let mut metadata = old["metadata"].clone();
    for field in FREE {
        match new["metadata"].get(field).filter(|value| !value.is_null()) {
            Some(value) => metadata[field] = value.clone(),
            None => drop(metadata.as_object_mut().and_then(|metadata| metadata.remove(field))),
        }
    }
    new["metadata"] = metadata;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_annotations_and_the_form_change() {
        let old =
            json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "a", "uid": "1", "labels": {"x": "y"}}});
        let new = json!({"apiVersion": "g/v2", "kind": "K", "metadata": {"name": "a", "uid": "1", "finalizers": ["f"]}, "b": 1});
        let review = review(&json!({"conversionReviewVersions": ["v1"]}), "g/v2", std::slice::from_ref(&old)).unwrap();
        let mut answer = json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1",
            "response": {"uid": review["request"]["uid"], "result": {"status": "Success"}, "convertedObjects": [new]}});
        let got = converted(&review, answer.clone(), "g/v2", std::slice::from_ref(&old)).unwrap();
        let want = json!({"apiVersion": "g/v2", "kind": "K", "metadata": {"name": "a", "uid": "1"}, "b": 1});
        assert_eq!(got, [want]);
        answer["response"]["result"] = json!({"status": "Failed", "message": "no"});
        assert_eq!(converted(&review, answer, "g/v2", &[old]), Err("no".to_owned()));
    }
}
