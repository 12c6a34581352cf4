//! JSON patches (RFC 6902).

use sampan_api::decode::{FieldValidation, Format};
use sampan_api::patch::{self, Form};

use super::forms;
use crate::{Target, input};

pub(super) const TARGET: Target = Target { name: "json_patch", run };

/// A line with the kind, an object, a patch.
fn run(data: &[u8]) {
    let Some((typed, rest)) = input::typed(data) else { return };
    let Some((live, patch)) = input::two(rest) else { return };
    let Some(live) = forms::sent(live, Format::Json, &typed) else { return };
    if let Ok((patched, _)) = patch::patched(Form::Json, &live, patch, typed.model(), FieldValidation::Warn) {
        let again = typed.model().patched(patched.clone(), FieldValidation::Strict).map(|(object, _)| object);
        assert_eq!(again.ok(), Some(patched), "the outcome is not in canonical form");
    }
}
