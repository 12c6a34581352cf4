//! What evaluation costs, counted as upstream counts it, and the budgets it is taken from.
//!
//! One unit is about the work of reading a field. Literals are free; a variable, a field and a plain call cost 1; making
//! a list costs 10, a map 30, an object 40; what walks text or lists costs by their size.

use std::cell::Cell;

use crate::syntax::ast::operator;
use crate::value::{List, Opaque, Value};

/// What walking one character or byte costs.
pub(crate) const TRAVERSAL: f64 = 0.1;
/// What one character of a pattern costs for each unit of the text.
pub(crate) const PATTERN: f64 = 0.25;
/// What each pair of items costs when a list is sorted, or searched for what is there twice,
pub(crate) const COMPARISON: f64 = 2.0;
/// and when the items are texts.
pub(crate) const TEXT_COMPARISON: f64 = COMPARISON + TRAVERSAL;
/// An authorization check: two of them fit into one evaluation.
const CHECK: u64 = 350_000;
/// From this size on, copies cost by their size even where upstream cannot tell that something is copied.
const LARGE: u64 = 1_000;

pub(crate) const LIST: u64 = 10;
pub(crate) const MAP: u64 = 30;
pub(crate) const OBJECT: u64 = 40;

/// A limit of cost that several evaluations share.
#[derive(Debug)]
pub struct Budget {
    left: Cell<u64>,
}

impl Budget {
    /// What one evaluation may cost.
    pub const CALL: u64 = 1_000_000;
    /// What all rules of a custom resource's schema, or all expressions of a policy, may cost for one object.
    pub const OBJECT: u64 = 10_000_000;
    /// What all match conditions of one webhook or policy may cost for one object.
    pub const MATCH_CONDITIONS: u64 = 2_500_000;

    /// A budget.
    pub fn new(units: u64) -> Self {
        Self { left: Cell::new(units) }
    }

    /// What is left.
    pub fn left(&self) -> u64 {
        self.left.get()
    }

    /// Takes units; false if there were not that many.
    pub(crate) fn spend(&self, units: u64) -> bool {
        let left = self.left.get().checked_sub(units);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }
}

/// Counts one evaluation.
#[derive(Default)]
pub(crate) struct Meter {
    spent: Cell<u64>,
}

impl Meter {
    pub(crate) fn spent(&self) -> u64 {
        self.spent.get()
    }

    /// Adds units; false when that is more than one evaluation may cost.
    pub(crate) fn charge(&self, units: u64) -> bool {
        self.spent.set(self.spent.get().saturating_add(units));
        self.spent.get() <= Budget::CALL
    }
}

