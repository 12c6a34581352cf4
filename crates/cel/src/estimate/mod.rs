//! What evaluating an expression can cost at most, told from its text and from how large its variables can be.
//!
//! A definition whose rules could cost too much is refused by this number before any object is, so it must be upstream's
//! own, quirks included: see cel-go's `checker/cost.go` and Kubernetes' `pkg/cel/library/cost.go`. It is counted over the
//! tree as it was written, before constants are made (`check::constants::fold`). What evaluation really costs is
//! `eval::cost`.
//!
//! Start at [`estimate`]; `calls` has what each function costs, `size` the arithmetic.

mod calls;
mod size;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use self::calls::{Operand, Operands};
use self::size::{Entries, Size};
use crate::check::Checked;
use crate::eval::cost::{LIST, MAP, OBJECT};
use crate::syntax::ast::{Access, Call, Element, Entry, Expr, Fold, Kind, Literal, RESULT, Select, operator};
use crate::types::Type;

/// How large the values of an expression's variables can be.
pub trait Sizes {
    /// The most characters, bytes, items or entries of what lies at `path` below a variable; `None` if nothing is known.
    fn largest(&self, path: &[Step]) -> Option<u64>;
}

/// A step from a value to one of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The field that expressions call so.
    Field(String),
    /// Any item of a list.
    Item,
    /// The place of an item.
    Index,
    /// Any key of a map.
    Key,
    /// Any value of a map.
    Value,
}

/// The most that evaluating `root` can cost.
pub(crate) fn estimate(root: &Expr, checked: &Checked, sizes: &dyn Sizes) -> u64 {
    let mut estimator = Estimator {
        checked,
        sizes,
        paths: HashMap::new(),
        known: HashMap::new(),
        entries: HashMap::new(),
        locals: Vec::new(),
    };
    estimator.cost(root)
}

/// Where a value comes from: `None` if from no variable, else the way below one.
type Origin = Option<Vec<Step>>;

struct Estimator<'a> {
    checked: &'a Checked,
    sizes: &'a dyn Sizes,
    /// Where nodes come from.
    paths: HashMap<u32, Origin>,
    /// The sizes of nodes that are known so far.
    known: HashMap<u32, Size>,
    /// The sizes of what is in lists and maps that are known so far.
    entries: HashMap<u32, Entries>,
    /// The variables of the folds around the node.
    locals: Vec<Local>,
}

struct Local {
    name: String,
    origin: Origin,
    size: Option<Size>,
    entries: Option<Entries>,
}

