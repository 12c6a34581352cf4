//! Quantities: `quantity('1Gi').isGreaterThan(quantity('500Mi'))`.

use std::cmp::Ordering;

use sampan_quantity::Quantity;

use super::{Library, Ran};
use crate::value::{Opaque, Value};

/// The quantity functions.
pub(crate) static LIBRARY: Library = Library {
    declarations: "
    quantity string_to_quantity (string) -> kubernetes.Quantity
    isQuantity is_quantity_string (string) -> bool
    sign quantity_sign (kubernetes.Quantity) -> int
    isInteger quantity_is_integer kubernetes.Quantity.() -> bool
    asInteger quantity_as_integer kubernetes.Quantity.() -> int
    asApproximateFloat quantity_get_float kubernetes.Quantity.() -> double
    add quantity_add kubernetes.Quantity.(kubernetes.Quantity) -> kubernetes.Quantity
    add quantity_add_int kubernetes.Quantity.(int) -> kubernetes.Quantity
    sub quantity_sub kubernetes.Quantity.(kubernetes.Quantity) -> kubernetes.Quantity
    sub quantity_sub_int kubernetes.Quantity.(int) -> kubernetes.Quantity
    compareTo quantity_cmp kubernetes.Quantity.(kubernetes.Quantity) -> int
    isGreaterThan quantity_gt kubernetes.Quantity.(kubernetes.Quantity) -> bool
    isLessThan quantity_lt kubernetes.Quantity.(kubernetes.Quantity) -> bool
",
    run,
};

fn run<'a>(function: &str, args: &[Value<'a>]) -> Ran<'a> {
    match args {
        [Value::String(text)] => match (function, Quantity::parse(text)) {
            ("quantity", parsed) => Some(parsed.map(made).map_err(|error| error.to_string())),
            ("isQuantity", parsed) => Some(Ok(Value::Bool(parsed.is_ok()))),
            _ => None,
        },
        [Value::Opaque(Opaque::Quantity(amount))] => alone(function, *amount),
        [Value::Opaque(Opaque::Quantity(amount)), Value::Opaque(Opaque::Quantity(other))] => {
            with_other(function, *amount, *other).map(Ok)
        }
        [Value::Opaque(Opaque::Quantity(amount)), Value::Int(units)] => match function {
            "add" => Some(Ok(made(*amount + Quantity::from_units(*units)))),
            "sub" => Some(Ok(made(*amount - Quantity::from_units(*units)))),
            _ => None,
        },
        _ => None,
    }
}

fn made<'a>(quantity: Quantity) -> Value<'a> {
    Value::Opaque(Opaque::Quantity(quantity))
}

/// The whole units, if there are no others and 64 bits hold them.
fn whole(amount: Quantity) -> Option<i64> {
    let units = amount.value();
    (Quantity::from_units(units) == amount).then_some(units)
}

fn alone<'a>(function: &str, amount: Quantity) -> Ran<'a> {
    Some(Ok(match function {
        "sign" => Value::Int(sign(amount.cmp(&Quantity::ZERO))),
        "isInteger" => Value::Bool(whole(amount).is_some()),
        "asInteger" => match whole(amount) {
            Some(units) => Value::Int(units),
            None => return Some(Err("cannot convert value to integer".to_owned())),
        },
        "asApproximateFloat" => Value::Double(amount.approximate()),
        _ => return None,
    }))
}

fn with_other<'a>(function: &str, amount: Quantity, other: Quantity) -> Option<Value<'a>> {
    Some(match function {
        "add" => made(amount + other),
        "sub" => made(amount - other),
        "compareTo" => Value::Int(sign(amount.cmp(&other))),
        "isGreaterThan" => Value::Bool(amount > other),
        "isLessThan" => Value::Bool(amount < other),
        _ => return None,
    })
}

/// -1, 0 or 1.
pub(super) fn sign(order: Ordering) -> i64 {
    order as i64
}
