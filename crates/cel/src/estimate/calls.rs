//! What a call can cost beside its arguments, and how large its result can be.

use super::size::Size;
use crate::eval::cost::{COMPARISON, LIST, TEXT_COMPARISON, scaled, search, walk};
use crate::syntax::ast::operator;
use crate::types::Type;

/// What is known of the target or of an argument.
pub(super) struct Operand {
    pub(super) ty: Type,
    pub(super) size: Option<Size>,
    /// Of a list: the type and size of its items.
    pub(super) item: Option<(Type, Size)>,
    /// The number that it is written as.
    pub(super) literal: Option<i64>,
}

pub(super) struct Operands {
    pub(super) target: Option<Operand>,
    pub(super) args: Vec<Operand>,
}

pub(super) struct Estimate {
    pub(super) cost: u64,
    pub(super) size: Option<Size>,
}

/// The size of an address as bytes.
const ADDRESS: Size = Size { least: 4, most: 16 };
/// No format's pattern is longer.
const FORMAT_PATTERN: u64 = 128;
/// No format is larger.
const FORMAT: u64 = 64;

fn costs(cost: u64) -> Estimate {
    Estimate { cost, size: None }
}

/// What a call of this overload can cost.
pub(super) fn estimate(function: &str, overload: &str, operands: &Operands) -> Estimate {
    of_library(function, overload, operands).unwrap_or_else(|| of_standard(overload, operands))
}

impl Operand {
    fn size(&self) -> Size {
        self.size.unwrap_or(Size::ANY)
    }
}

impl Operands {
    /// The size of the argument at `index`; what is not there is of no size.
    fn arg(&self, index: usize) -> Size {
        self.args.get(index).map_or(Size::exactly(0), Operand::size)
    }

    /// The number that the argument at `index` is written as; none is below zero.
    fn number(&self, index: usize) -> Option<u64> {
        self.args.get(index)?.literal.map(|number| u64::try_from(number).unwrap_or(0))
    }
}

fn of_library(function: &str, overload: &str, operands: &Operands) -> Option<Estimate> {
    let arg = |index| operands.arg(index);
    if let Some(target) = &operands.target
        && let Some(estimate) = of_member(function, overload, target, operands)
    {
        return Some(estimate);
    }
    Some(match function {
        "url" | "jsonpatch.escapeKey" => Estimate { cost: walk(arg(0).most), size: Some(arg(0)) },
        "cidr" | "isIP" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver" => costs(walk(arg(0).most)),
        "ip" if overload == "cidr_ip" => costs(1),
        "ip" => costs(walk(arg(0).most)),
        "ip.isCanonical" => costs(walk_twice(arg(0).most)),
        "sets.contains" | "sets.intersects" => costs(arg(0).times(arg(1)).most.saturating_add(1)),
        "sets.equivalent" => costs(arg(0).times(arg(1)).most.saturating_mul(2).saturating_add(1)),
        "lists.range" => made(1.0, Size::exactly(operands.number(0).unwrap_or(u64::MAX))),
        operator::EQUALS => costs(of_equality(&operands.args)?),
        _ => return None,
    })
}

fn of_member(function: &str, overload: &str, target: &Operand, operands: &Operands) -> Option<Estimate> {
    let (size, arg) = (target.size(), |index| operands.arg(index));
    Some(match function {
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => costs(of_comparisons(target)),
        // A target of any type may be a list.
        "includes" if target.item.is_none() => costs(size.most),
        "includes" => costs(of_comparisons(target)),
        "lowerAscii" | "upperAscii" | "substring" | "trim" => Estimate { cost: walk(size.most), size: Some(size) },
        "replace" => Estimate { cost: walk_twice(size.most), size: Some(replaced(size, arg(0), arg(1))) },
        "split" => {
            let limit = operands.args.get(1).and_then(|limit| limit.literal);
            let most = limit.map_or(size.most, |limit| limit.cast_unsigned());
            Estimate { cost: walk_twice(size.most), size: Some(Size { least: 0, most }) }
        }
        "join" => {
            let size = joined(target, operands.args.first());
            Estimate { cost: walk(size.most), size: Some(size) }
        }
        "find" | "findAll" => {
            Estimate { cost: search(size.most, arg(0).most), size: Some(Size { least: 0, most: size.most }) }
        }
        "containsIP" | "containsCIDR" => costs(of_containment(function == "containsCIDR", operands.args.first())),
        "reverse" => made(1.0, size),
        "slice" => {
            let (start, end) = (operands.number(0).unwrap_or(0), operands.number(1).unwrap_or(size.most));
            // As upstream: where nothing can be between them, the difference is below zero, and all there is.
            made(1.0, Size::exactly(end.wrapping_sub(start)))
        }
        "flatten" if operands.args.is_empty() => made(1.0, size),
        "flatten" => made(operands.number(0).unwrap_or(u64::MAX) as f64, size),
        "distinct" => made(COMPARISON, size.times(size)),
        "sort" => made(comparison(overload), size.times(size)),
        "@sortByAssociatedKeys" => made(comparison(overload), arg(0).times(arg(0))),
        "validate" => costs(scaled(walk(arg(0).most), FORMAT_PATTERN as f64 * crate::eval::cost::PATTERN)),
        _ => return None,
    })
}

