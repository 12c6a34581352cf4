//! YAML bodies: of a kind, and of any shape.

use sampan_api::decode::{self, Format};

use super::forms;
use crate::{Target, input};

pub(super) const TARGET: Target = Target { name: "yaml", run };

/// A line with the kind, then the body.
fn run(data: &[u8]) {
    let Some((typed, body)) = input::typed(data) else { return };
    if let Ok((value, _)) = decode::any(body, Format::Yaml) {
        let again = decode::any(value.to_string().as_bytes(), Format::Json).map(|(value, _)| value);
        assert_eq!(again.ok(), Some(value), "JSON says something else");
    }
    if let Some(object) = forms::sent(body, Format::Yaml, &typed) {
        forms::check(&object, &typed);
    }
}
