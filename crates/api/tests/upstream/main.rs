//! What upstream's own libraries made of many inputs, and what we make of them. The tables beside this file are facts:
//! inputs, most of them drawn at random, with the outcome that version 0.37 of the libraries gave.

#![allow(clippy::unwrap_used, reason = "tests")]

mod printers;

use jiff::Timestamp;
use sampan_api::model::Model;
use sampan_api::patch::apply::{Write, apply, track_update};
use sampan_api::patch::strategic;
use sampan_api::quantity::Quantity;
use sampan_api::schema::{self, Definition};
use sampan_api::selector::Selector;
use serde_json::{Map, Value, json};

/// `apps/v1 Deployment`
fn definition(text: &str) -> &'static Definition {
    let (api_version, kind) = text.split_once(' ').unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    schema::of_kind(group, version, kind).unwrap()
}

fn lines(table: &str) -> impl Iterator<Item = (usize, Value)> {
    table.lines().enumerate().map(|(index, line)| (index + 1, serde_json::from_str(line).unwrap()))
}

/// Fails with the first few of these differences.
fn none(differences: &[String]) {
    let shown = differences.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("\n\n");
    assert!(differences.is_empty(), "{} differences, of which the first are:\n{shown}", differences.len());
}

#[test]
fn strategic_merge_patches() {
    let mut differences = Vec::new();
    for (number, case) in lines(include_str!("strategic.jsonl")) {
        let got = strategic::patch(&case["live"], case["patch"].clone(), definition(case["kind"].as_str().unwrap()));
        let agrees = match &got {
            Ok(got) => Some(got) == case.get("want"),
            Err(_) => case["fails"].is_string(),
        };
        if !agrees {
            let got = got.map_or_else(|status| status.message, |got| got.to_string());
            let want = case.get("want").unwrap_or(&case["fails"]);
            differences.push(format!("{number}: {}\n + {}\n = {got}\nnot {want}", case["live"], case["patch"]));
        }
    }
    none(&differences);
}

/// The object and who owns what of it after a write, or the refusal.
#[derive(Debug, PartialEq)]
struct Outcome {
    object: Value,
    managed: Vec<String>,
    fails: String,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n    {}\n    {}", self.object, self.managed.join("\n    "), self.fails)
    }
}

/// Carries out a step on `live`; upstream's account is of a kind without defaults.
fn carry_out(step: &Value, live: Option<&Value>, model: Model<'_>) -> Result<Value, String> {
    let manager = step["apply"].as_str().or(step["update"].as_str()).unwrap();
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let write = Write { manager, subresource: "", reset: &[], now, model };
    if step["update"].is_string() {
        let mut new = step["object"].clone();
        track_update(live, &mut new, &write);
        return Ok(new);
    }
    apply(live, &step["object"], step["force"] == true, &write).map_err(|status| status.message)
}

/// The object without its managers, and those as `manager operation fields`.
fn apart(mut object: Value) -> (Value, Vec<String>) {
    let managers = object["metadata"].as_object_mut().and_then(|metadata| metadata.remove("managedFields"));
    let text = |entry: &Value| {
        let word = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", word("manager"), word("operation"), entry["fieldsV1"])
    };
    let managers = managers.unwrap_or_default();
    let mut managers: Vec<String> = managers.as_array().into_iter().flatten().map(text).collect();
    managers.sort();
    (object, managers)
}

/// The same fields with their elements in one order.
fn in_order(managed: &str) -> String {
    let mut words = managed.splitn(3, ' ');
    let (manager, operation) = (words.next().unwrap(), words.next().unwrap());
    let fields: Value = serde_json::from_str(words.next().unwrap()).unwrap();
    format!("{manager} {operation} {fields}")
}

/// Structs that Go's types always have. Ours come with the defaults, which have no part here.
const ALWAYS_THERE: [&str; 6] = ["metadata", "resources", "selector", "spec", "strategy", "template"];

/// The same without them where they are empty.
fn bare(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Map<String, Value> =
                fields.iter().map(|(name, value)| (name.clone(), bare(value))).collect();
            fields.retain(|name, value| *value != json!({}) || !ALWAYS_THERE.contains(&name.as_str()));
            Value::Object(fields)
        }
        Value::Array(items) => items.iter().map(bare).collect(),
        value => value.clone(),
    }
}

#[test]
fn applied_and_updated_by_several() {
    let mut differences = Vec::new();
    for (number, story) in lines(include_str!("apply.jsonl")) {
        let definition = definition(story["kind"].as_str().unwrap());
        let mut live: Option<Value> = None;
        for (index, step) in story["steps"].as_array().unwrap().iter().enumerate() {
            let managed = step["managed"].as_array().into_iter().flatten().map(|text| in_order(text.as_str().unwrap()));
            let want = Outcome {
                object: bare(&step["want"]),
                managed: managed.collect(),
                fails: step["fails"].as_str().unwrap_or_default().to_owned(),
            };
            let got = match carry_out(step, live.as_ref(), definition.into()) {
                Ok(object) => {
                    let mut as_stored = step["want"].clone();
                    as_stored["metadata"]["managedFields"] = object["metadata"]["managedFields"].clone();
                    live = Some(as_stored);
                    let (object, managed) = apart(object);
                    Outcome { object: bare(&object), managed, fails: String::new() }
                }
                Err(fails) => Outcome { object: Value::Null, managed: Vec::new(), fails },
            };
            if got != want {
                differences.push(format!("{number}, step {index}: {step}\n = {got}\nnot {want}"));
                break;
            }
        }
    }
    none(&differences);
}

fn sign(quantity: Quantity) -> i32 {
    match quantity {
        quantity if quantity.is_zero() => 0,
        quantity if quantity.is_negative() => -1,
        _ => 1,
    }
}

#[test]
fn quantities() {
    let mut differences = Vec::new();
    for line in include_str!("quantities.tsv").lines() {
        let mut cells = line.split('\t');
        let text: String = serde_json::from_str(cells.next().unwrap()).unwrap();
        let want = cells.collect::<Vec<_>>().join(" ");
        let got = match Quantity::parse(&text) {
            Ok(q) => {
                let text = Quantity::canonical(&text).unwrap();
                format!("{text} {} {} {}", q.value(), q.milli_value(), sign(q))
            }
            Err(error) => format!("error: {error}"),
        };
        if got != want {
            differences.push(format!("{text:?}: {got}, not {want}"));
        }
    }
    none(&differences);
}

#[test]
fn selectors() {
    let sets = [
        json!({}),
        json!({"a": "1"}),
        json!({"a": "2"}),
        json!({"a": "", "b": "1"}),
        json!({"a": "1", "b": "2", "x.io/n": "5"}),
        json!({"x.io/n": "10"}),
    ];
    let mut differences = Vec::new();
    for line in include_str!("selectors.tsv").lines() {
        let (text, want) = line.split_once('\t').unwrap();
        let got = match Selector::parse(text) {
            Ok(selector) => sets.iter().map(|set| if selector.matches(set) { "1" } else { "0" }).collect(),
            Err(error) => format!("error: {error}"),
        };
        if got != want {
            differences.push(format!("{text:?}: {got}\nnot {want}"));
        }
    }
    none(&differences);
}
