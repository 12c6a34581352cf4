//! Turns `protobuf.tsv` into the `Slot` tables of `src/schema`. The head of that file describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use crate::Result;

/// The fields of every message, from number 1 on, as the table's words.
pub(crate) struct Messages {
    rows: BTreeMap<String, Vec<String>>,
}

impl Messages {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let words = |fields: String| fields.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let rows = crate::rows(path)?.into_iter().map(|[definition, fields]: [String; 2]| (definition, words(fields)));
        Ok(Self { rows: rows.collect() })
    }

    /// Whether the field is a pointer, as far as it is known.
    pub(crate) fn is_pointer(&self, definition: &str, field: &str) -> bool {
        let words = self.rows.get(definition).map(Vec::as_slice).unwrap_or_default();
        words.iter().any(|word| match word.split_at(1) {
            ("*", name) => name == field,
            ("+", inner) => self.is_pointer(&qualified(definition, inner), field),
            _ => false,
        })
    }

    /// The `Option<&[Slot]>` expression of a definition with these fields, in the order of their indices.
    pub(crate) fn slots(&self, definition: &str, fields: &[&str]) -> Result<String> {
        if !self.rows.contains_key(definition) {
            return Ok("None".to_owned());
        }
        let mut owner = Owner { messages: self, fields, numbered: BTreeSet::new() };
        let code = owner.slots(definition)?;
        // What kind an object is stands in the envelope around its message.
        let missing = |name: &&&str| !matches!(**name, "apiVersion" | "kind") && !owner.numbered.contains(**name);
        match fields.iter().find(missing) {
            Some(field) => Err(format!("{definition}.{field} has no number in protobuf.tsv").into()),
            None => Ok(format!("Some({code})")),
        }
    }
}

/// The name of a message that `message` names as `inner`, which may leave out their package.
fn qualified(message: &str, inner: &str) -> String {
    let (package, _) = message.rsplit_once('.').unwrap_or_default();
    if inner.contains('.') { inner.to_owned() } else { format!("{package}.{inner}") }
}

/// The definition whose message is being written; inlined messages hold fields of it too.
struct Owner<'a> {
    messages: &'a Messages,
    fields: &'a [&'a str],
    numbered: BTreeSet<&'a str>,
}

impl<'a> Owner<'a> {
    fn slots(&mut self, message: &str) -> Result<String> {
        let messages = self.messages;
        let words = messages.rows.get(message).ok_or_else(|| format!("protobuf.tsv has no {message}"))?;
        let mut code = "&[".to_owned();
        for (number, word) in (1..).zip(words).filter(|(_, word)| *word != "-") {
            let (presence, content) = self.slot(message, word)?;
            write!(code, "Slot {{ number: {number}, presence: Presence::{presence}, content: Content::{content} }}, ")?;
        }
        code.push(']');
        Ok(code)
    }

    fn slot(&mut self, message: &str, word: &'a str) -> Result<(&'static str, String)> {
        let (presence, name) = match word.split_at(1) {
            ("+", inner) => {
                return Ok(("Plain", format!("Inline({})", self.slots(&qualified(message, inner))?)));
            }
            ("*", name) => ("Pointer", name),
            ("!", name) => ("Shown", name),
            _ => ("Plain", word),
        };
        let (form, name) = name.strip_prefix('~').map_or(("Field", name), |name| ("Items", name));
        let index = self.fields.iter().position(|field| *field == name);
        let index = index.ok_or_else(|| format!("protobuf.tsv: {message} has no field {name}"))?;
        self.numbered.insert(name);
        Ok((presence, format!("{form}({index})")))
    }
}
