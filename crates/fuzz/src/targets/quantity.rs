//! Quantities.

use sampan_quantity::Quantity;

use crate::{Target, input};

pub(super) const TARGET: Target = Target { name: "quantity", run };

/// A quantity's text: its canonical form is the same amount, and the canonical form of itself.
fn run(data: &[u8]) {
    let Some(text) = input::text(data) else { return };
    let Ok(quantity) = Quantity::parse(text) else { return };
    let canonical = quantity.to_string();
    let again = Quantity::parse(&canonical).unwrap_or_else(|why| panic!("{canonical}: {why}"));
    assert_eq!(again, quantity, "{canonical} is another amount");
    assert_eq!(again.to_string(), canonical, "canonical the second time is otherwise");
    assert_eq!(quantity.is_negative(), quantity.value() < 0, "its sign is not that of its units");
    assert!(quantity.milli_value().unsigned_abs() >= quantity.value().unsigned_abs(), "fewer thousandths than units");
}
