//! Types: gives each node one, finds what does not fit, and settles what a name or call refers to.
//!
//! Messages, and the order in which overloads are tried, are those of cel-go. Start at [`check`].

pub(crate) mod constants;
pub(crate) mod declarations;
mod unify;

use std::collections::HashMap;

use self::declarations::{Overload, function, instantiate};
use self::unify::Substitutions;
use crate::env::{Env, type_named};
use crate::issue::Issue;
use crate::library::format;
use crate::syntax::ast::{Access, Call, Element, Entry, Expr, Fold, Kind, Literal, Select, Struct, operator};
use crate::types::{Schema, Type};

/// What the check has found out about a tree.
pub(crate) struct Checked {
    /// The type of the whole.
    pub(crate) ty: Type,
    types: HashMap<u32, Type>,
    overloads: HashMap<u32, Vec<&'static str>>,
    substitutions: Substitutions,
}

impl Checked {
    /// The type of the node `id`.
    pub(crate) fn type_of(&self, id: u32) -> Type {
        self.types.get(&id).map_or(Type::Dyn, |ty| self.substitutions.apply(ty, true))
    }

    /// The overloads that may run for the call `id`: several where types are told only at evaluation.
    pub(crate) fn overloads(&self, id: u32) -> impl Iterator<Item = &'static str> {
        self.overloads.get(&id).into_iter().flatten().copied()
    }
}

/// Checks the tree against what `env` declares. Names that are dotted become identifiers, and calls get their overload.
pub(crate) fn check(env: &Env, root: &mut Expr) -> Result<Checked, Vec<Issue>> {
    let mut checker = Checker {
        env,
        types: HashMap::new(),
        overloads: HashMap::new(),
        substitutions: Substitutions::default(),
        scopes: Vec::new(),
        formatted: 0,
        issues: Vec::new(),
    };
    let ty = checker.check(root);
    if !checker.issues.is_empty() {
        return Err(checker.issues);
    }
    let issues = constants::check(root);
    if !issues.is_empty() {
        return Err(issues);
    }
    let Checker { types, overloads, substitutions, .. } = checker;
    Ok(Checked { ty: substitutions.apply(&ty, true), types, overloads, substitutions })
}

struct Checker<'a> {
    env: &'a Env,
    types: HashMap<u32, Type>,
    overloads: HashMap<u32, Vec<&'static str>>,
    substitutions: Substitutions,
    /// Variables of the folds around the node.
    scopes: Vec<(String, Type)>,
    /// How many calls of `format` are around the node: lists in their arguments may hold all sorts of values.
    formatted: usize,
    issues: Vec<Issue>,
}

