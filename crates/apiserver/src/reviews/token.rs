//! Tokens of ServiceAccounts: made on request, checked for others.

use axum::body::Body;
use http::StatusCode;
use jiff::SignedDuration;
use sampan_api::kind::KindRef;
use sampan_api::schema;
use sampan_api::status::{Resource, Status};
use sampan_api::validation;
use sampan_auth::token::{Bound, Grant};
use serde_json::{Value, json};

use super::{Review, access};
use crate::registry::metadata;
use crate::server::{Answer, Call, Server, Shown, from_token};

/// How long a token lives if the request does not say.
const DEFAULT_SECONDS: i64 = 3600;
/// No token lives longer.
const MAX_SECONDS: i64 = 86_400 * 365;

/// `TokenReview`: whose token is this?
pub(super) async fn review(server: &Server, review: Review) -> Answer {
    let spec = &review.object["spec"];
    let token = spec["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences = texts(&spec["audiences"]);
    let status = match from_token(server, token, &audiences).await {
        Err(why) => json!({ "error": why, "user": {} }),
        Ok(Shown { identity, audiences: meant }) => {
            let audiences = if audiences.is_empty() { vec![server.tokens.issuer().to_owned()] } else { meant };
            json!({ "authenticated": true, "user": access::user_info(&identity), "audiences": audiences })
        }
    };
    Ok(review.answer(status))
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// `serviceaccounts/{name}/token`
pub(crate) async fn token_request(server: &Server, kind: &KindRef, call: Call, body: Body) -> Answer {
    let definition = schema::of_kind("authentication.k8s.io", "v1", "TokenRequest")
        .ok_or_else(|| Status::internal("the subresource has no schema"))?;
    let review = Review::read_as(kind, &call, body, definition).await?;
    let faults = validation::token_request(&review.object);
    if !faults.is_empty() {
        let kind = Resource { group: "authentication.k8s.io", name: "TokenRequest" };
        return Err(Status::invalid(kind, "", &faults));
    }
    let mut review = review;
    crate::registry::metadata::place(&review.attempt, &mut review.object)?;
    let review = review.admitted(server).await?;
    let grant = grant(server, &review)?;
    let (token, expiry) = sign(server, &grant)?;
    let mut answer = review.object.clone();
    answer["metadata"]["name"] = review.attempt.name.as_str().into();
    answer["metadata"]["namespace"] = review.attempt.namespace.as_str().into();
    answer["metadata"]["creationTimestamp"] = metadata::time(review.attempt.now).into();
    answer["spec"]["audiences"] = json!(audiences(server, &grant));
    answer["spec"]["expirationSeconds"] = grant.life.as_secs().into();
    answer["status"] = json!({ "token": token, "expirationTimestamp": metadata::time(expiry) });
    Ok(review.wanted.response(StatusCode::CREATED, review.wanted.value(&answer)))
}

fn sign(server: &Server, grant: &Grant) -> Result<(String, jiff::Timestamp), Status> {
    let id = uuid::Uuid::new_v4().to_string();
    server.tokens.sign(grant, &id, sampan_clock::now()).map_err(|error| {
        tracing::error!(%error, "a token could not be signed");
        Status::internal("the token could not be signed")
    })
}

fn audiences(server: &Server, grant: &Grant) -> Vec<String> {
    if grant.audiences.is_empty() { vec![server.tokens.issuer().to_owned()] } else { grant.audiences.clone() }
}

fn grant(server: &Server, review: &Review) -> Result<Grant, Status> {
    let (namespace, name) = (&review.attempt.namespace, &review.attempt.name);
    let account = server.registry.peek("", "ServiceAccount", namespace, name);
    let account = account.ok_or_else(|| review.attempt.not_found())?;
    let spec = &review.object["spec"];
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS).min(MAX_SECONDS);
    let mut grant = Grant {
        namespace: namespace.clone(),
        service_account: bound(&account),
        audiences: texts(&spec["audiences"]),
        life: SignedDuration::from_secs(seconds),
        ..Grant::default()
    };
    if spec["boundObjectRef"].is_object() {
        bind(server, review, &mut grant)?;
    }
    Ok(grant)
}

fn bound(object: &Value) -> Bound {
    Bound { name: metadata::text(object, "name").to_owned(), uid: metadata::text(object, "uid").to_owned() }
}

/// Ties the token to the object that the request names, and one for a Pod to that Pod's node.
fn bind(server: &Server, review: &Review, grant: &mut Grant) -> Result<(), Status> {
    let reference = &review.object["spec"]["boundObjectRef"];
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let (version, kind, name) = (text("apiVersion"), text("kind"), text("name"));
    let (namespace, plural) = match (version, kind) {
        ("v1" | "", "Pod") => (grant.namespace.as_str(), "pods"),
        ("v1" | "", "Secret") => (grant.namespace.as_str(), "secrets"),
        ("v1" | "", "Node") => ("", "nodes"),
        _ => {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            let why = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(Status::bad_request(why));
        }
    };
    let found = server.registry.peek("", kind, namespace, name);
    let found = found.ok_or_else(|| Status::not_found(Resource { group: "", name: plural }, name))?;
    let asked = text("uid");
    if !asked.is_empty() && asked != metadata::text(&found, "uid") {
        let why = format!(
            "the UID in the bound object reference ({asked}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Status::conflict(Resource { group: "", name: kind }, name, &why));
    }
    match kind {
        "Pod" => return bind_pod(server, grant, &found),
        "Secret" => grant.secret = Some(bound(&found)),
        _ => grant.node = Some(bound(&found)),
    }
    Ok(())
}

fn bind_pod(server: &Server, grant: &mut Grant, pod: &Value) -> Result<(), Status> {
    if pod["spec"]["serviceAccountName"] != grant.service_account.name.as_str() {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount \"{}\" to pod running with different serviceaccount name.",
            grant.service_account.name
        )));
    }
    grant.pod = Some(bound(pod));
    let node = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty());
    grant.node = node.map(|name| match server.registry.peek("", "Node", "", name) {
        Some(node) => bound(&node),
        None => Bound { name: name.to_owned(), uid: String::new() },
    });
    Ok(())
}
