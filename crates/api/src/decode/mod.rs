//! Bodies to objects: JSON, YAML, CBOR or protobuf in, a value that fits its schema out, or upstream's complaint.
//!
//! First the text becomes a [`tree`], which still has duplicate keys and is bounded in size; then [`typed`] walks tree
//! and schema together: checks types, finds unknown and duplicate fields, drops nulls, and rewrites quantities and
//! times in canonical form. Defaults and validation are not done here. Start at [`object`].

pub(crate) mod growth;
mod repeated;
mod scalar;
mod tree;
mod typed;

use serde_json::Value;

use crate::field;
use crate::protobuf;
use crate::schema::{self, Definition, Gvk};
use crate::status::{Resource, Status};
use tree::Tree;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/yaml`, `application/apply-patch+yaml`
    Yaml,
    /// `application/cbor`, `application/apply-patch+cbor`
    Cbor,
    /// `application/vnd.kubernetes.protobuf`, which only types with a schema have.
    Protobuf,
}

/// What happens to unknown and duplicate fields: the request's `fieldValidation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// The request fails.
    Strict,
    /// They are dropped and the client is warned.
    #[default]
    Warn,
    /// They are dropped.
    Ignore,
}

impl FieldValidation {
    /// The value of the request parameter `fieldValidation`; empty is the default.
    pub fn parse(parameter: &str) -> Option<Self> {
        match parameter {
            "Strict" => Some(Self::Strict),
            "Warn" | "" => Some(Self::Warn),
            "Ignore" => Some(Self::Ignore),
            _ => None,
        }
    }
}

/// Reads an object of the definition's kind. Returns it with the warnings for the client.
///
/// `apiVersion` and `kind` may be missing; in the result they are there.
pub fn object(
    body: &[u8],
    format: Format,
    definition: &'static Definition,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    let expected = definition.short_name();
    let tree = match format {
        Format::Protobuf => protobuf::decode(body, definition).map(Tree::from).map_err(|error| error.to_string()),
        format => tree::parse(body, format),
    };
    let tree = tree.map_err(|error| unrecognized(expected, &unread(format, &error), body))?;
    let Tree::Map(fields) = &tree else {
        let found = tree.go_kind();
        let error = format!("json: cannot unmarshal {found} into Go value of type struct");
        return Err(unrecognized(expected, &unread(format, &error), body));
    };
    let text = |name: &str| fields.iter().rev().find(|(key, _)| key == name).and_then(|(_, tree)| tree.as_str());
    let sent = (text("apiVersion").unwrap_or_default().to_owned(), text("kind").unwrap_or_default().to_owned());
    check_kind(&sent, definition)?;
    let mut decoded = typed::decode(tree, definition);
    if let (Ok(decoded), Format::Yaml, FieldValidation::Strict) = (&mut decoded, format, validation) {
        put_repeated_first(&mut decoded.faults, body);
    }
    finish(decoded, definition, validation).map_err(|error| {
        let version = definition.gvk.map_or("", |gvk| gvk.version);
        Status::bad_request(format!("{expected} in version \"{version}\" cannot be handled as a {expected}: {error}"))
    })
}

/// Of YAML, repeated keys are told first and with their lines: upstream's parser finds them before it looks for fields.
pub(crate) fn put_repeated_first(faults: &mut Vec<String>, yaml: &[u8]) {
    let before = faults.len();
    faults.retain(|fault| !fault.starts_with("duplicate field "));
    if faults.len() < before {
        faults.insert(0, repeated::told(yaml));
    }
}

/// Reads a configuration to apply, of which every field counts: the schema is held against it later. `expected` is the
/// kind that belongs there. Returns it with the warnings for the client.
pub(crate) fn applied(
    body: &[u8],
    expected: &str,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    let (object, repeated) = untyped_object(body, Format::Yaml, expected)?;
    match validation {
        FieldValidation::Strict if !repeated.is_empty() => Err(Status::bad_request(format!(
            "error strict decoding YAML: error converting YAML to JSON: {}",
            repeated::told(body)
        ))),
        FieldValidation::Warn => Ok((object, repeated)),
        _ => Ok((object, Vec::new())),
    }
}

/// Fits a patched object to its schema again; unknown fields now come from the patch, and so does the blame.
pub fn patched(
    value: Value,
    definition: &'static Definition,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    let text = value.to_string();
    finish(typed::decode(value.into(), definition), definition, validation).map_err(|error| {
        let fault = field::Error::invalid(&field::Path::new("patch"), text, error);
        Status::invalid(Resource { group: "", name: "" }, "", &[fault])
    })
}

/// A value in the canonical form of its type, or why it cannot be of that type.
pub(crate) fn canonical(value: Value, definition: &'static Definition) -> Result<Value, String> {
    Ok(typed::decode(value.into(), definition)?.value)
}

