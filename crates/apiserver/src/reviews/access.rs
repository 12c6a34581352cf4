//! `SelfSubjectAccessReview`, `SubjectAccessReview`, `LocalSubjectAccessReview`, `SelfSubjectRulesReview`,
//! `SelfSubjectReview`.

use std::collections::BTreeMap;

use axum::body::Body;
use http::Response;
use sampan_api::field::{Error, Path};
use sampan_api::status::{Resource, Status};
use sampan_auth::{Attributes, Decision, Identity};
use serde_json::{Value, json};

use super::Review;
use crate::rights::Rights;
use crate::server::Answer;

const GROUP: &str = "authorization.k8s.io";

/// May I?
pub(super) async fn own(rights: &Rights, identity: &Identity, review: Review) -> Answer {
    check(&review, faults(&review.object["spec"], &review.object["metadata"]))?;
    let verdict = verdict(rights, identity, &attributes(&review.object["spec"])).await;
    Ok(review.answer(verdict))
}

/// May they?
pub(super) async fn of_others(rights: &Rights, review: Review) -> Answer {
    let (spec, metadata) = (&review.object["spec"], &review.object["metadata"]);
    let who = subject(spec);
    let mut found = Vec::new();
    if who.name.is_empty() && who.groups.is_empty() {
        let path = Path::new("spec").child("user");
        found.push(Error::invalid(&path, "", "at least one of user or group must be specified"));
    }
    if review.attempt.namespace.is_empty() {
        found.extend(faults(spec, metadata));
    } else {
        found.extend(local_faults(spec, metadata, &review.attempt.namespace));
    }
    check(&review, found)?;
    let verdict = verdict(rights, &who, &attributes(spec)).await;
    Ok(review.answer(verdict))
}

async fn verdict(rights: &Rights, who: &Identity, what: &Attributes) -> Value {
    let (mut verdict, reason) = match rights.decide(who, what).await {
        Decision::Allow(reason) => (json!({ "allowed": true }), reason),
        Decision::Deny(reason) => (json!({ "allowed": false, "denied": true }), reason),
        Decision::NoOpinion(reason) => (json!({ "allowed": false }), reason),
    };
    if !reason.is_empty() {
        verdict["reason"] = reason.into();
    }
    verdict
}

fn subject(spec: &Value) -> Identity {
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let extra: BTreeMap<String, Vec<String>> = spec["extra"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, values)| (key.to_lowercase(), list(values)))
        .collect();
    Identity { name: text("user"), uid: text("uid"), groups: list(&spec["groups"]), extra }
}

fn check(review: &Review, faults: Vec<Error>) -> Result<(), Status> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(Resource { group: GROUP, name: review.attempt.kind.kind }, "", &faults))
}

/// What is wrong with a review's wish.
fn faults(spec: &Value, metadata: &Value) -> Vec<Error> {
    let mut faults = wish_faults(spec);
    if says_more_than(metadata, &[]) {
        faults.push(Error::invalid(&Path::new("metadata"), metadata.clone(), "must be empty"));
    }
    faults
}

/// The same where the review is about one namespace.
fn local_faults(spec: &Value, metadata: &Value, namespace: &str) -> Vec<Error> {
    let mut faults = wish_faults(spec);
    if says_more_than(metadata, &["namespace"]) {
        faults.push(Error::invalid(&Path::new("metadata"), metadata.clone(), "must be empty except for namespace"));
    }
    let asked = &spec["resourceAttributes"];
    if asked.is_object() && asked["namespace"].as_str().unwrap_or_default() != namespace {
        let path = Path::new("spec").child("resourceAttributes").child("namespace");
        faults.push(Error::invalid(&path, asked["namespace"].clone(), "must match metadata.namespace"));
    }
    if spec["nonResourceAttributes"].is_object() {
        let path = Path::new("spec").child("nonResourceAttributes");
        let why = "disallowed on this kind of request";
        faults.push(Error::invalid(&path, spec["nonResourceAttributes"].clone(), why));
    }
    faults
}

fn wish_faults(spec: &Value) -> Vec<Error> {
    let path = Path::new("spec");
    match (spec["resourceAttributes"].is_object(), spec["nonResourceAttributes"].is_object()) {
        (true, true) => {
            let why = "cannot be specified in combination with resourceAttributes";
            vec![Error::invalid(&path.child("nonResourceAttributes"), spec["nonResourceAttributes"].clone(), why)]
        }
        (false, false) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            vec![Error::invalid(&path.child("resourceAttributes"), Value::Null, why)]
        }
        (true, false) => selector_faults(&spec["resourceAttributes"]),
        (false, true) => Vec::new(),
    }
}