impl Estimator<'_> {
    fn cost(&mut self, expr: &Expr) -> u64 {
        match &expr.kind {
            Kind::Literal(_) | Kind::Constant(_) => 0,
            Kind::Ident(name) => {
                let origin = self.local(name).map_or(Some(Vec::new()), |local| local.origin.clone());
                self.paths.insert(expr.id, origin);
                1
            }
            Kind::Select(select) => self.select(expr, select),
            Kind::Call(call) if call.function == "dyn" => self.unwrapped(expr, call),
            Kind::Call(call) => self.call(expr, call),
            Kind::And(terms) | Kind::Or(terms) => self.sum(terms),
            Kind::Ternary(parts) => self.ternary(expr, parts),
            Kind::List(elements) => self.list(expr, elements),
            Kind::Map(entries) => self.map(expr, entries),
            Kind::Struct(object) => self.sum(object.fields.iter().map(|field| &field.value)).saturating_add(OBJECT),
            Kind::Fold(fold) if is_binding(fold) => self.binding(expr, fold),
            Kind::Fold(fold) => self.fold(expr, fold),
        }
    }

    fn sum<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) -> u64 {
        exprs.into_iter().fold(0, |sum: u64, expr| sum.saturating_add(self.cost(expr)))
    }

    fn select(&mut self, expr: &Expr, select: &Select) -> u64 {
        let operand = self.cost(&select.operand);
        match select.mode {
            Access::Presence => operand,
            Access::Optional => operand.saturating_add(1),
            Access::Value => {
                let looked_up = matches!(self.ty(&select.operand), Type::Map(_) | Type::Object(_));
                let origin = below(self.origin(&select.operand), Step::Field(select.field.clone()));
                self.paths.insert(expr.id, origin);
                operand.saturating_add(u64::from(looked_up))
            }
        }
    }

    /// `dyn(x)`: only the type is another.
    fn unwrapped(&mut self, expr: &Expr, call: &Call) -> u64 {
        let Some(arg) = call.args.first() else { return 1 };
        let cost = self.cost(arg);
        self.copy_sizes(expr, arg);
        cost.saturating_add(1)
    }

    fn call(&mut self, expr: &Expr, call: &Call) -> u64 {
        let args_cost = self.sum(&call.args);
        let args: Vec<Operand> = call.args.iter().map(|arg| self.operand(arg)).collect();
        let target_cost = self.sum(&call.target);
        let operands = Operands { target: call.target.as_ref().map(|target| self.operand(target)), args };
        let (mut cost, mut size) = (0, None);
        for overload in self.checked.overloads(expr.id) {
            let estimate = calls::estimate(&call.function, overload, &operands);
            cost = cost.max(estimate.cost);
            size = match (size, estimate.size) {
                (Some(one), Some(other)) => Some(Size::union(one, other)),
                (one, other) => one.or(other),
            };
            if let Some(step) = indexed(overload)
                && let Some(container) = call.args.first()
            {
                size = self.entries_of(container).map(|entries| entries.value);
                let origin = below(self.origin(container), step);
                self.paths.insert(expr.id, origin);
            }
            size = size.or_else(|| self.size(expr));
        }
        if call.function == operator::ADD {
            self.note_sum(expr, &call.args);
        }
        self.note(expr, size);
        cost.saturating_add(args_cost).saturating_add(target_cost)
    }

    /// What is in the sum of two lists is in one of them.
    fn note_sum(&mut self, expr: &Expr, args: &[Expr]) {
        if let [left, right] = args
            && let (Some(left), Some(right)) = (self.entries_of(left), self.entries_of(right))
        {
            self.entries.insert(expr.id, left.union(&right));
        }
    }

    fn ternary(&mut self, expr: &Expr, [condition, then, otherwise]: &[Expr; 3]) -> u64 {
        let condition = self.cost(condition);
        let branch = self.cost(then).max(self.cost(otherwise));
        let size = Size::union(self.size_or_any(then), self.size_or_any(otherwise));
        self.note(expr, Some(size));
        if let (Some(then), Some(otherwise)) = (self.entries_of(then), self.entries_of(otherwise)) {
            self.entries.insert(expr.id, then.union(&otherwise));
        }
        condition.saturating_add(branch)
    }

    fn list(&mut self, expr: &Expr, elements: &[Element]) -> u64 {
        let cost = self.sum(elements.iter().map(|element| &element.value));
        let value = self.union(elements.iter().map(|element| &element.value));
        self.entries.insert(expr.id, Entries { is_list: true, key: Size::exactly(1), value });
        cost.saturating_add(LIST)
    }

    fn map(&mut self, expr: &Expr, entries: &[Entry<Expr>]) -> u64 {
        let cost = self.sum(entries.iter().flat_map(|entry| [&entry.key, &entry.value]));
        let key = self.union(entries.iter().map(|entry| &entry.key));
        let value = self.union(entries.iter().map(|entry| &entry.value));
        self.entries.insert(expr.id, Entries { is_list: false, key, value });
        cost.saturating_add(MAP)
    }

    fn union<'e>(&mut self, exprs: impl Iterator<Item = &'e Expr>) -> Size {
        exprs.map(|expr| self.size_or_any(expr)).reduce(Size::union).unwrap_or(Size::exactly(0))
    }

    fn fold(&mut self, expr: &Expr, fold: &Fold) -> u64 {
        let before = self.cost(&fold.range).saturating_add(self.cost(&fold.init));
        let outside = self.locals.len();
        self.enter(&fold.accumulator, &fold.init);
        let around = self.locals.len();
        self.iterate(fold);
        let turn = self.cost(&fold.condition).saturating_add(self.cost(&fold.step));
        self.locals.truncate(around);
        let result = self.cost(&fold.result);
        self.locals.truncate(outside);
        let turns = self.size_or_any(&fold.range);
        match &fold.init.kind {
            Kind::Literal(_) => {
                let size = self.size(&fold.init);
                self.note(expr, size);
            }
            Kind::List(_) | Kind::Map(_) => {
                self.note(expr, Some(turns));
                if let Some(entries) = self.entries_of(&fold.step) {
                    self.entries.insert(expr.id, entries);
                }
            }
            _ => {}
        }
        before.saturating_add(result).saturating_add(turns.most.saturating_mul(turn))
    }

    /// A variable that has a value once: `x.optMap(v, ...)`.
    fn binding(&mut self, expr: &Expr, fold: &Fold) -> u64 {
        let before = self.cost(&fold.range).saturating_add(self.cost(&fold.init));
        let outside = self.locals.len();
        self.enter(&fold.accumulator, &fold.init);
        let result = self.cost(&fold.result);
        self.locals.truncate(outside);
        self.copy_sizes(expr, &fold.result);
        before.saturating_add(result)
    }

    fn enter(&mut self, name: &str, value: &Expr) {
        let (size, entries) = (self.size(value), self.entries_of(value));
        self.locals.push(Local { name: name.to_owned(), origin: self.origin(value), size, entries });
    }

    /// The variables that go over the range.
    fn iterate(&mut self, fold: &Fold) {
        let entries = self.entries_of(&fold.range);
        let is_list = match &entries {
            Some(entries) => entries.is_list,
            None => matches!(self.ty(&fold.range), Type::List(_)),
        };
        let key = (if is_list { Step::Index } else { Step::Key }, entries.as_ref().map(|entries| entries.key));
        let value = (if is_list { Step::Item } else { Step::Value }, entries.as_ref().map(|entries| entries.value));
        let first = if fold.second.is_none() && is_list { value.clone() } else { key };
        let variables = [(Some(&fold.var), first), (fold.second.as_ref(), value)];
        for (name, (step, size)) in variables {
            let Some(name) = name else { continue };
            let origin = below(self.origin(&fold.range), step);
            self.locals.push(Local { name: name.clone(), origin, size, entries: None });
        }
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|local| local.name == name)
    }

    fn ty(&self, expr: &Expr) -> Type {
        self.checked.type_of(expr.id)
    }

    fn origin(&self, expr: &Expr) -> Origin {
        if let Kind::Ident(name) = &expr.kind
            && let Some(local) = self.local(name)
        {
            return local.origin.clone();
        }
        self.paths.get(&expr.id).cloned().flatten()
    }

    fn operand(&mut self, expr: &Expr) -> Operand {
        let (ty, origin, size) = (self.ty(expr), self.origin(expr), self.size(expr));
        let item = match &ty {
            Type::List(list) => {
                let size = origin.map(|origin| below(Some(origin), Step::Item)).and_then(|origin| self.told(&origin));
                Some((list.element.clone(), size.unwrap_or(Size::ANY)))
            }
            _ => None,
        };
        let literal = match &expr.kind {
            Kind::Literal(Literal::Int(number)) => Some(*number),
            _ => None,
        };
        Operand { ty, size, item, literal }
    }

    fn note(&mut self, expr: &Expr, size: Option<Size>) {
        if let Some(size) = size {
            self.known.insert(expr.id, size);
        }
    }

    fn copy_sizes(&mut self, to: &Expr, from: &Expr) {
        let (size, entries) = (self.size(from), self.entries_of(from));
        self.note(to, size);
        if let Some(entries) = entries {
            self.entries.insert(to.id, entries);
        }
    }

    fn size_or_any(&mut self, expr: &Expr) -> Size {
        self.size(expr).unwrap_or(Size::ANY)
    }

    /// How large a node's value can be, if that is known: by how it is written, by what the variables are, by its type.
    fn size(&mut self, expr: &Expr) -> Option<Size> {
        if let Some(size) = self.known.get(&expr.id) {
            return Some(*size);
        }
        if let Some(size) = size::written(expr) {
            return Some(size);
        }
        if let Some(size) = self.told(&self.origin(expr)) {
            self.known.insert(expr.id, size);
            return Some(size);
        }
        if size::is_scalar(&self.ty(expr)) {
            return Some(Size::exactly(1));
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name).and_then(|local| local.size),
            _ => None,
        }
    }

    fn told(&self, origin: &Origin) -> Option<Size> {
        let most = self.sizes.largest(origin.as_deref()?)?;
        Some(Size { least: 0, most })
    }

    fn entries_of(&self, expr: &Expr) -> Option<Entries> {
        let known = self.entries.get(&expr.id).cloned();
        known.or_else(|| match &expr.kind {
            Kind::Ident(name) => self.local(name).and_then(|local| local.entries.clone()),
            _ => None,
        })
    }
}

/// One step further. What is in a value that comes from no variable counts as a variable itself, as upstream has it.
fn below(origin: Origin, step: Step) -> Origin {
    Some(origin.map_or_else(Vec::new, |mut path| {
        path.push(step);
        path
    }))
}

fn indexed(overload: &str) -> Option<Step> {
    match overload {
        "index_list" => Some(Step::Item),
        "index_map" => Some(Step::Value),
        _ => None,
    }
}

fn is_binding(fold: &Fold) -> bool {
    matches!(&fold.range.kind, Kind::List(elements) if elements.is_empty())
        && matches!(fold.condition.kind, Kind::Literal(Literal::Bool(false)))
        && fold.accumulator != RESULT
}
