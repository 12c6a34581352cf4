//! Evaluation: a walk over the checked tree.
//!
//! Errors are values that `&&` and `||` may absorb; only what ends the evaluation ([`Fault::Limit`]) is not. Recursion is
//! as deep as the tree, which the parser has bounded.

pub(crate) mod bindings;
pub(crate) mod cost;
mod fold;
pub(crate) mod operators;
mod select;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::bindings::Bindings;
use self::cost::{Budget, Meter};
use crate::check::declarations;
use crate::env;
use crate::library::lists::sum_of_none;
use crate::library::regexes;
use crate::syntax::ast::{Call, Element, Entry, Expr, Kind, Literal, RESULT, Struct, operator};
use crate::value::{Key, Map, Owned, Text, Value};

/// Why an expression has no value.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// An error, which logic may absorb.
    Error(String),
    /// The evaluation costs too much.
    Limit,
    /// The evaluation of a lazy variable has used up the shared budget.
    OutOfBudget,
}

impl Fault {
    pub(crate) fn error(text: impl Into<String>) -> Self {
        Self::Error(text.into())
    }
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self::Error(text)
    }
}

pub(crate) type Outcome<'a> = Result<Value<'a>, Fault>;

/// What no function of that name takes.
pub(crate) const NO_OVERLOAD: &str = "no such overload";

/// One evaluation.
pub(crate) struct Evaluator<'p, 'a, 'b> {
    bindings: &'b Bindings<'a>,
    budget: &'b Budget,
    meter: &'b Meter,
    /// The variables of the folds around the node; an accumulator may hold an error.
    scopes: Vec<(&'p str, Result<Value<'a>, String>)>,
}

impl<'p, 'a, 'b> Evaluator<'p, 'a, 'b> {
    pub(crate) fn new(bindings: &'b Bindings<'a>, budget: &'b Budget, meter: &'b Meter) -> Self {
        Self { bindings, budget, meter, scopes: Vec::new() }
    }

    fn charge(&self, units: u64) -> Result<(), Fault> {
        if self.meter.charge(units) { Ok(()) } else { Err(Fault::Limit) }
    }

