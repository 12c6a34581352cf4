//! Lists: `isSorted`, `sum`, `min`, `max`, `indexOf`, `lastIndexOf`, `includes`.

use std::cmp::Ordering;

use super::{Library, Ran};
use crate::eval::operators::{compare, equal};
use crate::eval::{NO_OVERLOAD, run as call};
use crate::syntax::ast::operator;
use crate::value::{List, Value};

/// The list functions.
pub(crate) static LIBRARY: Library = Library {
    declarations: "
    isSorted list_int_is_sorted_bool list(int).() -> bool
    isSorted list_uint_is_sorted_bool list(uint).() -> bool
    isSorted list_double_is_sorted_bool list(double).() -> bool
    isSorted list_bool_is_sorted_bool list(bool).() -> bool
    isSorted list_string_is_sorted_bool list(string).() -> bool
    isSorted list_bytes_is_sorted_bool list(bytes).() -> bool
    isSorted list_timestamp_is_sorted_bool list(timestamp).() -> bool
    isSorted list_duration_is_sorted_bool list(duration).() -> bool
    sum list_int_sum_int list(int).() -> int
    sum list_uint_sum_uint list(uint).() -> uint
    sum list_double_sum_double list(double).() -> double
    sum list_duration_sum_duration list(duration).() -> duration
    min list_int_min_int list(int).() -> int
    min list_uint_min_uint list(uint).() -> uint
    min list_double_min_double list(double).() -> double
    min list_bool_min_bool list(bool).() -> bool
    min list_string_min_string list(string).() -> string
    min list_bytes_min_bytes list(bytes).() -> bytes
    min list_timestamp_min_timestamp list(timestamp).() -> timestamp
    min list_duration_min_duration list(duration).() -> duration
    max list_int_max_int list(int).() -> int
    max list_uint_max_uint list(uint).() -> uint
    max list_double_max_double list(double).() -> double
    max list_bool_max_bool list(bool).() -> bool
    max list_string_max_string list(string).() -> string
    max list_bytes_max_bytes list(bytes).() -> bytes
    max list_timestamp_max_timestamp list(timestamp).() -> timestamp
    max list_duration_max_duration list(duration).() -> duration
    indexOf list_a_index_of_int list(A).(A) -> int
    lastIndexOf list_a_last_index_of_int list(A).(A) -> int
    includes list_includes_dyn_dyn dyn.(dyn) -> bool
",
    run,
};

fn run<'a>(function: &str, args: &[Value<'a>]) -> Ran<'a> {
    match (function, args) {
        ("isSorted", [Value::List(list)]) => Some(is_sorted(list)),
        ("sum", [Value::List(list)]) => Some(sum(list)),
        ("min", [Value::List(list)]) => Some(extreme(list, "min", Ordering::Greater)),
        ("max", [Value::List(list)]) => Some(extreme(list, "max", Ordering::Less)),
        ("indexOf", [Value::List(list), item]) => {
            Some(list.items().map(|items| place(items.iter().position(|other| equal(item, other)))))
        }
        ("lastIndexOf", [Value::List(list), item]) => {
            Some(list.items().map(|items| place(items.iter().rposition(|other| equal(item, other)))))
        }
        ("includes", [Value::List(list), item]) => {
            Some(list.items().map(|items| Value::Bool(items.iter().any(|other| equal(other, item)))))
        }
        // What is no list includes itself.
        ("includes", [value, other]) => Some(Ok(Value::Bool(equal(value, other)))),
        _ => None,
    }
}

/// The sum of no items: of the type that the call's one overload gives, else of whole numbers.
pub(crate) fn sum_of_none<'a>(overload: Option<&str>, args: &[Value<'a>]) -> Option<Value<'a>> {
    let [Value::List(list)] = args else { return None };
    let zero = match overload? {
        "list_uint_sum_uint" => Value::Uint(0),
        "list_double_sum_double" => Value::Double(0.0),
        "list_duration_sum_duration" => Value::Duration(0),
        _ => return None,
    };
    list.is_empty().then_some(zero)
}

fn place<'a>(found: Option<usize>) -> Value<'a> {
    Value::Int(found.and_then(|index| i64::try_from(index).ok()).unwrap_or(-1))
}

fn is_sorted<'a>(list: &List<'a>) -> Result<Value<'a>, String> {
    let items = list.items()?;
    for pair in items.windows(2) {
        match compare(&pair[0], &pair[1]) {
            Some(Ordering::Greater) => return Ok(Value::Bool(false)),
            Some(_) => {}
            None => return Err(NO_OVERLOAD.to_owned()),
        }
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(list: &List<'a>) -> Result<Value<'a>, String> {
    let mut items = list.items()?.into_iter();
    let Some(first) = items.next() else { return Ok(Value::Int(0)) };
    let add = |sum, item| call(operator::ADD, vec![sum, item]).unwrap_or_else(|| Err(NO_OVERLOAD.to_owned()));
    items.try_fold(first, add)
}

fn extreme<'a>(list: &List<'a>, name: &str, worse: Ordering) -> Result<Value<'a>, String> {
    let mut items = list.items()?.into_iter();
    let mut best = items.next().ok_or_else(|| format!("{name} called on empty list"))?;
    for item in items {
        match compare(&best, &item) {
            Some(order) if order == worse => best = item,
            Some(_) => {}
            None => return Err(NO_OVERLOAD.to_owned()),
        }
    }
    Ok(best)
}
