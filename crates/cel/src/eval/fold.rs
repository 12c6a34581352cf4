//! Loops.

use super::{Evaluator, Fault, NO_OVERLOAD, Outcome};
use crate::syntax::ast::Fold;
use crate::value::{Key, List, Map, Value};

/// What a loop goes over.
enum Range<'a> {
    List(List<'a>),
    Map(Map<'a>, Vec<Key>),
}

impl<'a> Range<'a> {
    fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Map(_, keys) => keys.len(),
        }
    }

    fn key(&self, index: usize) -> Value<'a> {
        match self {
            Self::List(_) => Value::Int(i64::try_from(index).unwrap_or(i64::MAX)),
            Self::Map(_, keys) => keys[index].value(),
        }
    }

    fn value(&self, index: usize) -> Result<Value<'a>, String> {
        let found = match self {
            Self::List(list) => list.get(index),
            Self::Map(map, keys) => map.get(&keys[index]),
        };
        found.unwrap_or_else(|| Err(NO_OVERLOAD.to_owned()))
    }
}

impl<'p, 'a> Evaluator<'p, 'a, '_> {
    pub(super) fn fold(&mut self, fold: &'p Fold) -> Outcome<'a> {
        let range = match self.eval(&fold.range)? {
            Value::List(list) => Range::List(list),
            Value::Map(map) => {
                let keys = map.keys();
                Range::Map(map, keys)
            }
            _ => return Err(Fault::error(NO_OVERLOAD)),
        };
        let init = self.absorb(&fold.init)?;
        self.scopes.push((&fold.accumulator, init));
        let scope = self.scopes.len() - 1;
        let looped = self.rounds(fold, &range, scope);
        self.scopes.truncate(scope + 1);
        let result = looped.and_then(|()| self.eval(&fold.result));
        self.scopes.pop();
        result
    }

    fn rounds(&mut self, fold: &'p Fold, range: &Range<'a>, scope: usize) -> Result<(), Fault> {
        for index in 0..range.len() {
            match &fold.second {
                Some(second) => {
                    self.scopes.push((&fold.var, Ok(range.key(index))));
                    self.scopes.push((second, range.value(index)));
                }
                None => {
                    let item = if let Range::Map(..) = range { Ok(range.key(index)) } else { range.value(index) };
                    self.scopes.push((&fold.var, item));
                }
            }
            if let Ok(Value::Bool(false)) = self.absorb(&fold.condition)? {
                return Ok(());
            }
            let next = self.absorb(&fold.step)?;
            self.scopes.truncate(scope + 1);
            self.scopes[scope].1 = next;
        }
        Ok(())
    }

    /// Errors are values of the accumulator; only what ends the evaluation ends the loop.
    fn absorb(&mut self, expr: &'p crate::syntax::ast::Expr) -> Result<Result<Value<'a>, String>, Fault> {
        match self.eval(expr) {
            Ok(value) => Ok(Ok(value)),
            Err(Fault::Error(text)) => Ok(Err(text)),
            Err(fatal) => Err(fatal),
        }
    }
}
