//! CBOR bodies: of a kind, and of any shape.

use sampan_api::cbor;
use sampan_api::decode::Format;

use super::forms;
use crate::{Target, input};

pub(super) const TARGET: Target = Target { name: "cbor", run };

/// A line with the kind, then the body.
fn run(data: &[u8]) {
    let Some((typed, body)) = input::typed(data) else { return };
    if let Ok(value) = cbor::decode(body) {
        assert_eq!(cbor::decode(&cbor::encode(&value)), Ok(value), "CBOR says something else the second time");
    }
    if let Some(object) = forms::sent(body, Format::Cbor, &typed) {
        forms::check(&object, &typed);
    }
}
