//! Protobuf bodies.

use sampan_api::decode::Format;
use sampan_api::protobuf;

use super::forms;
use crate::{Target, input};

pub(super) const TARGET: Target = Target { name: "protobuf", run };

/// A line with the kind, then the body; or just the message, without what stands around it.
fn run(data: &[u8]) {
    let Some((typed, body)) = input::typed(data) else { return };
    let wrapped = protobuf::envelope::wrap("", "", body);
    for body in [body, &wrapped] {
        if let Some(object) = forms::sent(body, Format::Protobuf, &typed) {
            forms::check(&object, &typed);
        }
    }
}
