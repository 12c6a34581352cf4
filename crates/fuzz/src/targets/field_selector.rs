//! Field selectors as queries write them.

use sampan_api::selector::{FieldSelector, FieldTerm};

use crate::{Target, input};

pub(super) const TARGET: Target = Target { name: "field_selector", run };

/// The text of a selector: written again and read again, it is the same.
fn run(data: &[u8]) {
    let Some(text) = input::text(data) else { return };
    let Ok(selector) = FieldSelector::parse(text) else { return };
    let written: Vec<String> = selector.terms.iter().map(write).collect();
    assert_eq!(FieldSelector::parse(&written.join(",")), Ok(selector.clone()), "{written:?}");
    let wanted = |field: &str| selector.terms.iter().find(|term| term.field == field).map(|term| term.value.as_str());
    if selector.terms.iter().all(|term| term.equal && wanted(&term.field) == Some(term.value.as_str())) {
        assert!(selector.matches(wanted), "what is just as the selector says is not selected");
    }
}

fn write(term: &FieldTerm) -> String {
    let operator = if term.equal { "=" } else { "!=" };
    let value = term.value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
    format!("{}{operator}{value}", term.field)
}
