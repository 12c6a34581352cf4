//! May they? `SelfSubjectAccessReview` and its siblings, `SelfSubjectRulesReview`, `SelfSubjectReview`.

use axum::body::Body;
use http::Response;
use sampan_api::field::{Error, Path};
use sampan_api::status::{Resource, Status};
use sampan_auth::rbac::Rbac;
use sampan_auth::{Attributes, Authorizer as _, Decision, Identity};
use serde_json::{Value, json};

use super::Review;
use crate::server::Answer;

const GROUP: &str = "authorization.k8s.io";

/// May I?
pub(super) fn own(rbac: &Rbac, identity: &Identity, review: Review) -> Answer {
    let attributes = attributes(&review)?;
    let verdict = verdict(rbac, identity, &attributes);
    Ok(review.answer(verdict))
}

/// May they?
pub(super) fn of_others(rbac: &Rbac, review: Review) -> Answer {
    let attributes = attributes(&review)?;
    let spec = &review.object["spec"];
    let who = Identity {
        name: spec["user"].as_str().unwrap_or_default().to_owned(),
        uid: spec["uid"].as_str().unwrap_or_default().to_owned(),
        groups: spec["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        ..Identity::default()
    };
    if who.name.is_empty() && who.groups.is_empty() {
        return Err(invalid(
            &review,
            Error::invalid(&Path::new("spec").child("user"), "", "at least one of user or group must be specified"),
        ));
    }
    let verdict = verdict(rbac, &who, &attributes);
    Ok(review.answer(verdict))
}

fn verdict(rbac: &Rbac, who: &Identity, what: &Attributes) -> Value {
    match rbac.authorize(who, what) {
        Decision::Allow(reason) if reason.is_empty() => json!({ "allowed": true }),
        Decision::Allow(reason) => json!({ "allowed": true, "reason": reason }),
        Decision::NoOpinion(reason) if reason.is_empty() => json!({ "allowed": false }),
        Decision::NoOpinion(reason) => json!({ "allowed": false, "reason": reason }),
    }
}

fn invalid(review: &Review, fault: Error) -> Status {
    Status::invalid(Resource { group: GROUP, name: review.attempt.kind.kind }, "", &[fault])
}

fn attributes(review: &Review) -> Result<Attributes, Status> {
    let spec = &review.object["spec"];
    let path = Path::new("spec").child("resourceAttributes");
    match (spec["resourceAttributes"].is_object(), spec["nonResourceAttributes"].is_object()) {
        (true, false) => {}
        (false, true) => return Ok(of_path(&spec["nonResourceAttributes"])),
        (true, true) => {
            let path = Path::new("spec").child("nonResourceAttributes");
            let why = "cannot be specified in combination with resourceAttributes";
            return Err(invalid(review, Error::invalid(&path, spec["nonResourceAttributes"].clone(), why)));
        }
        (false, false) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            return Err(invalid(review, Error::invalid(&path, Value::Null, why)));
        }
    }
    let attributes = of_resource(&spec["resourceAttributes"]);
    let namespace = &review.attempt.namespace;
    if !namespace.is_empty() && attributes.namespace != *namespace {
        let path = path.child("namespace");
        return Err(invalid(
            review,
            Error::invalid(&path, attributes.namespace, format!("must match metadata.namespace: {namespace}")),
        ));
    }
    Ok(attributes)
}

fn of_path(asked: &Value) -> Attributes {
    let text = |field: &str| asked[field].as_str().unwrap_or_default().to_owned();
    Attributes { verb: text("verb"), path: text("path"), ..Attributes::default() }
}

fn of_resource(asked: &Value) -> Attributes {
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
    }
}

/// What may I do here?
pub(super) fn rules(rbac: &Rbac, identity: &Identity, review: Review) -> Answer {
    let namespace = review.object["spec"]["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in rbac.rules_for(identity, namespace) {
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
    Ok(review.answer(json!({ "resourceRules": resources, "nonResourceRules": paths, "incomplete": false })))
}

/// Who am I?
pub(super) fn who_am_i(identity: &Identity, review: Review) -> Response<Body> {
    review.answer(json!({ "userInfo": user_info(identity) }))
}

/// An identity as `UserInfo`.
pub(super) fn user_info(identity: &Identity) -> Value {
    let mut info = json!({ "username": identity.name, "groups": identity.groups });
    if !identity.uid.is_empty() {
        info["uid"] = identity.uid.as_str().into();
    }
    if !identity.extra.is_empty() {
        info["extra"] = json!(identity.extra);
    }
    info
}
