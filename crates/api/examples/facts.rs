//! Makes and checks `facts/merge.tsv` from a published OpenAPI v2 document of Kubernetes.
//!
//! ```text
//! cargo run -p sampan-api --example facts -- swagger.json                        # prints the table
//! cargo run -p sampan-api --example facts -- swagger.json crates/api/facts/merge.tsv   # compares
//! ```
//!
//! The document says how lists and maps merge, which the Rust types do not; the table keeps just that.

use std::collections::BTreeSet;

use serde_json::Value;

const HEADING: &str =
    "# definition\tfield (- for the type itself)\tlist type\tlist map keys\tpatch strategy\tpatch merge key\tmap type";

/// `x-kubernetes-*` entries, in the order of the table's columns.
const COLUMNS: [&str; 5] = ["list-type", "list-map-keys", "patch-strategy", "patch-merge-key", "map-type"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let swagger = arguments.next().ok_or("usage: facts SWAGGER [TABLE]")?;
    let document: Value = serde_json::from_slice(&std::fs::read(swagger)?)?;
    let rows = rows(&document);
    let Some(table) = arguments.next() else {
        println!("{HEADING}");
        rows.iter().for_each(|row| println!("{row}"));
        return Ok(());
    };
    let text = std::fs::read_to_string(table)?;
    let have: BTreeSet<String> = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    rows.difference(&have).for_each(|row| println!("missing: {row}"));
    have.difference(&rows).for_each(|row| println!("not in the document: {row}"));
    if rows == have { Ok(()) } else { Err("the table and the document differ".into()) }
}

fn rows(document: &Value) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    for (name, definition) in document["definitions"].as_object().into_iter().flatten() {
        rows.extend(row(name, "-", definition));
        for (field, schema) in definition["properties"].as_object().into_iter().flatten() {
            rows.extend(row(name, field, schema));
        }
    }
    rows
}

/// The table's row for one schema, if the document says anything about how it merges.
fn row(definition: &str, field: &str, schema: &Value) -> Option<String> {
    let cells = COLUMNS.map(|column| match &schema[format!("x-kubernetes-{column}")] {
        Value::String(text) => text.clone(),
        Value::Array(keys) => keys.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        _ => "-".to_owned(),
    });
    cells.iter().any(|cell| cell != "-").then(|| format!("{definition}\t{field}\t{}", cells.join("\t")))
}
