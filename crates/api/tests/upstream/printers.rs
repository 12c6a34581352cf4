//! Objects and the rows that `kubectl get -o wide` shows of them: `printers.jsonl` holds what the printers of Kubernetes
//! 1.37 make of each, with the columns. Ages are unknown there, since no object says when it was made.

use sampan_api::kind::KindRef;
use sampan_api::kinds;
use serde_json::{Value, json};

const TABLE: &str = include_str!("printers.jsonl");

/// Columns and cells as the server would answer them.
fn shown(object: &Value) -> (Value, Value) {
    let text = |name: &str| object[name].as_str().unwrap();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let kind = kinds::find(group, version, text("kind")).unwrap_or_else(|| panic!("{}", text("kind")));
    let kind = KindRef::from(kind);
    let mut object = object.clone();
    kind.rules().default(&mut object);
    let columns = kind.columns.iter().map(|column| json!([column.name, column.kind, column.format, column.priority]));
    (columns.collect(), kind.rules().row(&object, jiff::Timestamp::UNIX_EPOCH).into())
}

#[test]
fn rows_are_those_of_upstreams_printers() {
    let mut differ = Vec::new();
    for line in TABLE.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let (columns, cells) = shown(&row["object"]);
        if (&columns, &cells) != (&row["columns"], &row["cells"]) {
            let both = |what: &str, ours: &Value| match *ours == row[what] {
                true => String::new(),
                false => format!("\n  {what}\n    want {}\n    got  {ours}", row[what]),
            };
            let object = serde_json::to_string(&row["object"]).unwrap();
            differ.push(format!("{object}{}{}", both("columns", &columns), both("cells", &cells)));
        }
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}
