//! Strategic merge patches.

use sampan_api::decode::{FieldValidation, Format};
use sampan_api::patch::{self, Form};

use super::forms;
use crate::{Target, input};

pub(super) const TARGET: Target = Target { name: "strategic_patch", run };

/// A line with the kind, an object, a patch: whose second time changes nothing. It may fail, as upstream's does, since
/// directives are first looked at where there is something to merge with.
fn run(data: &[u8]) {
    let Some((typed, rest)) = input::typed(data) else { return };
    let Some((live, patch)) = input::two(rest) else { return };
    let Some(live) = forms::sent(live, Format::Json, &typed) else { return };
    let patched = |object| patch::patched(Form::Strategic, object, patch, typed.model(), FieldValidation::Warn);
    let Ok((once, _)) = patched(&live) else { return };
    if let Ok((twice, _)) = patched(&once) {
        assert_eq!(twice, once, "the second time changed something");
    }
}
