//! The query parameters and headers that several verbs share, and the media types of bodies.

use http::header;
use sampan_api::decode::{self, Format};
use sampan_api::field::{Error, Path};
use sampan_api::model::Model;
use sampan_api::schema::Definition;
use sampan_api::status::{Resource, Status};
use sampan_api::{cbor, protobuf};
use serde_json::{Map, Value, json};

use crate::registry::FieldValidation;
use crate::request::Query;
use crate::server::Call;

/// Longest name of a field manager.
const MAX_MANAGER_CHARS: usize = 128;

/// Who manages the fields that are written: as the client says, or the program's name.
pub(super) fn field_manager(call: &Call) -> Result<String, Status> {
    let said = call.query.text("fieldManager");
    if said.chars().count() > MAX_MANAGER_CHARS {
        let path = Path::new("fieldManager");
        return Err(invalid_options("PatchOptions", Error::too_long(&path, MAX_MANAGER_CHARS)));
    }
    if !said.is_empty() {
        return Ok(said.to_owned());
    }
    let agent = call.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let program = agent.split('/').next().unwrap_or_default();
    let program: String = program.chars().filter(|c| !c.is_control()).take(MAX_MANAGER_CHARS).collect();
    Ok(if program.is_empty() { "unknown".to_owned() } else { program })
}

/// Whether nothing is to be stored.
pub(super) fn dry_run(query: &Query) -> Result<bool, Status> {
    let mut asked = query.all("dryRun").filter(|value| !value.is_empty());
    match asked.find(|value| *value != "All") {
        None => Ok(query.get("dryRun").is_some_and(|value| !value.is_empty())),
        Some(other) => {
            let fault = Error::not_supported(&Path::new("dryRun"), other, &["All"]);
            Err(invalid_options("CreateOptions", fault))
        }
    }
}

/// The options of a write as the client gave them, for admission.
pub(super) fn said(query: &Query) -> Map<String, Value> {
    let mut said = Map::new();
    for name in ["fieldManager", "fieldValidation"] {
        if !query.text(name).is_empty() {
            said.insert(name.to_owned(), query.text(name).into());
        }
    }
    let dry_run: Vec<&str> = query.all("dryRun").filter(|value| !value.is_empty()).collect();
    if !dry_run.is_empty() {
        said.insert("dryRun".to_owned(), json!(dry_run));
    }
    said
}

/// How unknown fields are answered.
pub(super) fn field_validation(query: &Query) -> Result<FieldValidation, Status> {
    let text = query.text("fieldValidation");
    FieldValidation::parse(text).ok_or_else(|| {
        let fault = Error::not_supported(&Path::new("fieldValidation"), text, &["Ignore", "Strict", "Warn", ""]);
        invalid_options("CreateOptions", fault)
    })
}

/// 422 about an options object.
pub(super) fn invalid_options(kind: &str, fault: Error) -> Status {
    Status::invalid(Resource { group: "meta.k8s.io", name: kind }, "", &[fault])
}

/// What bodies of objects may be written in, as a refusal lists it.
const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf, application/cbor";

/// The same where there is no protobuf form.
const WITHOUT_PROTOBUF: &str = "application/json, application/yaml, application/cbor";

/// The media type of the request's body, without parameters.
pub(super) fn content_type(call: &Call) -> &str {
    let value = call.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// How the body is written; 415 for what cannot be read.
pub(crate) fn media(call: &Call) -> Result<Format, Status> {
    match content_type(call).to_ascii_lowercase().as_str() {
        "" | "application/json" | "*/*" => Ok(Format::Json),
        "application/yaml" => Ok(Format::Yaml),
        cbor::MEDIA_TYPE => Ok(Format::Cbor),
        protobuf::MEDIA_TYPE => Ok(Format::Protobuf),
        _ => Err(Status::unsupported_media_type(ACCEPTED)),
    }
}

/// Decodes an object of a kind; the texts are warnings for the client.
pub(super) fn decode_object(
    body: &[u8],
    media: Format,
    model: Model<'_>,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    match (media, model) {
        (Format::Protobuf, Model::Custom(_)) => Err(Status::unsupported_media_type(WITHOUT_PROTOBUF)),
        (media, Model::BuiltIn(definition)) => decode(body, media, definition, validation),
        (media, model) => model.decode(body, media, validation),
    }
}

/// Decodes an object of `definition`; the texts are warnings for the client.
pub(crate) fn decode(
    body: &[u8],
    media: Format,
    definition: &'static Definition,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    if media == Format::Protobuf && definition.message.is_none() {
        return Err(Status::unsupported_media_type(WITHOUT_PROTOBUF));
    }
    decode::object(body, media, definition, validation)
}
