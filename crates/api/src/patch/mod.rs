//! Patches: JSON patch, merge patch, strategic merge patch; and server-side apply with its field ownership.
//!
//! The first three change an object as the request says, [`patched`] is their one entry. Server-side apply
//! ([`apply::apply`]) merges what a manager wants into what is there and keeps account of who owns which field;
//! [`apply::track_update`] keeps that account for all other writes. Nothing here validates the outcome.

pub mod apply;
pub mod json;
pub mod merge;
pub mod strategic;

use serde_json::Value;

use crate::decode::{self, FieldValidation, Format};
use crate::model::Model;
use crate::status::Status;

/// The form of a patch, but for server-side apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `application/json-patch+json`, RFC 6902
    Json,
    /// `application/merge-patch+json`, RFC 7386
    Merge,
    /// `application/strategic-merge-patch+json`
    Strategic,
}

/// The live object after the patch in `body`, fitted to its schema, with warnings for the client.
pub fn patched(
    form: Form,
    live: &Value,
    body: &[u8],
    model: Model<'_>,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    let (patch, duplicates) = decode::any(body, Format::Json)?;
    if validation == FieldValidation::Strict && !duplicates.is_empty() {
        return Err(Status::bad_request(format!("strict decoding error: {}", duplicates.join(", "))));
    }
    let changed = match form {
        Form::Json => json::patch(live, patch)?,
        Form::Merge => merge::patch(live, patch)?,
        Form::Strategic => match model {
            Model::BuiltIn(definition) => strategic::patch(live, patch, definition)?,
            Model::Custom(_) => return Err(rejected()),
        },
    };
    let (value, mut warnings) = model.patched(changed, validation)?;
    if validation == FieldValidation::Warn {
        warnings.splice(0..0, duplicates);
    }
    Ok((value, warnings))
}

/// Upstream's answer to a patch that is well formed and does not fit the object.
fn rejected() -> Status {
    Status {
        code: 422,
        reason: "Invalid".to_owned(),
        message: "the server rejected our request due to an error in our request".to_owned(),
        details: Some(Box::default()),
    }
}
