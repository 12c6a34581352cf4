//! CEL: compiling and evaluating.

use sampan_cel::{Bindings, Budget, Env, Type};

use crate::{Target, input};

pub(super) const TARGET: Target = Target { name: "cel", run };

/// An expression, and the object that it is about. Evaluated twice it comes to the same, for the same price.
fn run(data: &[u8]) {
    let (expression, object) = input::two(data).unwrap_or((data, b"null"));
    let Some(expression) = input::text(expression) else { return };
    let object = serde_json::from_slice(object).unwrap_or_default();
    let env = Env::new().variable("self", Type::Dyn).variable("object", Type::Dyn);
    let Ok(program) = env.compile(expression) else { return };
    let bindings = Bindings::new().json("self", &object).json("object", &object);
    let outcome = || {
        let budget = Budget::new(Budget::OBJECT);
        let value = program.evaluate(&bindings, &budget).map(|value| format!("{value:?}"));
        (value, budget.left())
    };
    assert_eq!(outcome(), outcome(), "the second time it came to something else");
}