impl Checker<'_> {
    fn check(&mut self, expr: &mut Expr) -> Type {
        let (id, at) = (expr.id, expr.at);
        let ty = match &mut expr.kind {
            Kind::Literal(literal) => of_literal(literal),
            Kind::Constant(_) => Type::Dyn,
            Kind::Ident(name) => self.ident(at, name),
            Kind::Select(_) => self.select(expr),
            Kind::Call(_) => self.call(expr),
            Kind::And(terms) | Kind::Or(terms) => self.terms(terms),
            Kind::Ternary(parts) => self.ternary(at, parts),
            Kind::List(elements) => self.list(elements),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct(object) => self.object(at, object),
            Kind::Fold(fold) => self.fold(fold),
        };
        self.types.insert(id, ty.clone());
        ty
    }

    fn report(&mut self, at: usize, message: impl Into<String>) -> Type {
        self.issues.push(Issue::new(at, message));
        Type::Error
    }

    fn undeclared(&mut self, at: usize, name: &str) -> Type {
        self.report(at, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn assignable(&mut self, a: &Type, b: &Type) -> bool {
        self.substitutions.assignable(std::slice::from_ref(a), std::slice::from_ref(b))
    }

    fn must_be(&mut self, expr: &Expr, wanted: &Type, found: &Type) {
        if !self.assignable(wanted, found) {
            let found = self.substitutions.apply(found, false);
            self.report(expr.at, format!("expected type '{wanted}' but found '{found}'"));
        }
    }

    fn lookup(&self, name: &str) -> Option<Type> {
        let local = self.scopes.iter().rev().find(|(known, _)| known == name).map(|(_, ty)| ty.clone());
        local.or_else(|| self.env.variable_type(name)).or_else(|| type_named(name))
    }

    fn ident(&mut self, at: usize, name: &str) -> Type {
        match self.lookup(name) {
            Some(ty) => ty,
            None => self.undeclared(at, name),
        }
    }

    fn select(&mut self, expr: &mut Expr) -> Type {
        let name = expr.dotted().filter(|name| !self.is_local(name));
        if let Some((name, ty)) = name.and_then(|name| self.env.dotted(&name).map(|ty| (name, ty))) {
            expr.kind = Kind::Ident(name);
            return ty;
        }
        let at = expr.at;
        let Kind::Select(select) = &mut expr.kind else { return Type::Error };
        let Select { operand, field, mode } = &mut **select;
        let found = self.check(operand);
        let found = self.substitutions.apply(&found, false);
        let (target, was_optional) = found.unwrap_optional();
        let result = self.field(at, target, field);
        let result = match mode {
            Access::Presence => Type::Bool,
            Access::Optional => Type::optional(result),
            Access::Value if was_optional => Type::optional(result),
            Access::Value => result,
        };
        self.substitutions.apply(&result, false)
    }

    /// Whether the first part of a dotted name is a variable of a fold.
    fn is_local(&self, dotted: &str) -> bool {
        let first = dotted.split('.').next().unwrap_or_default();
        self.scopes.iter().any(|(name, _)| name == first)
    }

    fn field(&mut self, at: usize, target: &Type, field: &str) -> Type {
        match target {
            Type::Map(map) => map.1.clone(),
            Type::Object(object) => match object.0.field(field) {
                Some(field) => field.ty,
                None => self.report(at, format!("undefined field '{field}'")),
            },
            Type::Param(_) => {
                self.assignable(&Type::Dyn, target);
                Type::Dyn
            }
            Type::Dyn | Type::Error => Type::Dyn,
            other => {
                self.report(at, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        }
    }

    fn call(&mut self, expr: &mut Expr) -> Type {
        let node = (expr.id, expr.at);
        let Kind::Call(call) = &mut expr.kind else { return Type::Error };
        let formats = call.function == "format" && call.target.is_some();
        self.formatted += usize::from(formats);
        let types = self.check_all(&mut call.args);
        self.formatted -= usize::from(formats);
        if formats {
            self.check_format(call);
        }
        if call.target.is_some() { self.member_call(node, call, types) } else { self.resolve(node, call, types) }
    }

    /// Checks a template that is written out against a list that is.
    fn check_format(&mut self, call: &Call) {
        let (Some(target), [Expr { kind: Kind::List(items), at, .. }]) = (&call.target, &call.args[..]) else { return };
        let Kind::Literal(Literal::String(template)) = &target.kind else { return };
        if items.iter().any(|item| item.optional) {
            return;
        }
        let types = items
            .iter()
            .map(|item| self.types.get(&item.value.id).map_or(Type::Dyn, |ty| self.substitutions.apply(ty, true)));
        if let Err(why) = format::check(template, &types.collect::<Vec<_>>()) {
            self.report(*at, why);
        }
    }

    fn check_all(&mut self, exprs: &mut [Expr]) -> Vec<Type> {
        exprs.iter_mut().map(|expr| self.check(expr)).collect()
    }

    fn member_call(&mut self, node: (u32, usize), call: &mut Call, mut types: Vec<Type>) -> Type {
        let prefix = call.target.as_ref().and_then(Expr::dotted);
        if let Some(name) = prefix.map(|prefix| format!("{prefix}.{}", call.function)).filter(|n| function(n).is_some())
        {
            call.function = name;
            call.target = None;
            return self.resolve(node, call, types);
        }
        if let Some(target) = &mut call.target {
            types.insert(0, self.check(target));
        }
        self.resolve(node, call, types)
    }

    fn resolve(&mut self, (id, at): (u32, usize), call: &mut Call, types: Vec<Type>) -> Type {
        let Some(found) = function(&call.function) else { return self.undeclared(at, &call.function) };
        let member = call.target.is_some();
        let (mut result, mut fitting): (Option<Type>, Vec<&'static str>) = (None, Vec::new());
        for overload in found.overloads.iter().filter(|overload| overload.member == member) {
            let Some(ty) = self.try_overload(overload, &types) else { continue };
            fitting.push(overload.id);
            result = Some(match result {
                Some(first) if first != Type::Dyn && first != ty => Type::Dyn,
                Some(first) => first,
                None => ty,
            });
        }
        if let [only] = fitting[..] {
            call.overload = Some(only);
        }
        self.overloads.insert(id, fitting);
        result.unwrap_or_else(|| self.no_overload(at, &call.function, &types, member))
    }

    fn try_overload(&mut self, overload: &Overload, types: &[Type]) -> Option<Type> {
        if overload.params.len() != types.len() {
            return None;
        }
        let fresh: Vec<Type> = (0..overload.variables).map(|_| self.substitutions.fresh()).collect();
        let params: Vec<Type> = overload.params.iter().map(|param| instantiate(param, &fresh)).collect();
        let fits = self.substitutions.assignable(types, &params);
        fits.then(|| self.substitutions.apply(&instantiate(&overload.result, &fresh), false))
    }

    fn no_overload(&mut self, at: usize, name: &str, types: &[Type], member: bool) -> Type {
        let mut shown = types.iter().map(|ty| self.substitutions.apply(ty, true).to_string());
        let target = if member { shown.next().map(|target| target + ".") } else { None };
        let args = shown.collect::<Vec<_>>().join(", ");
        let signature = format!("{}({args})", target.unwrap_or_default());
        self.report(at, format!("found no matching overload for '{name}' applied to '{signature}'"))
    }

    fn terms(&mut self, terms: &mut [Expr]) -> Type {
        let types = self.check_all(terms);
        for (term, ty) in terms.iter().zip(&types) {
            self.must_be(term, &Type::Bool, ty);
        }
        Type::Bool
    }

    fn ternary(&mut self, at: usize, parts: &mut [Expr; 3]) -> Type {
        let types = self.check_all(parts);
        let result = self.substitutions.fresh();
        if self.substitutions.assignable(&types, &[Type::Bool, result.clone(), result.clone()]) {
            return self.substitutions.apply(&result, false);
        }
        self.no_overload(at, operator::TERNARY, &types, false)
    }

    /// The type of an element, its optional unwrapped where the syntax says so.
    fn element(&mut self, value: &mut Expr, optional: bool) -> Type {
        let ty = self.check(value);
        if !optional {
            return ty;
        }
        let (inner, is_optional) = ty.unwrap_optional();
        if !is_optional && *inner != Type::Dyn {
            let wanted = Type::optional(inner.clone());
            self.report(value.at, format!("expected type '{wanted}' but found '{inner}'"));
        }
        inner.clone()
    }

    fn join(&mut self, at: usize, previous: Option<Type>, current: Type) -> Option<Type> {
        let Some(previous) = previous else { return Some(current) };
        if let Some(joined) = self.substitutions.join(&previous, &current) {
            return Some(joined);
        }
        if self.formatted > 0 {
            return Some(Type::Dyn);
        }
        Some(self.report(at, format!("expected type '{previous}' but found '{current}'")))
    }

    fn list(&mut self, elements: &mut [Element]) -> Type {
        let mut joined = None;
        for element in elements {
            let ty = self.element(&mut element.value, element.optional);
            joined = self.join(element.value.at, joined, ty);
        }
        Type::list(joined.unwrap_or_else(|| self.substitutions.fresh()))
    }

    fn map(&mut self, entries: &mut [Entry<Expr>]) -> Type {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            let key = self.check(&mut entry.key);
            keys = self.join(entry.key.at, keys, key);
            let value = self.element(&mut entry.value, entry.optional);
            values = self.join(entry.value.at, values, value);
        }
        let key = keys.unwrap_or_else(|| self.substitutions.fresh());
        Type::map(key, values.unwrap_or_else(|| self.substitutions.fresh()))
    }

    fn object(&mut self, at: usize, object: &mut Struct) -> Type {
        let schema = self.env.object_type(&object.name);
        if schema.is_none() {
            self.undeclared(at, &object.name);
        }
        for entry in &mut object.fields {
            let value = self.element(&mut entry.value, entry.optional);
            let Some(schema) = &schema else { continue };
            self.object_field(&*schema.0, entry, &value);
        }
        schema.map_or(Type::Error, Type::Object)
    }

    fn object_field(&mut self, schema: &dyn Schema, entry: &Entry<String>, value: &Type) {
        let Some(field) = schema.field(&entry.key) else {
            self.report(entry.at, format!("undefined field '{}'", entry.key));
            return;
        };
        if !self.assignable(&field.ty, value) {
            let (name, wanted) = (&entry.key, &field.ty);
            let value = self.substitutions.apply(value, false);
            let text = format!("expected type of field '{name}' is '{wanted}' but provided type is '{value}'");
            self.report(entry.at, text);
        }
    }

    fn fold(&mut self, fold: &mut Fold) -> Type {
        let range = self.check(&mut fold.range);
        let accumulator = self.check(&mut fold.init);
        let range = self.substitutions.apply(&range, false);
        let (first, second) = self.iteration(fold, &range);
        self.scopes.push((fold.accumulator.clone(), accumulator.clone()));
        self.scopes.push((fold.var.clone(), first));
        if let Some(name) = &fold.second {
            self.scopes.push((name.clone(), second));
        }
        let condition = self.check(&mut fold.condition);
        self.must_be(&fold.condition, &Type::Bool, &condition);
        let step = self.check(&mut fold.step);
        self.must_be(&fold.step, &accumulator, &step);
        self.scopes.truncate(self.scopes.len() - 1 - usize::from(fold.second.is_some()));
        let result = self.check(&mut fold.result);
        self.scopes.pop();
        self.substitutions.apply(&result, false)
    }

    /// The types of a fold's variables.
    fn iteration(&mut self, fold: &Fold, range: &Type) -> (Type, Type) {
        let two = fold.second.is_some();
        match range {
            Type::List(list) if two => (Type::Int, list.element.clone()),
            Type::List(list) => (list.element.clone(), Type::Error),
            Type::Map(map) => (map.0.clone(), map.1.clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.assignable(&Type::Dyn, range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let text = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.report(fold.range.at, text);
                (Type::Error, Type::Error)
            }
        }
    }
}

fn of_literal(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}
