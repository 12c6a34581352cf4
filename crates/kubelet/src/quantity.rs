//! Amounts of the typed objects as integers. Parsing is `sampan_api`'s.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

fn parse(quantity: &Quantity) -> Option<sampan_api::quantity::Quantity> {
    sampan_api::quantity::Quantity::parse(&quantity.0).ok()
}

/// The sum of two amounts as they are written (`100m`, `1Gi`); nothing if one of them is no amount.
pub fn sum_of_amounts(a: &str, b: &str) -> Option<String> {
    let milli = |text: &str| {
        sampan_api::quantity::Quantity::parse(text)
            .ok()
            .filter(|q| !q.is_negative())
            .map(sampan_api::quantity::Quantity::milli_value)
    };
    let sum = milli(a)?.checked_add(milli(b)?)?;
    Some(sampan_api::quantity::Quantity::from_milli(sum).to_string())
}

/// An amount as it is written.
pub(crate) fn of(text: &str) -> Quantity {
    Quantity(text.to_owned())
}

/// So many thousandths, as they are written.
pub(crate) fn from_milli(milli: i64) -> Quantity {
    Quantity(sampan_api::quantity::Quantity::from_milli(milli).to_string())
}

/// So many bytes, as they are written.
pub(crate) fn from_bytes(bytes: i64) -> Quantity {
    Quantity(sampan_api::quantity::Quantity::from_bytes(bytes).to_string())
}

/// `quantity` in whole units, rounded up (bytes, Pods, cores). Nothing if it does not parse.
pub(crate) fn value(quantity: &Quantity) -> Option<i64> {
    parse(quantity).map(sampan_api::quantity::Quantity::value)
}

/// `quantity` in thousandths, rounded up (millicores). Nothing if it does not parse.
pub(crate) fn milli(quantity: &Quantity) -> Option<i64> {
    parse(quantity).map(sampan_api::quantity::Quantity::milli_value)
}

/// `quantity` in units of `divisor`, rounded up, as the downward API shows it. A missing or zero divisor counts as one.
pub(crate) fn in_units_of(quantity: &Quantity, divisor: Option<&Quantity>) -> Option<i64> {
    let unit_milli = divisor.and_then(milli).filter(|unit| *unit > 0).unwrap_or(1000);
    let (amount, unit) = match unit_milli % 1000 {
        0 => (value(quantity)?, unit_milli / 1000),
        _ => (milli(quantity)?, unit_milli),
    };
    Some(amount.div_euclid(unit) + i64::from(amount.rem_euclid(unit) != 0))
}
