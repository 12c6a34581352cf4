//! What the steps of a request leave behind besides its answer: warnings for the client, annotations for the audit log.
//!
//! One [`Notes`] goes along with each request. Whoever comes last (the filter chain, the audit log) takes from it.

use std::collections::BTreeMap;

use http::HeaderValue;
use parking_lot::Mutex;

/// Characters of all warnings together; beyond that each one is shortened.
const MAX_CHARS: usize = 4096;
/// Characters of a warning that is shortened.
const SHORT_CHARS: usize = 256;

/// The notes of one request.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    warnings: Mutex<Vec<String>>,
    annotations: Mutex<BTreeMap<String, String>>,
}

impl Notes {
    /// Warns the client, once however often it is said.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        let (text, mut warnings) = (text.into(), self.warnings.lock());
        if !text.is_empty() && !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// Warns of each.
    pub(crate) fn warn_all(&self, texts: impl IntoIterator<Item = String>) {
        texts.into_iter().for_each(|text| self.warn(text));
    }

    /// Notes something for the audit log. What was said first about a key stands.
    pub(crate) fn annotate(&self, key: impl Into<String>, value: impl Into<String>) {
        self.annotations.lock().entry(key.into()).or_insert_with(|| value.into());
    }

    /// The annotations for the audit log.
    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        self.annotations.lock().clone()
    }

    /// The values of the `Warning` headers: `299 - "text"`.
    pub(crate) fn headers(&self) -> Vec<HeaderValue> {
        let shown = bounded(&self.warnings.lock());
        shown.iter().filter_map(|text| HeaderValue::from_str(&format!("299 - {}", quoted(text))).ok()).collect()
    }
}

/// The warnings as they are, or shortened and cut off if they are too many.
fn bounded(warnings: &[String]) -> Vec<String> {
    let chars = |text: &String| text.chars().count();
    if warnings.iter().map(chars).sum::<usize>() <= MAX_CHARS {
        return warnings.to_vec();
    }
    let mut written = 0;
    let shortened = warnings.iter().map(|text| text.chars().take(SHORT_CHARS).collect::<String>());
    let fits = shortened.take_while(|text| {
        let before = written;
        written += chars(text);
        before < MAX_CHARS
    });
    fits.collect()
}

/// A text as an HTTP quoted string.
fn quoted(text: &str) -> String {
    let plain = text.chars().filter(|c| !c.is_control());
    let escaped: String = plain.flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c])).collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_said_once_and_quoted() {
        let notes = Notes::default();
        notes.warn_all(["a \"b\" \\".to_owned(), "a \"b\" \\".to_owned(), String::new()]);
        assert_eq!(notes.headers(), [r#"299 - "a \"b\" \\""#]);
    }

    #[test]
    fn too_many_warnings_are_shortened() {
        let notes = Notes::default();
        notes.warn_all((0..30).map(|n| format!("{n:02}{}", "x".repeat(400))));
        let headers = notes.headers();
        assert_eq!(headers.len(), MAX_CHARS / SHORT_CHARS);
        assert!(headers.iter().all(|value| value.len() == SHORT_CHARS + "299 - \"\"".len()));
    }

    #[test]
    fn the_first_annotation_stands() {
        let notes = Notes::default();
        notes.annotate("k", "first");
        notes.annotate("k", "second");
        assert_eq!(notes.annotations()["k"], "first");
    }
}
