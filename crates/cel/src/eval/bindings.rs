//! What the variables of an expression stand for in one evaluation.

use std::cell::RefCell;

use serde_json::Value as Json;

use super::Fault;
use super::cost::Budget;
use crate::library::authorizer::{Authorization, Authorizer, Query};
use crate::program::{Error, Program};
use crate::types::Type;
use crate::value::{Opaque, Value, from_json};

/// The name of the variable whose fields are evaluated when they are first used.
pub(crate) const VARIABLES: &str = "variables";

/// The values of variables. Made anew for each object that is looked at; evaluations over it share what the lazy ones
/// have come to.
#[derive(Default)]
pub struct Bindings<'a> {
    values: Vec<(String, Value<'a>)>,
    lazy: Vec<Lazy<'a>>,
}

struct Lazy<'a> {
    name: String,
    /// The expression, or why it does not compile.
    program: Result<&'a Program, String>,
    outcome: RefCell<Option<Result<Value<'a>, String>>>,
}

impl<'a> Bindings<'a> {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Binds a variable to a value.
    #[must_use]
    pub fn value(mut self, name: &str, value: Value<'a>) -> Self {
        self.values.push((name.to_owned(), value));
        self
    }

    /// Binds a variable to JSON that is seen as it is.
    #[must_use]
    pub fn json(self, name: &str, json: &'a Json) -> Self {
        self.typed(name, json, &Type::Dyn)
    }

    /// Binds a variable to JSON of a declared type.
    #[must_use]
    pub fn typed(self, name: &str, json: &'a Json, ty: &Type) -> Self {
        let value = from_json(json, ty).unwrap_or(Value::Null);
        self.value(name, value)
    }

    /// Binds a variable to an optional: JSON of a declared type, or nothing.
    #[must_use]
    pub fn optional(self, name: &str, json: Option<&'a Json>, ty: &Type) -> Self {
        let value = json.map(|json| from_json(json, ty).unwrap_or(Value::Null));
        self.value(name, Value::optional(value))
    }

    /// Binds a variable to whoever answers questions about rights.
    #[must_use]
    pub fn authorizer(self, name: &str, authorizer: &'a dyn Authorizer) -> Self {
        self.value(name, Value::Opaque(Opaque::Authorization(Authorization::new(authorizer))))
    }

    /// Binds a variable to the question about one resource: `authorizer.requestResource`.
    #[must_use]
    pub fn resource_check(self, name: &str, authorizer: &'a dyn Authorizer, about: Query) -> Self {
        self.value(name, Value::Opaque(Opaque::Authorization(Authorization::about(authorizer, about))))
    }

    /// Adds the field `name` to the variable `variables`: the value of an expression over these bindings, which is
    /// evaluated at most once, when it is first used.
    #[must_use]
    pub fn lazily(mut self, name: &str, program: Result<&'a Program, String>) -> Self {
        self.lazy.push(Lazy { name: name.to_owned(), program, outcome: RefCell::new(None) });
        self
    }

    pub(super) fn get(&self, name: &str) -> Option<Value<'a>> {
        if name == VARIABLES && !self.lazy.is_empty() {
            return Some(Value::Variables);
        }
        self.values.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// The value of `variables.name`.
    pub(super) fn variable(&self, name: &str, budget: &Budget) -> Option<Result<Value<'a>, Fault>> {
        let lazy = self.lazy.iter().find(|lazy| lazy.name == name)?;
        let known = lazy.outcome.borrow().clone();
        if let Some(outcome) = known {
            return Some(outcome.map_err(Fault::Error));
        }
        let outcome = match &lazy.program {
            Err(text) => Err(Fault::Error(format!("composited variable \"{name}\" fails to compile: {text}"))),
            Ok(program) => program.evaluate(self, budget).map_err(|error| match error {
                Error::OutOfBudget => Fault::OutOfBudget,
                Error::CallLimit => Fault::Limit,
                error => Fault::Error(format!("composited variable \"{name}\" fails to evaluate: {error}")),
            }),
        };
        match &outcome {
            Ok(value) => *lazy.outcome.borrow_mut() = Some(Ok(value.clone())),
            Err(Fault::Error(text)) => *lazy.outcome.borrow_mut() = Some(Err(text.clone())),
            Err(_) => {}
        }
        Some(outcome)
    }
}
