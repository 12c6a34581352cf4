//! The tree of an expression.
//!
//! Macros are expanded already: `all`, `map` and their like are [`Fold`]s, so the checker, the evaluator and the cost
//! know only a handful of forms. Every node has a place in the text, for errors, and an id, for its type.

use std::sync::Arc;

use regex::Regex;

use crate::value::Value;

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    /// Unique within its expression.
    pub(crate) id: u32,
    /// Where its operator or first token is, in characters from the start.
    pub(crate) at: usize,
    /// How many levels of nodes it has, itself included.
    pub(crate) depth: u16,
    /// What it is.
    pub(crate) kind: Kind,
}

/// The forms of nodes.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Literal(Literal),
    /// What the constants below it make; only after the check.
    Constant(Value<'static>),
    Ident(String),
    Select(Box<Select>),
    Call(Box<Call>),
    /// Any number of terms, so that long chains are not deep.
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// Condition, then, else.
    Ternary(Box<[Expr; 3]>),
    List(Vec<Element>),
    Map(Vec<Entry<Expr>>),
    Struct(Box<Struct>),
    Fold(Box<Fold>),
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

/// `operand.field`, `operand.?field`, `has(operand.field)`
#[derive(Clone, Debug)]
pub(crate) struct Select {
    pub(crate) operand: Expr,
    pub(crate) field: String,
    pub(crate) mode: Access,
}

/// What is asked of a field or index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Its value, or an error.
    Value,
    /// Its value as an optional.
    Optional,
    /// Whether it is there.
    Presence,
}

/// A function call; operators are functions named like `_+_`.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: String,
    pub(crate) target: Option<Expr>,
    pub(crate) args: Vec<Expr>,
    /// The one overload that fits the types, when there is just one. The checker fills it in.
    pub(crate) overload: Option<&'static str>,
    /// The compiled pattern, when it is a constant.
    pub(crate) pattern: Option<Regex>,
}

/// An item of a list literal.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub(crate) value: Expr,
    /// `[?a]`: only there if the optional has a value.
    pub(crate) optional: bool,
}

/// An entry of a map literal (`K` is an expression) or of an object literal (`K` is a name).
#[derive(Clone, Debug)]
pub(crate) struct Entry<K> {
    /// Where its colon is.
    pub(crate) at: usize,
    pub(crate) key: K,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// `Object.spec{replicas: 1}`
#[derive(Clone, Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) fields: Vec<Entry<String>>,
}

/// A loop: `accumulator = init; for var in range { if !condition {break}; accumulator = step }; result`
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub(crate) range: Expr,
    pub(crate) var: String,
    /// The second variable: with it, the first is the index or key, and this one the item or value.
    pub(crate) second: Option<String>,
    pub(crate) accumulator: String,
    pub(crate) init: Expr,
    pub(crate) condition: Expr,
    pub(crate) step: Expr,
    pub(crate) result: Expr,
}

/// The accumulator of the macros; no identifier can be written like this.
pub(crate) const RESULT: &str = "@result";

/// The list that `sortBy` sorts, likewise.
pub(crate) const SORTED: &str = "@__sortBy_input__";

/// The functions that operators stand for.
pub(crate) mod operator {
    pub(crate) const NOT: &str = "!_";
    pub(crate) const NEGATE: &str = "-_";
    pub(crate) const ADD: &str = "_+_";
    pub(crate) const EQUALS: &str = "_==_";
    pub(crate) const NOT_EQUALS: &str = "_!=_";
    pub(crate) const INDEX: &str = "_[_]";
    pub(crate) const OPTIONAL_INDEX: &str = "_[?_]";
    pub(crate) const IN: &str = "@in";
    pub(crate) const TERNARY: &str = "_?_:_";
    pub(crate) const NOT_STRICTLY_FALSE: &str = "@not_strictly_false";
    pub(crate) const MAP_INSERT: &str = "cel.@mapInsert";
}

impl Call {
    /// Whether it looks something up in a list of constants, which costs nothing.
    pub(crate) fn is_membership_of_constants(&self) -> bool {
        self.function == operator::IN
            && matches!(self.args.get(1).map(|list| &list.kind), Some(Kind::Constant(Value::List(_))))
    }
}

impl Expr {
    /// The direct children, for walks that treat all forms alike.
    pub(crate) fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            Kind::Literal(_) | Kind::Constant(_) | Kind::Ident(_) => Vec::new(),
            Kind::Select(select) => vec![&select.operand],
            Kind::Call(call) => call.target.iter().chain(&call.args).collect(),
            Kind::And(terms) | Kind::Or(terms) => terms.iter().collect(),
            Kind::Ternary(parts) => parts.iter().collect(),
            Kind::List(elements) => elements.iter().map(|element| &element.value).collect(),
            Kind::Map(entries) => entries.iter().flat_map(|entry| [&entry.key, &entry.value]).collect(),
            Kind::Struct(object) => object.fields.iter().map(|field| &field.value).collect(),
            Kind::Fold(fold) => {
                vec![&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result]
            }
        }
    }

    /// The same, to change them.
    pub(crate) fn children_mut(&mut self) -> Vec<&mut Expr> {
        match &mut self.kind {
            Kind::Literal(_) | Kind::Constant(_) | Kind::Ident(_) => Vec::new(),
            Kind::Select(select) => vec![&mut select.operand],
            Kind::Call(call) => call.target.iter_mut().chain(&mut call.args).collect(),
            Kind::And(terms) | Kind::Or(terms) => terms.iter_mut().collect(),
            Kind::Ternary(parts) => parts.iter_mut().collect(),
            Kind::List(elements) => elements.iter_mut().map(|element| &mut element.value).collect(),
            Kind::Map(entries) => entries.iter_mut().flat_map(|entry| [&mut entry.key, &mut entry.value]).collect(),
            Kind::Struct(object) => object.fields.iter_mut().map(|field| &mut field.value).collect(),
            Kind::Fold(fold) => {
                vec![&mut fold.range, &mut fold.init, &mut fold.condition, &mut fold.step, &mut fold.result]
            }
        }
    }

    /// Whether this or anything below it is the identifier `name`.
    pub(crate) fn refers_to(&self, name: &str) -> bool {
        matches!(&self.kind, Kind::Ident(own) if own == name)
            || self.children().into_iter().any(|child| child.refers_to(name))
    }

    /// The name this node spells as dotted identifiers: `a.b.c`.
    pub(crate) fn dotted(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.clone()),
            Kind::Select(select) if select.mode == Access::Value => {
                Some(format!("{}.{}", select.operand.dotted()?, select.field))
            }
            _ => None,
        }
    }
}
