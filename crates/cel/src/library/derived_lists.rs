//! Lists made from others: `lists.range`, `slice`, `flatten`, `reverse`, `distinct`, `sort`, `sortBy`.

use std::cmp::Ordering;

use super::{Library, Ran};
use crate::eval::operators::{compare, equal};
use crate::value::{List, Value};

/// The functions that make lists. `sortBy` is a macro around the last of them.
pub(crate) static LIBRARY: Library = Library {
    declarations: "
    lists.range lists_range (int) -> list(int)
    slice list_slice list(A).(int, int) -> list(A)
    flatten list_flatten list(dyn).() -> list(dyn)
    flatten list_flatten_int list(dyn).(int) -> list(dyn)
    reverse list_reverse list(A).() -> list(A)
    distinct list_distinct list(A).() -> list(A)
    sort list_int_sort list(int).() -> list(int)
    sort list_uint_sort list(uint).() -> list(uint)
    sort list_double_sort list(double).() -> list(double)
    sort list_bool_sort list(bool).() -> list(bool)
    sort list_duration_sort list(duration).() -> list(duration)
    sort list_timestamp_sort list(timestamp).() -> list(timestamp)
    sort list_string_sort list(string).() -> list(string)
    sort list_bytes_sort list(bytes).() -> list(bytes)
    @sortByAssociatedKeys list_int_sortByAssociatedKeys list(A).(list(int)) -> list(A)
    @sortByAssociatedKeys list_uint_sortByAssociatedKeys list(A).(list(uint)) -> list(A)
    @sortByAssociatedKeys list_double_sortByAssociatedKeys list(A).(list(double)) -> list(A)
    @sortByAssociatedKeys list_bool_sortByAssociatedKeys list(A).(list(bool)) -> list(A)
    @sortByAssociatedKeys list_duration_sortByAssociatedKeys list(A).(list(duration)) -> list(A)
    @sortByAssociatedKeys list_timestamp_sortByAssociatedKeys list(A).(list(timestamp)) -> list(A)
    @sortByAssociatedKeys list_string_sortByAssociatedKeys list(A).(list(string)) -> list(A)
    @sortByAssociatedKeys list_bytes_sortByAssociatedKeys list(A).(list(bytes)) -> list(A)
",
    run,
};

fn run<'a>(function: &str, args: &[Value<'a>]) -> Ran<'a> {
    let made = match (function, args) {
        // What it costs has bounded the number before.
        ("lists.range", [Value::Int(end)]) => Ok((0..*end).map(Value::Int).collect()),
        ("slice", [Value::List(list), Value::Int(start), Value::Int(end)]) => slice(list, *start, *end),
        ("flatten", [Value::List(list)]) => flatten(list, 1),
        ("flatten", [Value::List(list), Value::Int(depth)]) => flatten(list, *depth),
        ("reverse", [Value::List(list)]) => list.items().map(|items| items.into_iter().rev().collect()),
        ("distinct", [Value::List(list)]) => distinct(list),
        ("sort", [Value::List(list)]) => sort(list, list),
        ("@sortByAssociatedKeys", [Value::List(list), Value::List(keys)]) => sort(list, keys),
        _ => return None,
    };
    Some(made.map(Value::list))
}

type Made<'a> = Result<Vec<Value<'a>>, String>;

fn slice<'a>(list: &List<'a>, start: i64, end: i64) -> Made<'a> {
    let refuse = |why: &str| Err(format!("cannot slice({start}, {end}), {why}"));
    let (Ok(first), Ok(behind)) = (usize::try_from(start), usize::try_from(end)) else {
        return refuse("negative indexes not supported");
    };
    if first > behind {
        return refuse("start index must be less than or equal to end index");
    }
    if list.len() < behind {
        return refuse(&format!("list is length {}", list.len()));
    }
    (first..behind).filter_map(|index| list.get(index)).collect()
}

fn flatten<'a>(list: &List<'a>, depth: i64) -> Made<'a> {
    if depth < 0 {
        return Err("level must be non-negative".to_owned());
    }
    let mut flat = Vec::with_capacity(list.len());
    for item in list.items()? {
        match item {
            Value::List(inner) if depth > 0 => flat.extend(flatten(&inner, depth - 1)?),
            item => flat.push(item),
        }
    }
    Ok(flat)
}

fn distinct<'a>(list: &List<'a>) -> Made<'a> {
    let mut distinct: Vec<Value<'a>> = Vec::new();
    for item in list.items()? {
        if !distinct.iter().any(|known| equal(&item, known)) {
            distinct.push(item);
        }
    }
    Ok(distinct)
}

/// The items in the order of their keys; those of equal keys stay as they are.
fn sort<'a>(list: &List<'a>, keys: &List<'a>) -> Made<'a> {
    let (items, keys) = (list.items()?, keys.items()?);
    if let Some(first) = keys.first() {
        if !is_comparable(first) {
            return Err("list elements must be comparable".to_owned());
        }
        if keys.iter().any(|key| key.type_name() != first.type_name()) {
            return Err("list elements must have the same type".to_owned());
        }
        if keys.iter().any(|key| compare(key, key).is_none()) {
            return Err("NaN values cannot be ordered".to_owned());
        }
    }
    let mut keyed: Vec<_> = keys.into_iter().zip(items).collect();
    keyed.sort_by(|(a, _), (b, _)| compare(a, b).unwrap_or(Ordering::Equal));
    Ok(keyed.into_iter().map(|(_, item)| item).collect())
}

fn is_comparable(value: &Value<'_>) -> bool {
    use Value::{Bool, Bytes, Double, Duration, Int, String, Timestamp, Uint};
    matches!(value, Int(_) | Uint(_) | Double(_) | Bool(_) | Duration(_) | Timestamp(_) | String(_) | Bytes(_))
}
