//! create, update, patch, delete and the subresources that write.

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use sampan_api::decode::{self, Format};
use sampan_api::field::{Error, Path};
use sampan_api::kind::KindRef;
use sampan_api::model::Model;
use sampan_api::schema::{self, Definition};
use sampan_api::status::Status;
use serde_json::{Value, json};

use super::attempt;
use super::params::{self, invalid_options};
use super::read::{filter, refused_list};
use crate::cache::ListOptions;
use crate::forms::{self, Wanted};
use crate::registry::{Attempt, DeleteOptions, Done, Effect, FieldValidation, Patch, PatchForm, named_scale, success};
use crate::server::{Answer, Call, Server, read_body};

/// A decoded request to write.
struct Sent {
    attempt: Attempt,
    wanted: Wanted,
    object: Value,
}

/// Reads a body that is an object of this form.
async fn read_object(kind: &KindRef, call: &Call, body: Body, model: Model<'_>) -> Result<Sent, Status> {
    let wanted = Wanted::of_kind(kind, call)?;
    let attempt = attempt(kind, call)?;
    let media = params::media(call)?;
    let body = read_body(body).await?;
    let (object, warnings) = params::decode_object(&body, media, model, attempt.validation)?;
    attempt.notes.warn_all(warnings);
    Ok(Sent { attempt, wanted, object })
}

/// The definition of what is written through a subresource.
fn definition_of(group: &str, version: &str, kind: &str) -> Result<&'static Definition, Status> {
    schema::of_kind(group, version, kind).ok_or_else(|| Status::internal("the subresource has no schema"))
}

pub(super) async fn create(server: &Server, kind: &KindRef, call: Call, body: Body) -> Answer {
    let sent = read_object(kind, &call, body, kind.model()?).await?;
    let done = server.registry.create(&sent.attempt, sent.object).await?;
    Ok(reply(kind, &sent.wanted, &done))
}

pub(super) async fn update(server: &Server, kind: &KindRef, call: Call, body: Body) -> Answer {
    let sent = read_object(kind, &call, body, kind.model()?).await?;
    let done = server.registry.update(&sent.attempt, sent.object).await?;
    Ok(reply(kind, &sent.wanted, &done))
}

pub(super) async fn finalize(server: &Server, kind: &KindRef, call: Call, body: Body) -> Answer {
    let sent = read_object(kind, &call, body, kind.model()?).await?;
    let done = server.registry.finalize(&sent.attempt, sent.object).await?;
    Ok(reply(kind, &sent.wanted, &done))
}

pub(super) async fn bind(server: &Server, kind: &KindRef, call: Call, body: Body) -> Answer {
    let sent = read_object(kind, &call, body, definition_of("", "v1", "Binding")?.into()).await?;
    server.registry.bind(&sent.attempt, sent.object).await?;
    Ok(created_status(&sent.wanted))
}

pub(super) async fn evict(server: &Server, kind: &KindRef, call: Call, body: Body) -> Answer {
    let sent = read_object(kind, &call, body, definition_of("policy", "v1", "Eviction")?.into()).await?;
    server.registry.evict(&sent.attempt, sent.object).await?;
    Ok(created_status(&sent.wanted))
}

fn created_status(wanted: &Wanted) -> Response<Body> {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    wanted.response(StatusCode::CREATED, wanted.value(&status))
}

pub(super) async fn scale(server: &Server, kind: &KindRef, call: Call, body: Body) -> Answer {
    let scale = definition_of("autoscaling", "v1", "Scale")?;
    let (wanted, done) = if call.info.verb == "update" {
        let sent = read_object(kind, &call, body, scale.into()).await?;
        let object = named_scale(&sent.attempt, sent.object)?;
        (sent.wanted, server.registry.update_scale(&sent.attempt, |_| Ok(object.clone())).await?)
    } else {
        let (attempt, wanted, patch) = read_patch(kind, &call, body).await?;
        if let PatchForm::Apply { force } = patch.form {
            let (applied, warnings) = Model::from(scale).decode_applied(&patch.body, attempt.validation)?;
            attempt.notes.warn_all(warnings);
            let done = server.registry.apply_scale(&attempt, &named_scale(&attempt, applied)?, force).await?;
            return Ok(wanted.response(StatusCode::OK, wanted.value(&done.object)));
        }
        let form = patch.plain_form()?;
        let change = |live: Value| {
            let patched = sampan_api::patch::patched(form, &live, &patch.body, scale.into(), attempt.validation);
            patched.map(|(value, _)| value)
        };
        (wanted, server.registry.update_scale(&attempt, change).await?)
    };
    Ok(wanted.response(StatusCode::OK, wanted.value(&done.object)))
}

const APPLY_CBOR: &str = "application/apply-patch+cbor";

