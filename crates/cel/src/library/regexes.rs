//! Regular expressions: `matches`, `find`, `findAll`. Linear in the text, bounded in the size of the pattern.

use std::cell::RefCell;

use regex::{Regex, RegexBuilder};

use super::{Library, Ran};
use crate::value::Value;

/// The pattern functions.
pub(crate) static LIBRARY: Library = Library {
    declarations: "
    matches matches (string, string) -> bool
    matches matches_string string.(string) -> bool
    find string_find_string string.(string) -> string
    findAll string_find_all_string string.(string) -> list(string)
    findAll string_find_all_string_int string.(string, int) -> list(string)
",
    run,
};

/// Largest compiled pattern.
const MAX_COMPILED_BYTES: usize = 1 << 20;
/// How many patterns that are no constants are kept compiled, per thread.
const MAX_KEPT: usize = 8;

thread_local! {
    /// The patterns used last: a loop over one pattern compiles it once.
    static KEPT: RefCell<Vec<(String, Regex)>> = const { RefCell::new(Vec::new()) };
}

/// Compiles a pattern.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(pattern).size_limit(MAX_COMPILED_BYTES).dfa_size_limit(MAX_COMPILED_BYTES).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "error parsing regexp: expression too large".to_owned(),
        error => format!("error parsing regexp: {}", error.to_string().lines().last().unwrap_or_default()),
    })
}

fn compile_kept(pattern: &str) -> Result<Regex, String> {
    let known = KEPT.with_borrow(|kept| kept.iter().find(|(text, _)| text == pattern).map(|(_, regex)| regex.clone()));
    if let Some(regex) = known {
        return Ok(regex);
    }
    let regex = compile(pattern)?;
    KEPT.with_borrow_mut(|kept| {
        if kept.len() >= MAX_KEPT {
            kept.remove(0);
        }
        kept.push((pattern.to_owned(), regex.clone()));
    });
    Ok(regex)
}

fn run<'a>(function: &str, args: &[Value<'a>]) -> Ran<'a> {
    let Value::String(pattern) = args.get(1)? else { return None };
    match compile_kept(pattern) {
        Ok(regex) => run_compiled(function, args, &regex),
        Err(error) => Some(Err(error)),
    }
}

/// Runs a function of this library with its pattern compiled already.
pub(crate) fn run_compiled<'a>(function: &str, args: &[Value<'a>], regex: &Regex) -> Ran<'a> {
    let Value::String(text) = args.first()? else { return None };
    let found = |limit: usize| {
        let all = regex.find_iter(text).take(limit).map(|found| Value::text(found.as_str()));
        Value::list(all.collect())
    };
    Some(Ok(match (function, args.get(2)) {
        ("matches", None) => Value::Bool(regex.is_match(text)),
        ("find", None) => Value::text(regex.find(text).map_or("", |found| found.as_str())),
        ("findAll", None) => found(usize::MAX),
        ("findAll", Some(Value::Int(limit))) => found(usize::try_from(*limit).unwrap_or(usize::MAX)),
        _ => return None,
    }))
}
