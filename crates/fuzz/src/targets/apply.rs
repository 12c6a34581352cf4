//! Server-side apply.

use jiff::Timestamp;
use sampan_api::decode::{FieldValidation, Format};
use sampan_api::patch::apply::{Write, apply, track_update};
use serde_json::Value;

use super::forms;
use crate::input::Typed;
use crate::{Target, input};

pub(super) const TARGET: Target = Target { name: "apply", run };

/// A line with the kind, then what two managers apply, and what the first applies then.
fn run(data: &[u8]) {
    let Some((typed, rest)) = input::typed(data) else { return };
    let Some((first, second, third)) = input::three(rest) else { return };
    let Some(live) = forms::sent(first, Format::Json, &typed) else { return };
    let mut live = without_managed_fields(live);
    track_update(None, &mut live, &write("writer", &typed));
    for (manager, config) in [("one", first), ("two", second), ("one", third)] {
        let write = write(manager, &typed);
        let config = typed.model().decode_applied(config, FieldValidation::Ignore);
        let Ok((config, _)) = config else { continue };
        // A conflict ends one try; the next is forced, as people do then.
        let unforced = apply(Some(&live), &config, false, &write);
        let Ok(applied) = apply(Some(&live), &config, true, &write) else { continue };
        if let Ok(unforced) = unforced {
            assert_eq!(unforced, applied, "force made a difference where there was no conflict");
        }
        let again = apply(Some(&applied), &config, false, &write).map_err(|status| status.message);
        assert_eq!(again.as_ref(), Ok(&applied), "the second time changed something");
        live = applied;
    }
}

fn write<'a>(manager: &'a str, typed: &Typed) -> Write<'a> {
    Write { manager, subresource: "", reset: &["status"], now: Timestamp::UNIX_EPOCH, model: typed.model() }
}

fn without_managed_fields(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object
}
