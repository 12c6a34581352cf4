//! Constants: what they alone show to be wrong (malformed patterns, durations, timestamps), and what can be made of
//! them once instead of in every evaluation. What is made here costs nothing later, as upstream.

use crate::eval::{of_literal, run};
use crate::issue::Issue;
use crate::library::{regexes, time};
use crate::syntax::ast::{Call, Expr, Kind, Literal};
use crate::value::{Key, Map, Value};

/// The faults of constants; fills in [`Call::pattern`].
pub(super) fn check(root: &mut Expr) -> Vec<Issue> {
    let mut issues = Vec::new();
    visit(root, &mut issues);
    issues
}

fn visit(expr: &mut Expr, issues: &mut Vec<Issue>) {
    for child in expr.children_mut() {
        visit(child, issues);
    }
    if let Kind::Call(call) = &mut expr.kind
        && let Err((at, function)) = constant_argument(call)
    {
        issues.push(Issue::new(at, format!("invalid {function} argument")));
    }
}

fn constant_argument(call: &mut Call) -> Result<(), (usize, String)> {
    let index = match (call.function.as_str(), call.target.is_some()) {
        ("matches", false) => 1,
        ("matches" | "find" | "findAll", true) | ("duration" | "timestamp", false) => 0,
        _ => return Ok(()),
    };
    let Some(arg) = call.args.get(index) else { return Ok(()) };
    let Kind::Literal(Literal::String(text)) = &arg.kind else { return Ok(()) };
    let well_formed = match call.function.as_str() {
        "duration" => time::parse_duration(text).is_some(),
        "timestamp" => time::parse_timestamp(text).is_some(),
        // Malformed patterns of `find` are told only when it runs.
        function => {
            call.pattern = regexes::compile(text).ok();
            call.pattern.is_some() || function != "matches"
        }
    };
    if well_formed { Ok(()) } else { Err((arg.at, call.function.clone())) }
}

/// Functions that turn one constant into another.
const CONVERSIONS: [&str; 10] =
    ["bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"];

/// Replaces lists, maps and conversions of constants by what they make. Fails if a constant cannot be converted.
pub(crate) fn fold(expr: &mut Expr) -> Result<(), Issue> {
    for child in expr.children_mut() {
        fold(child)?;
    }
    if let Some(value) = made_of_constants(expr) {
        expr.kind = Kind::Constant(value.map_err(|why| Issue::new(expr.at, why))?);
    }
    Ok(())
}

fn made_of_constants(expr: &Expr) -> Option<Result<Value<'static>, String>> {
    let made = match &expr.kind {
        Kind::Call(call) if CONVERSIONS.contains(&call.function.as_str()) && call.target.is_none() => {
            return run(&call.function, vec![constant(call.args.first()?)?]);
        }
        Kind::List(elements) => {
            let item = |element: &crate::syntax::ast::Element| constant(&element.value).filter(|_| !element.optional);
            elements.iter().map(item).collect::<Option<_>>().map(Value::list)
        }
        Kind::Map(entries) => {
            let entry = |entry: &crate::syntax::ast::Entry<Expr>| {
                let key = Key::of(&constant(&entry.key)?)?;
                Some((key, constant(&entry.value).filter(|_| !entry.optional)?))
            };
            let made: std::collections::BTreeMap<_, _> = entries.iter().map(entry).collect::<Option<_>>()?;
            // Repeated keys are an error that evaluation tells.
            (made.len() == entries.len()).then(|| Value::Map(Map::own(made)))
        }
        _ => None,
    };
    made.map(Ok)
}

fn constant(expr: &Expr) -> Option<Value<'static>> {
    match &expr.kind {
        Kind::Literal(literal) => Some(of_literal(literal)),
        Kind::Constant(value) => Some(value.clone()),
        _ => None,
    }
}
