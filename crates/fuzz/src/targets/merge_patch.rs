//! Merge patches (RFC 7386).

use sampan_api::decode::{FieldValidation, Format};
use sampan_api::patch::{self, Form};

use super::forms;
use crate::{Target, input};

pub(super) const TARGET: Target = Target { name: "merge_patch", run };

/// A line with the kind, an object, a patch: whose second time changes nothing.
fn run(data: &[u8]) {
    let Some((typed, rest)) = input::typed(data) else { return };
    let Some((live, patch)) = input::two(rest) else { return };
    let Some(live) = forms::sent(live, Format::Json, &typed) else { return };
    let patched = |object| patch::patched(Form::Merge, object, patch, typed.model(), FieldValidation::Warn);
    let Ok((once, _)) = patched(&live) else { return };
    let twice = patched(&once).map(|(object, _)| object);
    assert_eq!(twice.map_err(|status| status.message), Ok(once), "the second time changed something");
}