const PATCHES: &str = "application/json-patch+json, application/merge-patch+json, \
                       application/strategic-merge-patch+json, application/apply-patch+yaml, \
                       application/apply-patch+cbor";

/// Custom kinds have no merge keys for strategic merge patches.
const CUSTOM_PATCHES: &str = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml, application/apply-patch+cbor";

async fn read_patch(kind: &KindRef, call: &Call, body: Body) -> Result<(Attempt, Wanted, Patch), Status> {
    let wanted = Wanted::of_kind(kind, call)?;
    let attempt = attempt(kind, call)?;
    let form = match params::content_type(call) {
        "application/json-patch+json" => PatchForm::Json,
        "application/merge-patch+json" => PatchForm::Merge,
        "application/strategic-merge-patch+json" if kind.custom().is_none() => PatchForm::Strategic,
        "application/apply-patch+yaml" | APPLY_CBOR => PatchForm::Apply { force: call.query.flag("force") },
        _ if kind.custom().is_some() => return Err(Status::unsupported_media_type(CUSTOM_PATCHES)),
        _ => return Err(Status::unsupported_media_type(PATCHES)),
    };
    if matches!(form, PatchForm::Apply { .. }) && call.query.text("fieldManager").is_empty() {
        let fault = Error::required(&Path::new("fieldManager"), "is required for apply patch");
        return Err(invalid_options("PatchOptions", fault));
    }
    if !matches!(form, PatchForm::Apply { .. }) && call.query.get("force").is_some() {
        let fault = Error::forbidden(&Path::new("force"), "may not be specified for non-apply patch");
        return Err(invalid_options("PatchOptions", fault));
    }
    let mut body = read_body(body).await?;
    if params::content_type(call) == APPLY_CBOR {
        let (applied, _) = decode::any(&body, Format::Cbor)?;
        body = applied.to_string().into(); // JSON is YAML.
    }
    Ok((attempt, wanted, Patch { form, body }))
}

pub(super) async fn patch(server: &Server, kind: &KindRef, call: Call, body: Body) -> Answer {
    let (attempt, wanted, patch) = read_patch(kind, &call, body).await?;
    let done = server.registry.patch(&attempt, &patch).await?;
    Ok(reply(kind, &wanted, &done))
}

/// `DeleteOptions` from the body if there is one, else from the query.
async fn delete_options(call: &Call, body: Body) -> Result<DeleteOptions, Status> {
    let query = &call.query;
    let body = read_body(body).await?;
    if !body.is_empty() {
        return read_options(&body, params::media(call)?);
    }
    Ok(DeleteOptions {
        grace_period_seconds: query.number("gracePeriodSeconds")?,
        propagation_policy: query.get("propagationPolicy").map(str::to_owned),
        orphan_dependents: query.get("orphanDependents").map(|_| query.flag("orphanDependents")),
        ..DeleteOptions::default()
    })
}

fn read_options(body: &Bytes, media: Format) -> Result<DeleteOptions, Status> {
    let definition = definition_of("", "v1", "DeleteOptions")?;
    let (value, _) = params::decode(body, media, definition, FieldValidation::Ignore)?;
    serde_json::from_value(value).map_err(|e| Status::bad_request(format!("DeleteOptions cannot be read: {e}")))
}

pub(super) async fn delete(server: &Server, kind: &KindRef, call: Call, body: Body) -> Answer {
    let wanted = Wanted::of_kind(kind, &call)?;
    let mut attempt = attempt(kind, &call)?;
    let options = delete_options(&call, body).await?;
    attempt.dry_run |= !options.dry_run.is_empty();
    let done = server.registry.delete(&attempt, &options).await?;
    let body = match done.effect {
        Effect::Removed if !kind.rules().deletion_returns_object() => wanted.value(&success(&attempt, &done.object)),
        _ => forms::object(kind, &done.object, &wanted),
    };
    Ok(wanted.response(StatusCode::OK, body))
}

pub(super) async fn delete_collection(server: &Server, kind: &KindRef, call: Call, body: Body) -> Answer {
    let wanted = Wanted::of_kind(kind, &call)?;
    let mut attempt = attempt(kind, &call)?;
    let (filter, list) = (filter(kind, &call)?, ListOptions::from_query(&call.query)?);
    let options = delete_options(&call, body).await?;
    attempt.dry_run |= !options.dry_run.is_empty();
    match server.registry.delete_collection(&attempt, &filter, &list, &options).await {
        Ok(list) => Ok(wanted.response(StatusCode::OK, forms::list(kind, &list, &wanted))),
        Err(refused) => refused_list(refused, &wanted),
    }
}

fn reply(kind: &KindRef, wanted: &Wanted, done: &Done) -> Response<Body> {
    let code = if done.effect == Effect::Created { StatusCode::CREATED } else { StatusCode::OK };
    wanted.response(code, forms::object(kind, &done.object, wanted))
}