/// A selector is given raw or as requirements, not as both and not as neither.
fn selector_faults(asked: &Value) -> Vec<Error> {
    let mut faults = Vec::new();
    for name in ["fieldSelector", "labelSelector"] {
        let selector = &asked[name];
        if !selector.is_object() {
            continue;
        }
        let path = Path::new("spec").child("resourceAttributes").child(name);
        let raw = selector["rawSelector"].as_str().unwrap_or_default();
        match (raw.is_empty(), selector["requirements"].as_array().is_none_or(Vec::is_empty)) {
            (false, false) => {
                let why = "may not specified at the same time as requirements";
                faults.push(Error::invalid(&path.child("rawSelector"), raw, why));
            }
            (true, true) => {
                let why = format!("when {} is specified, requirements or rawSelector is required", path);
                faults.push(Error::required(&path.child("requirements"), why));
            }
            _ => {}
        }
    }
    faults
}

fn says_more_than(metadata: &Value, allowed: &[&str]) -> bool {
    let fields = metadata.as_object().into_iter().flatten();
    fields.filter(|(_, value)| !value.is_null()).any(|(name, _)| {
        !matches!(name.as_str(), "managedFields" | "creationTimestamp") && !allowed.contains(&name.as_str())
    })
}

fn attributes(spec: &Value) -> Attributes {
    if spec["nonResourceAttributes"].is_object() {
        let text = |field: &str| spec["nonResourceAttributes"][field].as_str().unwrap_or_default().to_owned();
        return Attributes { verb: text("verb"), path: text("path"), ..Attributes::default() };
    }
    let asked = &spec["resourceAttributes"];
    let text = |field: &str| asked[field].as_str().unwrap_or_default().to_owned();
    Attributes {
        verb: text("verb"),
        group: text("group"),
        version: text("version"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        path: String::new(),
        fields: fields(&asked["fieldSelector"]),
    }
}

/// The terms of a field selector that ask for equality; others narrow nothing that an authorizer knows of.
fn fields(selector: &Value) -> Vec<(String, String)> {
    let raw = selector["rawSelector"].as_str().unwrap_or_default().split(',').filter(|term| !term.contains("!="));
    let terms = raw.filter_map(|term| term.split_once('='));
    let terms = terms.map(|(field, value)| (field.trim().to_owned(), value.trim_start_matches('=').trim().to_owned()));
    let requirements = selector["requirements"].as_array().into_iter().flatten();
    let equal = requirements.filter_map(|one| match (one["operator"].as_str(), one["values"].as_array()?.as_slice()) {
        (Some("In"), [value]) => Some((one["key"].as_str()?.to_owned(), value.as_str()?.to_owned())),
        _ => None,
    });
    terms.chain(equal).collect()
}

/// What may I do here?
pub(super) fn rules(rights: &Rights, identity: &Identity, review: Review) -> Answer {
    let namespace = review.object["spec"]["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    let (rules, incomplete) = rights.rules_for(identity, namespace);
    for rule in rules {
        if let Some(urls) = rule.non_resource_urls.filter(|urls| !urls.is_empty()) {
            paths.push(json!({ "verbs": rule.verbs, "nonResourceURLs": urls }));
            continue;
        }
        let mut entry = json!({ "verbs": rule.verbs });
        let fields =
            [("apiGroups", rule.api_groups), ("resources", rule.resources), ("resourceNames", rule.resource_names)];
        for (name, items) in fields {
            if let Some(items) = items.filter(|items| !items.is_empty()) {
                entry[name] = json!(items);
            }
        }
        resources.push(entry);
    }
    let mut status =
        json!({ "resourceRules": resources, "nonResourceRules": paths, "incomplete": incomplete.is_some() });
    if let Some(why) = incomplete {
        status["evaluationError"] = why.into();
    }
    Ok(review.answer(status))
}

/// Who am I?
pub(super) fn who_am_i(identity: &Identity, review: Review) -> Response<Body> {
    review.answer(json!({ "userInfo": user_info(identity) }))
}

/// An identity as `UserInfo`.
pub(crate) fn user_info(identity: &Identity) -> Value {
    let mut info = json!({ "username": identity.name, "groups": identity.groups });
    if !identity.uid.is_empty() {
        info["uid"] = identity.uid.as_str().into();
    }
    if !identity.extra.is_empty() {
        info["extra"] = json!(identity.extra);
    }
    info
}
