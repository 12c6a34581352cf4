//! Selectors: which objects are meant, by their labels or by their fields.
//!
//! [`Selector`] is over labels; it is read from a query (`a=b,c in (d,e),!f`) or from a `LabelSelector` object.
//! [`FieldSelector`] is over fields and comes from a query alone (`spec.nodeName=n1,metadata.name!=x`).

mod fields;
mod lexer;
mod parser;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use fields::{FieldSelector, FieldTerm};

use crate::validation::names;

/// The longest text of a selector that is read.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// Why a text or object is no selector, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// One requirement of a label selector's text is wrong.
    #[error("unable to parse requirement: {0}")]
    Requirement(Box<Error>),
    /// A requirement of one of several values has none in parentheses.
    #[error("found '{0}' expected: '('")]
    NoValues(String),
    /// A label selector's text goes on with something else than it may.
    #[error("found '{found}', expected: {expected}")]
    Unexpected {
        /// The token that is there.
        found: String,
        /// What could be there.
        expected: &'static str,
    },
    /// A key or value that no label can have.
    #[error("{path}: Invalid value: \"{value}\": {why}")]
    Invalid {
        /// `key`, `values[0][app]`
        path: String,
        /// The key or value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// An unknown operator in a `LabelSelector`.
    #[error("\"{0}\" is not a valid label selector operator")]
    Operator(String),
    /// A field selector's text cannot be understood.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Field {
        /// The whole text.
        selector: String,
        /// The part at fault.
        term: String,
    },
    /// A `\` before a character that needs none.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    /// The text has too many bytes.
    #[error("selector may not be more than {MAX_TEXT_BYTES} bytes")]
    TooLong,
}

/// A selection by labels: all requirements must hold. The default, without requirements, selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
    /// Whether nothing is selected, whatever the labels.
    nothing: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// Where labels can be looked up.
pub trait Labels {
    /// The value of a label.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl Labels for Map<String, Value> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }
}

/// `metadata.labels` of an object, or null.
impl Labels for Value {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }
}

impl<T: Labels> Labels for Option<T> {
    fn label(&self, key: &str) -> Option<&str> {
        self.as_ref().and_then(|labels| labels.label(key))
    }
}

impl Selector {
    /// A selector that selects nothing.
    pub fn nothing() -> Self {
        Self { nothing: true, ..Self::default() }
    }

    /// Reads the text of a query's `labelSelector`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Error::TooLong);
        }
        Ok(Self { requirements: parser::parse(text)?, nothing: false })
    }

    /// Reads a `LabelSelector` object; null selects nothing, `{}` everything.
    pub fn from_object(selector: &Value) -> Result<Self, Error> {
        if selector.is_null() {
            return Ok(Self::nothing());
        }
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            requirements.push(Requirement::new(key.clone(), Operator::In, vec![value])?);
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let operator = match expression["operator"].as_str().unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(Error::Operator(other.to_owned())),
            };
            let key = expression["key"].as_str().unwrap_or_default().to_owned();
            let values = expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
            requirements.push(Requirement::new(key, operator, values.map(str::to_owned).collect())?);
        }
        Ok(Self { requirements, nothing: false })
    }

    /// A selector of objects that have all these labels, as a Service's `spec.selector` is.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let requirement = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            operator: Operator::In,
            values: vec![value.clone()],
        };
        Self { requirements: labels.into_iter().map(requirement).collect(), nothing: false }
    }

    /// Whether it selects an object with these labels.
    pub fn matches(&self, labels: &impl Labels) -> bool {
        !self.nothing && self.requirements.iter().all(|requirement| requirement.holds(labels.label(&requirement.key)))
    }

    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }
}

impl Requirement {
    fn new(key: String, operator: Operator, values: Vec<String>) -> Result<Self, Error> {
        check_key("key", &key)?;
        let fault = match (operator, values.as_slice()) {
            (Operator::In | Operator::NotIn, []) => Some("for 'in', 'notin' operators, values set can't be empty"),
            (Operator::Exists | Operator::DoesNotExist, [_, ..]) => {
                Some("values set must be empty for exists and does not exist")
            }
            (Operator::GreaterThan | Operator::LessThan, values) if integer(values).is_none() => {
                Some("for 'Gt', 'Lt' operators, the value must be an integer")
            }
            _ => None,
        };
        if let Some(why) = fault {
            let path = if values.len() == 1 { "values[0]" } else { "values" }.to_owned();
            return Err(Error::Invalid { path, value: values.join(","), why: why.to_owned() });
        }
        for (index, value) in values.iter().enumerate() {
            let why = names::label_value(value).join("; ");
            if !why.is_empty() {
                return Err(Error::Invalid { path: format!("values[{index}][{key}]"), value: value.clone(), why });
            }
        }
        Ok(Self { key, operator, values })
    }

    fn holds(&self, label: Option<&str>) -> bool {
        let named = |label: &str| self.values.iter().any(|value| value == label);
        match self.operator {
            Operator::In => label.is_some_and(named),
            Operator::NotIn => !label.is_some_and(named),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => self.compares(label, |label, bound| label > bound),
            Operator::LessThan => self.compares(label, |label, bound| label < bound),
        }
    }

    fn compares(&self, label: Option<&str>, holds: fn(i64, i64) -> bool) -> bool {
        let label = label.and_then(|label| label.parse().ok());
        label.zip(integer(&self.values)).is_some_and(|(label, bound)| holds(label, bound))
    }
}

/// Whether a label can have this key.
fn check_key(path: &str, key: &str) -> Result<(), Error> {
    let why = names::qualified(key).join("; ").replace("a qualified name must", "a valid label key must");
    if why.is_empty() {
        return Ok(());
    }
    Err(Error::Invalid { path: path.to_owned(), value: key.to_owned(), why })
}

/// The one integer among the values.
fn integer(values: &[String]) -> Option<i64> {
    match values {
        [one] => one.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
