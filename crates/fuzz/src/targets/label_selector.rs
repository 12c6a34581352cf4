//! Label selectors as queries write them.

use std::collections::BTreeMap;

use sampan_api::selector::Selector;

use crate::{Target, input};

pub(super) const TARGET: Target = Target { name: "label_selector", run };

/// The text of a selector: said twice, it means the same.
fn run(data: &[u8]) {
    let Some(text) = input::text(data) else { return };
    let Ok(selector) = Selector::parse(text) else { return };
    // Labels out of the selector's own words are those that it may select.
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && !"-_./".contains(c)).collect();
    let labels: BTreeMap<String, String> =
        words.windows(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect();
    assert!(!selector.is_everything() || selector.matches(&labels), "everything is selected, but this is not");
    if text.trim().is_empty() {
        return;
    }
    let twice =
        Selector::parse(&format!("{text},{text}")).unwrap_or_else(|why| panic!("once it is right, twice: {why}"));
    assert_eq!(twice.matches(&labels), selector.matches(&labels), "twice it selects otherwise");
}
