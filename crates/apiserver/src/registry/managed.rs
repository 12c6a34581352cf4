//! Who owns which field: the account that every write keeps, for server-side apply.

use sampan_api::kind::Kind;
use sampan_api::patch::apply::{self, Write};
use sampan_api::status::Status;
use serde_json::Value;

use super::Attempt;

/// The way a new version of an object was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// By an update or patch: what has changed belongs to the writer.
    Update,
    /// Through `scale`.
    Scale,
    /// By an apply, which keeps the account itself.
    Applied,
}

/// Accounts for a create.
pub(super) fn created(attempt: &Attempt, object: &mut Value, how: How) -> Result<(), Status> {
    if how != How::Applied {
        apply::track_update(None, object, &write(attempt, attempt.subresource)?);
    }
    Ok(())
}

/// Accounts for a change of `old` to `new`.
pub(super) fn updated(attempt: &Attempt, new: &mut Value, old: &Value, how: How) -> Result<(), Status> {
    match how {
        How::Applied => {}
        How::Update => apply::track_update(Some(old), new, &write(attempt, attempt.subresource)?),
        How::Scale => apply::track_update(Some(old), new, &write(attempt, "scale")?),
    }
    Ok(())
}

/// The object after an apply, account included.
pub(super) fn applied(attempt: &Attempt, live: Option<&Value>, config: &Value, force: bool) -> Result<Value, Status> {
    apply::apply(live, config, force, &write(attempt, attempt.subresource)?)
}

fn write<'a>(attempt: &'a Attempt, subresource: &'a str) -> Result<Write<'a>, Status> {
    Ok(Write {
        manager: &attempt.manager,
        subresource,
        reset: reset(&attempt.kind, attempt.subresource),
        now: attempt.now,
        model: attempt.kind.model()?,
    })
}

/// Fields that this path does not change, and that nobody wins by it.
fn reset(kind: &Kind, subresource: &str) -> &'static [&'static str] {
    match subresource {
        "status" | "approval" => &["spec"],
        _ if kind.subresources.iter().any(|sub| sub.name == "status") => &["status"],
        _ => &[],
    }
}
