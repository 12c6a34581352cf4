//! Equality, order and sums of all kinds of values.
//!
//! Numbers are equal and ordered across their types. Lists that are sets or maps (`x-kubernetes-list-type`) compare
//! without regard to order, and adding merges into them.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::library::text;
use crate::syntax::ast::operator;
use crate::types::ListSemantics;
use crate::value::{Key, List, Map, Opaque, Value};

/// Bounds of timestamps: the years 1 to 9999, in seconds.
const MIN_SECOND: i64 = -62_135_596_800;
const MAX_SECOND: i64 = 253_402_300_799;

pub(crate) fn equal(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::List(a), Value::List(b)) => lists_equal(a, b),
        (Value::Map(a), Value::Map(b)) => maps_equal(a, b),
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => equal(a, b),
            (a, b) => a.is_none() && b.is_none(),
        },
        (Value::Type(a), Value::Type(b)) => a == b,
        (Value::Opaque(a), Value::Opaque(b)) => opaques_equal(a, b),
        (a, b) => compare(a, b) == Some(Ordering::Equal),
    }
}

fn opaques_equal(a: &Opaque<'_>, b: &Opaque<'_>) -> bool {
    match (a, b) {
        (Opaque::Url(a), Opaque::Url(b)) => a == b,
        (Opaque::Ip(a), Opaque::Ip(b)) => a == b,
        (Opaque::Cidr(a), Opaque::Cidr(b)) => a == b,
        (Opaque::Quantity(a), Opaque::Quantity(b)) => a == b,
        (Opaque::Semver(a), Opaque::Semver(b)) => a.cmp_precedence(b) == Ordering::Equal,
        (Opaque::Format(a), Opaque::Format(b)) => a == b,
        _ => false,
    }
}

fn lists_equal(a: &List<'_>, b: &List<'_>) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let (Ok(left), Ok(right)) = (a.items(), b.items()) else { return false };
    match a.semantics() {
        ListSemantics::Atomic => left.iter().zip(&right).all(|(a, b)| equal(a, b)),
        ListSemantics::Set => left.iter().all(|a| right.iter().any(|b| equal(a, b))),
        ListSemantics::Map(keys) => {
            left.iter().all(|a| right.iter().any(|b| keys_of(a, keys) == keys_of(b, keys) && equal(a, b)))
        }
    }
}

fn maps_equal(a: &Map<'_>, b: &Map<'_>) -> bool {
    let keys = a.keys();
    keys.len() == b.len()
        && keys.iter().all(|key| match (a.get(key), b.get(key)) {
            (Some(Ok(a)), Some(Ok(b))) => equal(&a, &b),
            _ => false,
        })
}

/// What tells the items of a list map apart.
fn keys_of(item: &Value<'_>, keys: &[String]) -> Vec<Option<Key>> {
    let Value::Map(map) = item else { return Vec::new() };
    let field = |name: &String| map.field(&crate::escape(name)?).and_then(Result::ok);
    keys.iter().map(|name| Key::of(&field(name)?)).collect()
}

/// The order of two values; `None` if they have none.
pub(crate) fn compare(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    Some(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => (**a).cmp(&**b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Double(a), Value::Double(b)) => return a.partial_cmp(b),
        (Value::Double(a), b) => return compare_double(*a, whole(b)?),
        (a, Value::Double(b)) => return compare_double(*b, whole(a)?).map(Ordering::reverse),
        (a, b) => whole(a)?.cmp(&whole(b)?),
    })
}

fn whole(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(number) => Some((*number).into()),
        Value::Uint(number) => Some((*number).into()),
        _ => None,
    }
}

fn compare_double(a: f64, b: i128) -> Option<Ordering> {
    if a.is_nan() {
        return None;
    }
    // Beyond 64 bits no integer follows; below, the whole part compares exactly.
    if a.abs() >= 2.0_f64.powi(100) {
        return Some(if a > 0.0 { Ordering::Greater } else { Ordering::Less });
    }
    let floor = a.floor();
    let by_whole = (floor as i128).cmp(&b);
    Some(if by_whole == Ordering::Equal && a > floor { Ordering::Greater } else { by_whole })
}

