//! JSON paths as printer columns, scale subresources and selectable fields use them: `.spec.replicas`,
//! `.status.conditions[?(@.type=="Ready")].status`, `.metadata.labels['a\.b']`, `.spec.items[0]`, `[*]`.
//!
//! Recursive descent, slices, unions and functions of the full language are not known here.

use serde_json::Value;

/// Longest path that is read.
const MAX_CHARS: usize = 1024;

/// A path that has been read.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Filter { left: Vec<Step>, operator: Operator, right: Value },
    Has(Vec<Step>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::Unequal),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl JsonPath {
    /// Reads a path; an error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.chars().count() > MAX_CHARS {
            return Err("is too long".to_owned());
        }
        let text = text.strip_prefix('$').unwrap_or(text);
        if !text.starts_with(['.', '[']) {
            return Err("must be a simple json path starting with .".to_owned());
        }
        steps(text).map(Self)
    }

    /// The values at the path.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        find(&self.0, value)
    }

    /// The value at a path of fields, made if its parents are there to hold it; `None` if they cannot.
    pub fn place<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value> {
        self.0.iter().try_fold(value, |value, step| {
            let Step::Field(name) = step else { return None };
            if value.is_null() {
                *value = Value::Object(serde_json::Map::new());
            }
            Some(value.as_object_mut()?.entry(name.clone()).or_insert(Value::Null))
        })
    }
}

fn steps(mut text: &str) -> Result<Vec<Step>, String> {
    let mut found = Vec::new();
    while !text.is_empty() {
        let rest = if let Some(rest) = text.strip_prefix('.') {
            let (name, rest) = name(rest);
            match name.as_str() {
                "" => {}
                "*" => found.push(Step::All),
                _ => found.push(Step::Field(name)),
            }
            rest
        } else if let Some(rest) = text.strip_prefix('[') {
            let end = closing(rest).ok_or("unterminated array")?;
            found.push(bracket(rest[..end].trim())?);
            &rest[end + 1..]
        } else {
            return Err(format!("unexpected {text:?}"));
        };
        text = rest;
    }
    Ok(found)
}

/// The field name that the text begins with; a backslash takes the next character as it is.
fn name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return (name, &text[at..]),
            c => name.push(c),
        }
    }
    (name, "")
}

/// Where the bracket closes that has just been opened.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Result<Step, String> {
    if text == "*" {
        return Ok(Step::All);
    }
    if let Some(name) = unquoted(text) {
        return Ok(Step::Field(name.replace("\\", "")));
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|text| text.strip_suffix(')')) {
        return self::filter(filter.trim());
    }
    text.parse().map(Step::Index).map_err(|_| format!("invalid array index {text}"))
}

fn unquoted(text: &str) -> Option<&str> {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('\'').or_else(|| inner('"'))
}

fn filter(text: &str) -> Result<Step, String> {
    let path = |text: &str| steps(text.trim().strip_prefix('@').ok_or("a filter must begin with @")?);
    let found = OPERATORS
        .iter()
        .filter_map(|(sign, operator)| Some((text.find(sign)?, sign, *operator)))
        .min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len())));
    let Some((at, sign, operator)) = found else { return path(text).map(Step::Has) };
    let right = text[at + sign.len()..].trim();
    let right = match unquoted(right) {
        Some(text) => text.into(),
        None => serde_json::from_str(right).map_err(|_| format!("unrecognized literal {right}"))?,
    };
    Ok(Step::Filter { left: path(&text[..at])?, operator, right })
}

fn find<'v>(steps: &[Step], value: &'v Value) -> Vec<&'v Value> {
    steps.iter().fold(vec![value], |found, step| found.into_iter().flat_map(|value| take(step, value)).collect())
}

fn take<'v>(step: &Step, value: &'v Value) -> Vec<&'v Value> {
    let children = || -> Vec<&'v Value> {
        match value {
            Value::Array(items) => items.iter().collect(),
            Value::Object(fields) => fields.values().collect(),
            _ => Vec::new(),
        }
    };
    match step {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::All => children(),
        Step::Index(index) => {
            let length = i64::try_from(value.as_array().map_or(0, Vec::len)).unwrap_or(i64::MAX);
            let index = if *index < 0 { index + length } else { *index };
            usize::try_from(index).ok().and_then(|index| value.get(index)).into_iter().collect()
        }
        Step::Has(path) => children().into_iter().filter(|child| !find(path, child).is_empty()).collect(),
        Step::Filter { left, operator, right } => {
            let holds = |child: &&Value| find(left, child).first().is_some_and(|left| compare(left, *operator, right));
            children().into_iter().filter(holds).collect()
        }
    }
}

fn compare(left: &Value, operator: Operator, right: &Value) -> bool {
    let order = match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (a, b) => (a == b).then_some(std::cmp::Ordering::Equal),
    };
    match operator {
        Operator::Equal => order.is_some_and(|order| order.is_eq()),
        Operator::Unequal => !order.is_some_and(|order| order.is_eq()),
        Operator::Less => order.is_some_and(|order| order.is_lt()),
        Operator::AtMost => order.is_some_and(|order| order.is_le()),
        Operator::Greater => order.is_some_and(|order| order.is_gt()),
        Operator::AtLeast => order.is_some_and(|order| order.is_ge()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::JsonPath;

    #[track_caller]
    fn check(path: &str, want: Value) {
        let object = json!({
            "spec": { "a": 1, "list": [{"type": "Ready", "status": "True", "n": 1}, {"type": "Other", "n": 2}] },
            "metadata": { "labels": { "a.b/c": "x" } },
        });
        let found: Value = JsonPath::parse(path).unwrap().find(&object).into_iter().cloned().collect();
        assert_eq!(found, want, "{path}");
    }

    #[test]
    fn paths() {
        check(".spec.a", json!([1]));
        check(".spec.b", json!([]));
        check(".spec.list[0].type", json!(["Ready"]));
        check(".spec.list[-1].type", json!(["Other"]));
        check(".spec.list[*].type", json!(["Ready", "Other"]));
        check(r#".spec.list[?(@.type=="Ready")].status"#, json!(["True"]));
        check(".spec.list[?(@.type!='Ready')].n", json!([2]));
        check(".spec.list[?(@.n>=1)].n", json!([1, 2]));
        check(".spec.list[?(@.status)].n", json!([1]));
        check(r".metadata.labels.a\.b/c", json!(["x"]));
        check(".metadata.labels['a.b/c']", json!(["x"]));
    }

    #[test]
    fn what_is_no_path() {
        for text in ["spec", ".a[", ".a[x]", ".a[?(b==1)]"] {
            assert!(JsonPath::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn places_are_made() {
        let mut object = json!({"spec": {}});
        *JsonPath::parse(".spec.a.b").unwrap().place(&mut object).unwrap() = 3.into();
        assert_eq!(object, json!({"spec": {"a": {"b": 3}}}));
    }
}
