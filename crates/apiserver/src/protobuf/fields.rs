//! Field numbers of messages, from the table `fields.txt`, whose head describes it.

use std::collections::HashMap;
use std::sync::OnceLock;

const TABLE: &str = include_str!("fields.txt");

/// A field number's meaning.
pub(super) enum Slot {
    /// Nothing has this number.
    Unused,
    /// A message whose fields are the parent's own.
    Inline(&'static str),
    /// A field by its JSON name.
    Named {
        /// The name.
        name: &'static str,
        /// Whether zero is something else than absent.
        nullable: bool,
    },
}

/// A message's fields, from number 1 on.
pub(super) type Row = Vec<Slot>;

/// The row of a message: `io.k8s.api.core.v1.Pod`.
pub(super) fn row(message: &str) -> Option<&'static Row> {
    static ROWS: OnceLock<HashMap<String, Row>> = OnceLock::new();
    ROWS.get_or_init(|| parse(TABLE)).get(message)
}

fn parse(table: &'static str) -> HashMap<String, Row> {
    let mut rows = HashMap::new();
    let mut package = "";
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            package = name.trim_end_matches(']');
            continue;
        }
        let mut words = line.split(' ');
        if let Some(name) = words.next().filter(|name| !name.is_empty()) {
            rows.insert(format!("{package}.{name}"), words.map(slot).collect());
        }
    }
    rows
}

fn slot(word: &'static str) -> Slot {
    match word.split_at(1) {
        ("-", "") => Slot::Unused,
        ("+", name) => Slot::Inline(name),
        ("*", name) => Slot::Named { name, nullable: true },
        _ => Slot::Named { name: word, nullable: false },
    }
}