/// `a + b`, and the insertions of the map macros: what is used nowhere else grows in place.
pub(super) fn grow<'a>(function: &str, args: Vec<Value<'a>>) -> Option<Result<Value<'a>, String>> {
    let mut args = args.into_iter();
    let (first, second, third) = (args.next()?, args.next()?, args.next());
    if function == operator::MAP_INSERT {
        return insert(first, second, third);
    }
    match (first, second) {
        (Value::List(a), Value::List(b)) => Some(add_lists(a, &b)),
        (a, b) => add(&a, &b),
    }
}

fn add<'a>(a: &Value<'a>, b: &Value<'a>) -> Option<Result<Value<'a>, String>> {
    let overflow = || "integer overflow".to_owned();
    Some(match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.checked_add(*b).map(Value::Int).ok_or_else(overflow),
        (Value::Uint(a), Value::Uint(b)) => {
            a.checked_add(*b).map(Value::Uint).ok_or_else(|| "unsigned integer overflow".to_owned())
        }
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::String(a), Value::String(b)) => text::concatenate(&[a, b]),
        (Value::Bytes(a), Value::Bytes(b)) => Ok(Value::Bytes([&a[..], &b[..]].concat().into())),
        (Value::Duration(a), Value::Duration(b)) => a.checked_add(*b).map(Value::Duration).ok_or_else(overflow),
        (Value::Timestamp(moment), Value::Duration(nanos)) | (Value::Duration(nanos), Value::Timestamp(moment)) => {
            shift(*moment, *nanos)
        }
        _ => return None,
    })
}

/// A moment `nanos` later.
pub(crate) fn shift<'a>(moment: jiff::Timestamp, nanos: i64) -> Result<Value<'a>, String> {
    let shifted = moment.checked_add(jiff::SignedDuration::from_nanos(nanos)).ok();
    let shifted = shifted.filter(|moment| (MIN_SECOND..=MAX_SECOND).contains(&moment.as_second()));
    shifted.map(Value::Timestamp).ok_or_else(|| "timestamp overflow".to_owned())
}

fn add_lists<'a>(a: List<'a>, b: &List<'a>) -> Result<Value<'a>, String> {
    let semantics = a.semantics().clone();
    let mut items = match a {
        List::Own(items, _) => items,
        json => Arc::new(json.items()?),
    };
    let added = b.items()?;
    let all = Arc::make_mut(&mut items);
    match &semantics {
        ListSemantics::Atomic => all.extend(added),
        ListSemantics::Set => {
            for item in added {
                if !all.iter().any(|known| equal(known, &item)) {
                    all.push(item);
                }
            }
        }
        ListSemantics::Map(keys) => {
            for item in added {
                let wanted = keys_of(&item, keys);
                match all.iter_mut().find(|known| keys_of(known, keys) == wanted) {
                    Some(known) => *known = item,
                    None => all.push(item),
                }
            }
        }
    }
    Ok(Value::List(List::Own(items, semantics)))
}

fn insert<'a>(map: Value<'a>, key: Value<'a>, value: Option<Value<'a>>) -> Option<Result<Value<'a>, String>> {
    let Value::Map(Map::Own(mut own)) = map else { return None };
    let entries = &mut Arc::make_mut(&mut own).entries;
    let added = match (value, key) {
        (Some(value), key) => vec![(Key::of(&key)?, value)],
        (None, Value::Map(other)) => {
            let keys = other.keys();
            keys.into_iter().filter_map(|key| other.get(&key).and_then(Result::ok).map(|value| (key, value))).collect()
        }
        _ => return None,
    };
    for (key, value) in added {
        if entries.contains_key(&key) {
            let shown = match &key {
                Key::String(text) => text.to_string(),
                Key::Int(number) => number.to_string(),
                Key::Bool(truth) => truth.to_string(),
            };
            return Some(Err(format!("insert failed: key {shown} already exists")));
        }
        entries.insert(key, value);
    }
    Some(Ok(Value::Map(Map::Own(own))))
}