/// A list of that size, with what is looked at for each of its items.
fn made(each: f64, size: Size) -> Estimate {
    Estimate { cost: scaled(size.most, each).saturating_add(1 + LIST), size: Some(size) }
}

fn comparison(overload: &str) -> f64 {
    let is_text = overload.starts_with("list_string_") || overload.starts_with("list_bytes_");
    if is_text { TEXT_COMPARISON } else { COMPARISON }
}

/// Walking a list, and the text of its items with it; or walking a text.
fn of_comparisons(target: &Operand) -> u64 {
    let size = target.size();
    match &target.item {
        Some((Type::String | Type::Bytes, item)) => size.most.saturating_mul(walk(item.most).saturating_add(1)),
        Some(_) => size.most,
        None => walk(size.most),
    }
}

/// The size of a text in which others are put in place of some.
fn replaced(text: Size, old: Size, new: Size) -> Size {
    // In place of nothing, the new text goes around each character.
    let (most_times, most_kept) = if old.least == 0 {
        (text.most.saturating_add(1), text.most)
    } else if new.most <= old.least {
        (0, text.most)
    } else {
        (text.most.div_ceil(old.least), 0)
    };
    let (least_times, least_kept) = if old.most == 0 {
        (text.least.saturating_add(1), text.least)
    } else if old.most <= new.least {
        (0, text.least)
    } else {
        (text.least.div_ceil(old.most), 0)
    };
    let times = Size { least: least_times, most: most_times };
    times.times(new).plus(Size { least: least_kept, most: most_kept })
}

fn joined(list: &Operand, separator: Option<&Operand>) -> Size {
    let count = list.size();
    let items = list.item.as_ref().map_or(Size::exactly(0), |(_, item)| count.times(*item));
    let between = Size { least: count.least.saturating_sub(1), most: count.most.saturating_sub(1) };
    separator.map_or(items, |separator| items.plus(separator.size().times(between)))
}

fn of_containment(of_network: bool, arg: Option<&Operand>) -> u64 {
    let compared = walk(ADDRESS.plus(ADDRESS).most);
    let masked = if of_network { walk(ADDRESS.most) + 1 } else { 0 };
    let parsed = arg.filter(|arg| arg.ty == Type::String).map_or(0, |arg| walk(arg.size().most));
    (compared + masked).saturating_add(parsed)
}

/// Types of libraries, whose values are compared in their own way.
fn of_equality(args: &[Operand]) -> Option<u64> {
    let [left, right] = args else { return None };
    let Type::Opaque(name) = &left.ty else { return None };
    if left.ty != right.ty {
        return None;
    }
    match *name {
        "kubernetes.NamedFormat" => Some(walk(FORMAT)),
        "kubernetes.URL" => Some(walk(right.size.map_or(1, |size| size.most))),
        _ => Some(1),
    }
}

fn of_standard(overload: &str, operands: &Operands) -> Estimate {
    let (args, arg) = (&operands.args, |index| operands.arg(index));
    let target = operands.target.as_ref().map_or(Size::exactly(0), Operand::size);
    match (overload, args.len()) {
        ("string_format", _) => costs(walk(target.most)),
        ("string_to_bytes", 1) => {
            let size = Size { least: arg(0).least, most: arg(0).most.saturating_mul(4) };
            Estimate { cost: walk(arg(0).most), size: Some(size) }
        }
        ("bytes_to_string", 1) => {
            Estimate { cost: walk(arg(0).most), size: Some(Size { least: arg(0).least / 4, most: arg(0).most }) }
        }
        ("strings_quote", 1) => {
            let size = arg(0).plus(Size { least: 2, most: arg(0).most.saturating_add(2) });
            Estimate { cost: walk(arg(0).most), size: Some(size) }
        }
        ("starts_with_string" | "ends_with_string", 1) => costs(walk(arg(0).most)),
        ("in_list", 2) => costs(arg(1).most),
        ("matches_string", 1) => costs(search(target.most, arg(0).most)),
        ("contains_string", 1) => costs(walk(target.most).saturating_mul(walk(arg(0).most))),
        ("add_list", 2) => Estimate { cost: 1, size: Some(arg(0).plus(arg(1))) },
        ("add_string" | "add_bytes", 2) => {
            let size = arg(0).plus(arg(1));
            Estimate { cost: walk(size.most), size: Some(size) }
        }
        (overload, 2) if compares_by_size(overload) => costs(walk(arg(0).most.min(arg(1).most))),
        _ => costs(1),
    }
}

fn compares_by_size(overload: &str) -> bool {
    matches!(overload, "equals" | "not_equals") || crate::eval::cost::is_ordering_of_text(overload)
}

fn walk_twice(size: u64) -> u64 {
    scaled(size, 2.0 * crate::eval::cost::TRAVERSAL)
}