    pub(crate) fn eval(&mut self, expr: &'p Expr) -> Outcome<'a> {
        match &expr.kind {
            Kind::Literal(literal) => Ok(of_literal(literal)),
            Kind::Constant(value) => Ok(value.clone()),
            Kind::Ident(name) => {
                self.charge(1)?;
                self.ident(name)
            }
            Kind::Select(select) => self.select(select),
            Kind::Call(call) => self.call(call),
            Kind::And(terms) => self.logic(terms, false),
            Kind::Or(terms) => self.logic(terms, true),
            Kind::Ternary(parts) => self.ternary(parts),
            Kind::List(elements) => self.list(elements),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct(object) => self.object(object),
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    /// Evaluates what is only the start of a longer path: there a variable costs nothing of its own.
    fn eval_uncharged(&mut self, expr: &'p Expr) -> Outcome<'a> {
        match &expr.kind {
            Kind::Ident(name) => self.ident(name),
            _ => self.eval(expr),
        }
    }

    fn ident(&self, name: &str) -> Outcome<'a> {
        if let Some((_, value)) = self.scopes.iter().rev().find(|(known, _)| *known == name) {
            return value.clone().map_err(Fault::Error);
        }
        if let Some(value) = self.bindings.get(name) {
            return Ok(value);
        }
        if env::type_named(name).is_some() {
            return Ok(Value::Type(name.into()));
        }
        Err(Fault::Error(format!("no such attribute(s): {name}")))
    }

    /// Takes the accumulator out of its scope: what is used nowhere else can grow in place.
    fn take_result(&mut self) -> Outcome<'a> {
        self.charge(1)?;
        let scope = self.scopes.iter_mut().rev().find(|(name, _)| *name == RESULT);
        let (_, value) = scope.ok_or_else(|| Fault::error("no such attribute(s): @result"))?;
        std::mem::replace(value, Ok(Value::Null)).map_err(Fault::Error)
    }

    /// `&&` (`decisive` is false) and `||`: the first decisive term wins, also over errors before it.
    fn logic(&mut self, terms: &'p [Expr], decisive: bool) -> Outcome<'a> {
        let mut fault = None;
        for term in terms {
            match self.eval(term) {
                Ok(Value::Bool(truth)) if truth == decisive => return Ok(Value::Bool(decisive)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => fault = fault.or_else(|| Some(Fault::error(NO_OVERLOAD))),
                Err(Fault::Error(text)) => fault = fault.or(Some(Fault::Error(text))),
                Err(fatal) => return Err(fatal),
            }
        }
        fault.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn ternary(&mut self, parts: &'p [Expr; 3]) -> Outcome<'a> {
        let [condition, then, otherwise] = parts;
        match self.eval(condition)? {
            Value::Bool(true) => self.eval_uncharged(then),
            Value::Bool(false) => self.eval_uncharged(otherwise),
            _ => Err(Fault::error(NO_OVERLOAD)),
        }
    }

    /// The value of an element; `None` for an optional without one.
    fn element(&mut self, value: &'p Expr, optional: bool) -> Result<Option<Value<'a>>, Fault> {
        match (self.eval(value)?, optional) {
            (Value::Optional(inner), true) => Ok(inner.map(|inner| (*inner).clone())),
            (value, true) => {
                Err(Fault::Error(format!("cannot initialize optional element from non-optional value {value:?}")))
            }
            (value, false) => Ok(Some(value)),
        }
    }

    fn list(&mut self, elements: &'p [Element]) -> Outcome<'a> {
        let mut items = Vec::with_capacity(elements.len());
        for element in elements {
            items.extend(self.element(&element.value, element.optional)?);
        }
        self.charge(cost::LIST)?;
        Ok(Value::list(items))
    }

    fn map(&mut self, entries: &'p [Entry<Expr>]) -> Outcome<'a> {
        let mut made = BTreeMap::new();
        for entry in entries {
            let key = self.eval(&entry.key)?;
            let key =
                Key::of(&key).ok_or_else(|| Fault::Error(format!("unsupported key type: {}", key.type_name())))?;
            if let Some(value) = self.element(&entry.value, entry.optional)?
                && made.insert(key, value).is_some()
            {
                return Err(Fault::error("Failed with repeated key"));
            }
        }
        self.charge(cost::MAP)?;
        Ok(Value::Map(Map::own(made)))
    }

    fn object(&mut self, object: &'p Struct) -> Outcome<'a> {
        let mut entries = BTreeMap::new();
        for field in &object.fields {
            if let Some(value) = self.element(&field.value, field.optional)? {
                entries.insert(Key::String(field.key.as_str().into()), value);
            }
        }
        self.charge(cost::OBJECT)?;
        Ok(Value::Map(Map::Own(Arc::new(Owned { object: Some(object.name.as_str().into()), entries }))))
    }

    fn call(&mut self, call: &'p Call) -> Outcome<'a> {
        match (call.function.as_str(), &call.target) {
            (operator::INDEX | operator::OPTIONAL_INDEX, _) => return self.index(call),
            (operator::NOT_STRICTLY_FALSE, _) => return self.not_strictly_false(&call.args[0]),
            ("or" | "orValue", Some(target)) => return self.alternative(call, target),
            _ => {}
        }
        let mut args = Vec::with_capacity(call.args.len() + 1);
        for expr in call.target.iter().chain(&call.args) {
            let grows = matches!(call.function.as_str(), operator::ADD | operator::MAP_INSERT) && args.is_empty();
            let is_result = matches!(&expr.kind, Kind::Ident(name) if name == RESULT);
            args.push(if grows && is_result { self.take_result()? } else { self.eval(expr)? });
        }
        self.invoke(call, args)
    }

    fn invoke(&mut self, call: &'p Call, args: Vec<Value<'a>>) -> Outcome<'a> {
        // Joining is paid for by its result, everything else by its arguments.
        let by_result = call.function == "join";
        if !by_result && !call.is_membership_of_constants() {
            self.charge(cost::of_call(&call.function, call.overload, &args, None))?;
        }
        let value = match &call.pattern {
            Some(pattern) => regexes::run_compiled(&call.function, &args, pattern),
            None => sum_of_none(call.overload, &args).map(Ok).or_else(|| run(&call.function, args)),
        };
        let value = value.unwrap_or_else(|| Err(NO_OVERLOAD.to_owned()))?;
        if by_result {
            self.charge(cost::of_call(&call.function, call.overload, &[], Some(&value)))?;
        }
        Ok(value)
    }

    fn not_strictly_false(&mut self, arg: &'p Expr) -> Outcome<'a> {
        let value = self.eval(arg);
        self.charge(1)?;
        match value {
            Ok(Value::Bool(false)) => Ok(Value::Bool(false)),
            Ok(_) | Err(Fault::Error(_)) => Ok(Value::Bool(true)),
            Err(fatal) => Err(fatal),
        }
    }

    /// `optional.or(other)`, `optional.orValue(value)`: the argument is looked at only when it is needed.
    fn alternative(&mut self, call: &'p Call, target: &'p Expr) -> Outcome<'a> {
        match (self.eval(target)?, call.args.first()) {
            (Value::Optional(Some(inner)), Some(_)) if call.function == "orValue" => Ok((*inner).clone()),
            (some @ Value::Optional(Some(_)), Some(_)) => Ok(some),
            (Value::Optional(None), Some(other)) => self.eval(other),
            _ => Err(Fault::error(NO_OVERLOAD)),
        }
    }
}

/// Runs a function: the first library that has it for such arguments.
pub(crate) fn run<'a>(function: &str, args: Vec<Value<'a>>) -> Option<Result<Value<'a>, String>> {
    if function == operator::ADD || function == operator::MAP_INSERT {
        return operators::grow(function, args);
    }
    let known = declarations::function(function)?;
    known.libraries.iter().find_map(|library| (library.run)(function, &args))
}

/// The value of a constant.
pub(crate) fn of_literal<'a>(literal: &Literal) -> Value<'a> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(truth) => Value::Bool(*truth),
        Literal::Int(number) => Value::Int(*number),
        Literal::Uint(number) => Value::Uint(*number),
        Literal::Double(number) => Value::Double(*number),
        Literal::String(text) => Value::String(Text::Shared(text.clone())),
        Literal::Bytes(bytes) => Value::Bytes(bytes.clone()),
    }
}
