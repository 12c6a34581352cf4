//! Lists as sets: `sets.contains`, `sets.equivalent`, `sets.intersects`.

use super::{Library, Ran};
use crate::eval::operators::equal;
use crate::value::Value;

/// The set functions.
pub(crate) static LIBRARY: Library = Library {
    declarations: "
    sets.contains list_sets_contains_list (list(A), list(A)) -> bool
    sets.equivalent list_sets_equivalent_list (list(A), list(A)) -> bool
    sets.intersects list_sets_intersects_list (list(A), list(A)) -> bool
",
    run,
};

fn run<'a>(function: &str, args: &[Value<'a>]) -> Ran<'a> {
    let [Value::List(a), Value::List(b)] = args else { return None };
    let (a, b) = match (a.items(), b.items()) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(error), _) | (_, Err(error)) => return Some(Err(error)),
    };
    let within =
        |part: &[Value<'_>], whole: &[Value<'_>]| part.iter().all(|item| whole.iter().any(|other| equal(item, other)));
    let truth = match function {
        "sets.contains" => within(&b, &a),
        "sets.equivalent" => within(&a, &b) && within(&b, &a),
        "sets.intersects" => a.iter().any(|item| b.iter().any(|other| equal(item, other))),
        _ => return None,
    };
    Some(Ok(Value::Bool(truth)))
}
