//! Expressions with what they come to and cost in the API server of Kubernetes 1.37: `upstream.tsv`, one a line.
//!
//! ```text
//! <expression> TAB <cost> TAB <its value as JSON>
//! <expression> TAB error  TAB <the text>
//! <expression> TAB refused
//! ```

use sampan_cel::{Bindings, Budget, Env, Value};
use serde_json::Value as Json;

const TABLE: &str = include_str!("upstream.tsv");

fn outcome(expression: &str) -> String {
    let Ok(program) = Env::new().compile(expression) else { return "refused".to_owned() };
    let budget = Budget::new(Budget::OBJECT);
    match program.evaluate(&Bindings::new(), &budget) {
        Err(error) => format!("error\t{error}"),
        Ok(value) => format!("{}\t{}", Budget::OBJECT - budget.left(), shown(value)),
    }
}

fn shown(value: Value<'_>) -> String {
    match value {
        Value::Optional(None) => "none".to_owned(),
        Value::Optional(Some(inner)) => shown((*inner).clone()),
        Value::Type(name) => name.to_string(),
        value => value.to_json().map_or_else(|why| why, |json| plain(json).to_string()),
    }
}

/// JSON has one kind of numbers.
fn plain(json: Json) -> Json {
    match json {
        Json::Number(number) => number
            .as_f64()
            .filter(|number| number.fract() == 0.0)
            .map_or(Json::Number(number), |number| (number as i64).into()),
        Json::Array(items) => items.into_iter().map(plain).collect(),
        Json::Object(fields) => fields.into_iter().map(|(name, value)| (name, plain(value))).collect(),
        other => other,
    }
}

#[test]
fn expressions_come_to_what_they_come_to_upstream() {
    let differ: Vec<String> = TABLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (expression, want) = line.split_once('\t').unwrap();
            let got = outcome(expression);
            (got != want).then(|| format!("{expression}\n  want {want}\n  got  {got}"))
        })
        .collect();
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}
