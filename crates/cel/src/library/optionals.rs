//! Optional values: `optional.of(x)`, `a.?b.orValue(c)`. `or` and `orValue` look at their argument only when needed and
//! are run by the evaluator.

use super::{Library, Ran};
use crate::value::Value;

/// Optionals.
pub(crate) static LIBRARY: Library = Library {
    declarations: "
    optional.of optional_of (A) -> optional_type(A)
    optional.ofNonZeroValue optional_ofNonZeroValue (A) -> optional_type(A)
    optional.none optional_none () -> optional_type(A)
    value optional_value optional_type(A).() -> A
    hasValue optional_hasValue optional_type(A).() -> bool
    or optional_or_optional optional_type(A).(optional_type(A)) -> optional_type(A)
    orValue optional_orValue_value optional_type(A).(A) -> A
    optional.unwrap optional_unwrap (list(optional_type(A))) -> list(A)
    unwrapOpt optional_unwrapOpt list(optional_type(A)).() -> list(A)
    first list_first list(A).() -> optional_type(A)
    last list_last list(A).() -> optional_type(A)
",
    run,
};

fn run<'a>(function: &str, args: &[Value<'a>]) -> Ran<'a> {
    let value = match (function, args) {
        ("optional.none", []) => Value::optional(None),
        ("optional.of", [value]) => Value::optional(Some(value.clone())),
        ("optional.ofNonZeroValue", [value]) => Value::optional(Some(value.clone()).filter(|value| !value.is_zero())),
        ("value", [Value::Optional(Some(inner))]) => (**inner).clone(),
        ("value", [Value::Optional(None)]) => return Some(Err("optional.none() dereference".to_owned())),
        ("hasValue", [Value::Optional(inner)]) => Value::Bool(inner.is_some()),
        ("optional.unwrap" | "unwrapOpt", [Value::List(list)]) => {
            let items = match list.items() {
                Ok(items) => items,
                Err(error) => return Some(Err(error)),
            };
            let present = items.into_iter().filter_map(|item| match item {
                Value::Optional(inner) => inner.map(|inner| (*inner).clone()),
                other => Some(other),
            });
            Value::list(present.collect())
        }
        ("first" | "last", [Value::List(list)]) => {
            let index = if function == "first" { 0 } else { list.len().saturating_sub(1) };
            match list.get(index).transpose() {
                Ok(item) => Value::optional(item),
                Err(error) => return Some(Err(error)),
            }
        }
        _ => return None,
    };
    Some(Ok(value))
}
