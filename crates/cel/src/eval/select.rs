//! Fields and indexes, plain, optional and tested for presence.
//!
//! A path such as `a.b[0].c` costs 1 for its start and 1 for each step.

use super::{Evaluator, Fault, NO_OVERLOAD, Outcome};
use crate::syntax::ast::{Access, Call, Expr, Kind, Select, operator};
use crate::value::{Key, Value};

/// What a step of a path finds.
type Found<'a> = Option<Result<Value<'a>, Fault>>;

impl<'p, 'a> Evaluator<'p, 'a, '_> {
    pub(super) fn select(&mut self, select: &'p Select) -> Outcome<'a> {
        let operand = self.path(&select.operand)?;
        if select.mode != Access::Presence {
            self.charge(1)?;
        }
        let missing = || Fault::Error(format!("no such key: {}", select.field));
        self.step(&operand, select.mode, missing, |this, target| this.field(target, &select.field))
    }

    pub(super) fn index(&mut self, call: &'p Call) -> Outcome<'a> {
        let operand = self.path(&call.args[0])?;
        let index = self.eval_uncharged(&call.args[1])?;
        self.charge(1)?;
        let mode = if call.function == operator::INDEX { Access::Value } else { Access::Optional };
        let missing = || match (&operand, &index) {
            (Value::List(_), Value::Int(index)) => Fault::Error(format!("index out of bounds: {index}")),
            (Value::List(_), _) => Fault::error("unsupported index type in list"),
            _ => Fault::Error(format!("no such key: {}", shown(&index))),
        };
        self.step(&operand, mode, missing, |_, target| at(target, &index))
    }

    /// Evaluates what a step is taken from. What is no path itself costs 1 for being the start of one.
    fn path(&mut self, operand: &'p Expr) -> Outcome<'a> {
        let value = self.eval(operand)?;
        let is_path = match &operand.kind {
            Kind::Ident(_) | Kind::Select(_) | Kind::Ternary(_) => true,
            Kind::Call(call) => matches!(call.function.as_str(), operator::INDEX | operator::OPTIONAL_INDEX),
            _ => false,
        };
        if !is_path {
            self.charge(1)?;
        }
        Ok(value)
    }

    fn step(
        &self,
        operand: &Value<'a>,
        mode: Access,
        missing: impl Fn() -> Fault,
        look: impl Fn(&Self, &Value<'a>) -> Found<'a>,
    ) -> Outcome<'a> {
        let (found, chained) = match operand {
            Value::Optional(None) => (None, true),
            Value::Optional(Some(inner)) => (look(self, inner), true),
            value => (look(self, value), false),
        };
        match (mode, found) {
            (Access::Presence, Some(Err(fault @ (Fault::Limit | Fault::OutOfBudget)))) => Err(fault),
            (Access::Presence, found) => Ok(Value::Bool(found.is_some())),
            (Access::Value, Some(found)) if !chained => found,
            (Access::Value, None) if !chained => Err(missing()),
            (_, Some(found)) => found.map(|value| Value::optional(Some(value))),
            (_, None) => Ok(Value::optional(None)),
        }
    }

    fn field(&self, target: &Value<'a>, name: &str) -> Found<'a> {
        match target {
            Value::Map(map) => map.field(name).map(|found| found.map_err(Fault::Error)),
            Value::Variables => self.bindings.variable(name, self.budget),
            Value::Null => None,
            _ => Some(Err(Fault::error(NO_OVERLOAD))),
        }
    }
}

fn at<'a>(target: &Value<'a>, index: &Value<'a>) -> Found<'a> {
    match (target, index) {
        (Value::List(list), index) => {
            let index = match index {
                Value::Int(index) => usize::try_from(*index).ok(),
                Value::Uint(index) => usize::try_from(*index).ok(),
                Value::Double(index) if index.fract() == 0.0 && *index >= 0.0 => Some(*index as usize),
                _ => None,
            };
            list.get(index?).map(|found| found.map_err(Fault::Error))
        }
        (Value::Map(map), index) => map.get(&Key::of(index)?).map(|found| found.map_err(Fault::Error)),
        (Value::Null, _) => None,
        _ => Some(Err(Fault::error(NO_OVERLOAD))),
    }
}

fn shown(key: &Value<'_>) -> String {
    match key {
        Value::String(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        other => other.type_name().to_owned(),
    }
}