/// The operators that are functions of two plain values.
pub(crate) fn run<'a>(function: &str, args: &[Value<'a>]) -> Option<Result<Value<'a>, String>> {
    let truth = |truth: bool| Some(Ok(Value::Bool(truth)));
    match (function, args) {
        (operator::EQUALS, [a, b]) => truth(equal(a, b)),
        (operator::NOT_EQUALS, [a, b]) => truth(!equal(a, b)),
        ("_<_" | "_<=_" | "_>_" | "_>=_", [a, b]) => ordered(function, a, b),
        (operator::NOT, [Value::Bool(a)]) => truth(!a),
        (operator::NEGATE, [Value::Int(a)]) => Some(a.checked_neg().map(Value::Int).ok_or("integer overflow".into())),
        (operator::NEGATE, [Value::Double(a)]) => Some(Ok(Value::Double(-a))),
        ("_-_" | "_*_" | "_/_" | "_%_", [a, b]) => arithmetic(function, a, b),
        (operator::IN, [item, Value::List(list)]) => {
            Some(list.items().map(|items| Value::Bool(items.iter().any(|other| equal(item, other)))))
        }
        (operator::IN, [key, Value::Map(map)]) => truth(Key::of(key).is_some_and(|key| map.get(&key).is_some())),
        _ => None,
    }
}

fn ordered<'a>(function: &str, a: &Value<'a>, b: &Value<'a>) -> Option<Result<Value<'a>, String>> {
    let nan = |value: &Value<'_>| matches!(value, Value::Double(number) if number.is_nan());
    let order = compare(a, b);
    if order.is_none() && !nan(a) && !nan(b) {
        return None;
    }
    let holds = order.is_some_and(|order| match function {
        "_<_" => order.is_lt(),
        "_<=_" => order.is_le(),
        "_>_" => order.is_gt(),
        _ => order.is_ge(),
    });
    Some(Ok(Value::Bool(holds)))
}

fn arithmetic<'a>(function: &str, a: &Value<'a>, b: &Value<'a>) -> Option<Result<Value<'a>, String>> {
    let overflow = || "integer overflow".to_owned();
    Some(match (a, b) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) if function == "_/_" => {
            Err("division by zero".to_owned())
        }
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) if function == "_%_" => {
            Err("modulus by zero".to_owned())
        }
        (Value::Int(a), Value::Int(b)) => match function {
            "_-_" => a.checked_sub(*b),
            "_*_" => a.checked_mul(*b),
            "_/_" => a.checked_div(*b),
            _ => a.checked_rem(*b),
        }
        .map(Value::Int)
        .ok_or_else(overflow),
        (Value::Uint(a), Value::Uint(b)) => match function {
            "_-_" => a.checked_sub(*b),
            "_*_" => a.checked_mul(*b),
            "_/_" => a.checked_div(*b),
            _ => a.checked_rem(*b),
        }
        .map(Value::Uint)
        .ok_or_else(|| "unsigned integer overflow".to_owned()),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(match function {
            "_-_" => a - b,
            "_*_" => a * b,
            "_/_" => a / b,
            _ => return None,
        })),
        (Value::Timestamp(a), Value::Timestamp(b)) if function == "_-_" => {
            i64::try_from(a.duration_since(*b).as_nanos()).map(Value::Duration).map_err(|_| "duration overflow".into())
        }
        (Value::Timestamp(a), Value::Duration(b)) if function == "_-_" => {
            return Some(b.checked_neg().ok_or_else(overflow).and_then(|nanos| shift(*a, nanos)));
        }
        (Value::Duration(a), Value::Duration(b)) if function == "_-_" => {
            a.checked_sub(*b).map(Value::Duration).ok_or_else(overflow)
        }
        _ => return None,
    })
}
