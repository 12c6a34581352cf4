//! A compiled expression, and what running it may end in.

use crate::eval::bindings::Bindings;
use crate::eval::cost::{Budget, Meter};
use crate::eval::{Evaluator, Fault};
use crate::syntax::ast::Expr;
use crate::types::Type;
use crate::value::Value;

/// A compiled expression. Compile once, evaluate from any thread.
#[derive(Debug)]
pub struct Program {
    root: Expr,
    ty: Type,
}

/// Why an evaluation has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The expression failed: `no such key: x`
    #[error("{0}")]
    Failed(String),
    /// This one evaluation cost more than one may.
    #[error("operation cancelled: actual cost limit exceeded")]
    CallLimit,
    /// The budget that it shares with others is used up.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    OutOfBudget,
}

impl Program {
    pub(crate) fn new(root: Expr, ty: Type) -> Self {
        Self { root, ty }
    }

    /// The type of its value.
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// Whether it refers to the variable `name`.
    pub fn refers_to(&self, name: &str) -> bool {
        self.root.refers_to(name)
    }

    /// Evaluates the expression; what that costs is taken from the budget, also when it fails.
    pub fn evaluate<'a>(&self, bindings: &Bindings<'a>, budget: &Budget) -> Result<Value<'a>, Error> {
        let meter = Meter::default();
        let outcome = Evaluator::new(bindings, budget, &meter).eval(&self.root);
        let enough = budget.spend(meter.spent());
        match outcome {
            Err(Fault::Limit) => Err(Error::CallLimit),
            Err(Fault::OutOfBudget) => Err(Error::OutOfBudget),
            _ if !enough => Err(Error::OutOfBudget),
            Err(Fault::Error(text)) => Err(Error::Failed(text)),
            Ok(value) => Ok(value),
        }
    }
}
