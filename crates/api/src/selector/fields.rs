//! Selection by fields: `spec.nodeName=n1,metadata.name!=x`, with `\,`, `\=` and `\\` in values.

use super::{Error, MAX_TEXT_BYTES};

/// A selection by fields: all terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// The terms, in the order they were written.
    pub terms: Vec<FieldTerm>,
}

/// One term of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    /// `spec.nodeName`
    pub field: String,
    /// What it is compared with.
    pub value: String,
    /// Whether it must be equal (`=`, `==`) or must not be (`!=`).
    pub equal: bool,
}

impl FieldSelector {
    /// Reads the text of a query's `fieldSelector`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Error::TooLong);
        }
        let terms = split(text).into_iter().filter(|term| !term.is_empty());
        Ok(Self { terms: terms.map(|term| FieldTerm::parse(text, term)).collect::<Result<_, _>>()? })
    }

    /// Whether it selects an object, of which `value_of` gives the fields; a missing field is empty.
    pub fn matches<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|term| (value_of(&term.field).unwrap_or_default() == term.value) == term.equal)
    }

    /// The value that the field must have, if a term says so: `metadata.name=x` needs no more than a get.
    pub fn exactly(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }
}

impl FieldTerm {
    fn parse(selector: &str, term: &str) -> Result<Self, Error> {
        let not_understood = || Error::Field { selector: selector.to_owned(), term: term.to_owned() };
        let at = unescaped(term, |rest| rest.starts_with("!=") || rest.starts_with('=')).ok_or_else(not_understood)?;
        let (field, rest) = term.split_at(at);
        let equal = !rest.starts_with('!');
        let value = ["!=", "==", "="].iter().find_map(|operator| rest.strip_prefix(operator)).unwrap_or_default();
        Ok(Self { field: field.to_owned(), value: unescape(value)?, equal })
    }
}

/// The terms between unescaped commas.
fn split(mut text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    while let Some(at) = unescaped(text, |rest| rest.starts_with(',')) {
        terms.push(&text[..at]);
        text = &text[at + 1..];
    }
    terms.push(text);
    terms
}

/// Where the first place is that is not escaped and where `is_there` holds of the rest.
fn unescaped(text: &str, is_there: impl Fn(&str) -> bool) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if !escaped && is_there(&text[at..]) {
            return Some(at);
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

fn unescape(text: &str) -> Result<String, Error> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some(escaped @ (',' | '=' | '\\')) => plain.push(escaped),
                other => return Err(Error::Escape(format!("\\{}", other.map(String::from).unwrap_or_default()))),
            },
            // What has a meaning must be escaped in a value.
            ',' | '=' => return Err(Error::Escape(c.to_string())),
            plain_char => plain.push(plain_char),
        }
    }
    Ok(plain)
}