/// Reads JSON or YAML of any shape, within the same bounds; of duplicate keys the last counts. The second part names
/// the duplicates: `duplicate field "spec.replicas"`.
pub fn any(body: &[u8], format: Format) -> Result<(Value, Vec<String>), Status> {
    let value = tree::parse(body, format).and_then(typed::untyped);
    let typed::Decoded { value, faults } = value.map_err(|error| match format {
        Format::Json | Format::Protobuf => Status::bad_request(format!("error decoding patch: {error}")),
        Format::Cbor => Status::bad_request(format!("error decoding CBOR: {error}")),
        Format::Yaml => Status::bad_request(format!("error decoding YAML: {error}")),
    })?;
    Ok((value, faults))
}

/// Reads an object of any shape, which must be one; with its duplicate fields. `expected` is the kind that belongs there.
pub(crate) fn untyped_object(body: &[u8], format: Format, expected: &str) -> Result<(Value, Vec<String>), Status> {
    let decoded =
        tree::parse(body, format).and_then(typed::untyped).map_err(|error| unrecognized(expected, &error, body))?;
    if !decoded.value.is_object() {
        let error = "json: cannot unmarshal into Go value of type struct";
        return Err(unrecognized(expected, error, body));
    }
    Ok((decoded.value, decoded.faults))
}

/// A part of an object, at the field `name`, in the canonical form of its type, with its unknown fields.
pub(crate) fn part(value: Value, definition: &'static Definition, name: &str) -> Result<(Value, Vec<String>), String> {
    let typed::Decoded { value, faults } = typed::decode(value.into(), definition)?;
    let placed = |fault: String| fault.replacen("field \"", &format!("field \"{name}."), 1);
    Ok((value, faults.into_iter().map(placed).collect()))
}

fn finish(
    decoded: Result<typed::Decoded, String>,
    definition: &'static Definition,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), String> {
    let typed::Decoded { mut value, faults } = decoded?;
    if validation == FieldValidation::Strict && !faults.is_empty() {
        return Err(format!("strict decoding error: {}", faults.join(", ")));
    }
    if let (Some(gvk), Some(object)) = (definition.gvk, value.as_object_mut()) {
        let filled = |text: &str| !text.is_empty();
        if !object.get("apiVersion").and_then(Value::as_str).is_some_and(filled) {
            object.insert("apiVersion".into(), api_version(gvk).into());
        }
        if !object.get("kind").and_then(Value::as_str).is_some_and(filled) {
            object.insert("kind".into(), gvk.kind.into());
        }
    }
    Ok((value, if validation == FieldValidation::Warn { faults } else { Vec::new() }))
}

fn api_version(gvk: Gvk) -> String {
    if gvk.group.is_empty() { gvk.version.to_owned() } else { format!("{}/{}", gvk.group, gvk.version) }
}

/// Checks that `apiVersion` and `kind`, as far as they were sent, are what this path takes.
fn check_kind((sent_version, sent_kind): &(String, String), definition: &Definition) -> Result<(), Status> {
    let Some(gvk) = definition.gvk else { return Ok(()) };
    if !sent_kind.is_empty() && sent_kind != gvk.kind {
        return Err(other_kind(sent_version, sent_kind, gvk));
    }
    let expected = api_version(gvk);
    if sent_version.is_empty() || *sent_version == expected || is_also_taken(sent_version, gvk.kind) {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "the API version in the data ({sent_version}) does not match the expected API version ({expected})"
    )))
}

/// Every group has its own `DeleteOptions`, and older clients evict in the words of `policy/v1beta1`; all mean the same.
fn is_also_taken(api_version: &str, kind: &str) -> bool {
    kind == "DeleteOptions" || (kind == "Eviction" && api_version == "policy/v1beta1")
}

fn other_kind(sent_version: &str, sent_kind: &str, expected: Gvk) -> Status {
    let (group, version) = sent_version.split_once('/').unwrap_or(("", sent_version));
    let why = match schema::of_kind(group, version, sent_kind) {
        Some(_) => format!(
            "converting ({version}.{sent_kind}) to ({}.{}): unknown conversion",
            expected.version, expected.kind
        ),
        None => format!("no kind \"{sent_kind}\" is registered for version \"{sent_version}\" in scheme \"sampan\""),
    };
    Status::bad_request(format!("{sent_kind} in version \"{version}\" cannot be handled as a {}: {why}", expected.kind))
}

/// What of a body is shown back to the client, in bytes.
const SHOWN_BODY_BYTES: usize = 30;

/// Why a body does not even tell what it holds.
fn unread(format: Format, error: &str) -> String {
    match format {
        Format::Json | Format::Yaml => format!("couldn't get version/kind; json parse error: {error}"),
        Format::Cbor => format!("unable to determine group/version/kind: {error}"),
        Format::Protobuf => error.to_owned(),
    }
}

fn unrecognized(expected: &str, error: &str, body: &[u8]) -> Status {
    let shown = &body[..body.len().min(SHOWN_BODY_BYTES)];
    let more = if body.len() > shown.len() { " ..." } else { "" };
    let summary = match shown {
        [] => "<empty>".to_owned(),
        [b'{', ..] => String::from_utf8_lossy(shown).into_owned(),
        _ => shown.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {expected}): {error} ({summary}{more})"
    ))
}

#[cfg(test)]
mod tests;