/// A cost that grows with a size, in whole units.
pub(crate) fn scaled(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// What going through a text of this size costs.
pub(crate) fn walk(size: u64) -> u64 {
    scaled(size, TRAVERSAL)
}

/// What looking for a pattern in a text costs.
pub(crate) fn search(text: u64, pattern: u64) -> u64 {
    walk(text.saturating_add(1)).saturating_mul(scaled(pattern, PATTERN))
}

/// What a call with these arguments and this result costs. `overload` is the one that the types have told.
pub(crate) fn of_call(function: &str, overload: Option<&str>, args: &[Value<'_>], result: Option<&Value<'_>>) -> u64 {
    let size = |index: usize| args.get(index).map_or(1, Value::size);
    of_library(function, overload, &size, args, result).unwrap_or_else(|| of_standard(function, overload, &size, args))
}

fn of_library(
    function: &str,
    overload: Option<&str>,
    size: &dyn Fn(usize) -> u64,
    args: &[Value<'_>],
    result: Option<&Value<'_>>,
) -> Option<u64> {
    Some(match function {
        "check" => CHECK,
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes" => {
            args.first().map_or(0, |list| traversal(list).max(beyond(list.size())))
        }
        "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "cidr" | "isIP" | "isCIDR" | "quantity"
        | "isQuantity" => walk(size(0)),
        "semver" | "isSemver" => walk(size(0)),
        "ip" if overload != Some("cidr_ip") => walk(size(0)),
        "replace" | "split" | "ip.isCanonical" => walk(size(0) * 2),
        "join" => walk(result.map_or(1, Value::size) * 2),
        "find" | "findAll" => search(size(0), size(1)),
        "containsIP" | "containsCIDR" => {
            let nested = if function == "containsCIDR" { walk(size(0)) + 1 } else { 0 };
            let parsed = if overload.is_some_and(|id| id.ends_with("_string")) { walk(size(1)) } else { 0 };
            walk(size(0) * 2) + nested + parsed
        }
        "validate" => match args.first() {
            Some(Value::Opaque(Opaque::Format(format))) => search(size(1), format.pattern_size()),
            _ => 1,
        },
        operator::EQUALS if matches!(args.first(), Some(Value::Opaque(_))) => 1,
        "lists.range" | "slice" | "reverse" | "flatten" | "distinct" | "sort" | "@sortByAssociatedKeys" => {
            of_making(function, overload, args)
        }
        _ => return None,
    })
}

fn of_standard(function: &str, overload: Option<&str>, size: &dyn Fn(usize) -> u64, args: &[Value<'_>]) -> u64 {
    match (function, overload) {
        (operator::EQUALS | operator::NOT_EQUALS, _) => walk(size(0).min(size(1))),
        ("startsWith" | "endsWith", Some(_)) => walk(size(0)),
        ("format" | "strings.quote", _) => walk(size(0)),
        ("bytes", Some("string_to_bytes")) | ("string", Some("bytes_to_string")) => walk(size(0)),
        (operator::IN, Some("in_list")) => size(1),
        ("sets.contains" | "sets.intersects", _) => size(0).saturating_mul(size(1)).saturating_add(1),
        ("sets.equivalent", _) => size(0).saturating_mul(size(1)).saturating_mul(2).saturating_add(1),
        (operator::ADD, Some("add_string" | "add_bytes")) => walk(size(0) + size(1)),
        (operator::ADD, _) => of_copy(args),
        ("matches", Some(_)) => search(size(0), size(1)),
        ("contains", Some(_)) => walk(size(0)).saturating_mul(walk(size(1))),
        (_, Some(id)) if is_ordering_of_text(id) => walk(size(0).min(size(1))),
        _ => 1,
    }
}

/// Whether an overload compares texts or bytes.
pub(crate) fn is_ordering_of_text(overload: &str) -> bool {
    let ordering = ["less_", "greater_"].iter().any(|prefix| overload.starts_with(prefix));
    ordering && (overload.ends_with("_string") || overload.ends_with("_bytes"))
}

/// What making a list of others costs: the call, the list, and by what is looked at for it.
fn of_making(function: &str, overload: Option<&str>, args: &[Value<'_>]) -> u64 {
    let size = |index: usize| args.get(index).map_or(0, Value::size);
    let number = |index: usize| match args.get(index) {
        Some(Value::Int(number)) => u64::try_from(*number).unwrap_or(0),
        _ => 0,
    };
    let looked_at = match function {
        "lists.range" => number(0),
        "slice" => number(2).saturating_sub(number(1)),
        "reverse" => size(0),
        "flatten" => {
            let depth = if args.len() > 1 { number(1) } else { 1 };
            size(0).saturating_mul(depth).max(beyond(args.first().map_or(0, |list| flattened(list, depth))))
        }
        "distinct" => {
            let list = args.first();
            let items = list.map_or(0, |list| flattened(list, 1));
            list.map_or(0, comparisons).max(beyond(items.saturating_mul(size(0))))
        }
        // What types cannot tell costs 1 upstream; sorting must not be free.
        "sort" | "@sortByAssociatedKeys" if overload.is_none() => return size(args.len().saturating_sub(1)).max(1),
        _ => args.last().map_or(0, comparisons),
    };
    looked_at.saturating_add(1 + LIST)
}

/// What looking at so much costs where upstream counts less: large amounts must not be free.
fn beyond(looked_at: u64) -> u64 {
    if looked_at > LARGE { walk(looked_at) } else { 0 }
}

/// How much is in a list, in lists of it, and so on to a depth.
fn flattened(list: &Value<'_>, depth: u64) -> u64 {
    match list {
        Value::List(list) if depth > 0 => {
            let items = (0..list.len()).filter_map(|index| list.get(index)?.ok());
            items.map(|item| flattened(&item, depth - 1)).fold(0, u64::saturating_add)
        }
        other => other.size().max(1),
    }
}

/// What comparing each item of a list with each costs.
fn comparisons(list: &Value<'_>) -> u64 {
    let first = match list {
        Value::List(list) => list.get(0).and_then(Result::ok),
        _ => None,
    };
    let is_text = matches!(first, Some(Value::String(_) | Value::Bytes(_)));
    let size = list.size();
    (size.saturating_mul(size) as f64 * if is_text { TEXT_COMPARISON } else { COMPARISON }) as u64
}

/// What types cannot tell costs 1, but large copies must not be free.
fn of_copy(args: &[Value<'_>]) -> u64 {
    let copied = |value: &Value<'_>| match value {
        Value::String(_) | Value::Bytes(_) => value.size(),
        // A list that is used nowhere else grows where it is.
        Value::List(List::Own(items, _)) if std::sync::Arc::strong_count(items) == 1 => 0,
        Value::List(list) => list.len() as u64,
        _ => 0,
    };
    let size: u64 = args.iter().map(copied).sum();
    if size > LARGE { walk(size) } else { 1 }
}

/// What walking all that a value holds costs; short texts cost nothing.
fn traversal(value: &Value<'_>) -> u64 {
    let text = |bytes: usize| (bytes as f64 * TRAVERSAL) as u64;
    match value {
        Value::String(found) => text(found.len()),
        Value::Bytes(found) => text(found.len()),
        Value::List(list) => {
            let items = (0..list.len()).filter_map(|index| list.get(index)?.ok());
            items.map(|item| traversal(&item)).fold(0, u64::saturating_add)
        }
        Value::Map(map) => {
            let entries = map.keys().into_iter().filter_map(|key| Some((key.value(), map.get(&key)?.ok()?)));
            entries.map(|(key, value)| traversal(&key).saturating_add(traversal(&value))).fold(0, u64::saturating_add)
        }
        _ => 1,
    }
}
