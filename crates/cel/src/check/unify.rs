//! Which types fit which, and what type variables stand for.

use std::sync::Arc;

use crate::types::{ListType, Type};

/// What the type variables met so far stand for.
#[derive(Clone, Debug, Default)]
pub(super) struct Substitutions {
    bound: Vec<Option<Type>>,
    /// What variables stood for before the changes of the current attempt, so that it can be taken back.
    undo: Vec<(usize, Option<Type>)>,
}

impl Substitutions {
    /// A new type variable.
    pub(super) fn fresh(&mut self) -> Type {
        self.bound.push(None);
        Type::Param(self.bound.len() - 1)
    }

    fn find(&self, index: usize) -> Option<&Type> {
        self.bound.get(index).and_then(Option::as_ref)
    }

    /// Whether each of `left` fits its partner; remembers what that says about variables only if all do.
    pub(super) fn assignable(&mut self, left: &[Type], right: &[Type]) -> bool {
        self.undo.clear();
        let fits = left.len() == right.len() && left.iter().zip(right).all(|(a, b)| self.fits(a, b));
        if !fits {
            while let Some((index, before)) = self.undo.pop() {
                self.bound[index] = before;
            }
        }
        fits
    }

    fn set(&mut self, index: usize, ty: Type) {
        let before = self.bound[index].replace(ty);
        self.undo.push((index, before));
    }

    fn fits(&mut self, a: &Type, b: &Type) -> bool {
        if let Type::Param(index) = b {
            let bound = self.find(*index).is_some();
            if self.bind(a, *index) {
                return true;
            }
            if bound {
                return false;
            }
        }
        if let Type::Param(index) = a {
            return self.bind(b, *index);
        }
        if a.is_open() || b.is_open() {
            return true;
        }
        match (a, b) {
            (Type::Null, other) | (other, Type::Null) => is_nullable(other),
            (Type::List(a), Type::List(b)) => self.fits(&a.element, &b.element),
            (Type::Map(a), Type::Map(b)) => self.fits(&a.0, &b.0) && self.fits(&a.1, &b.1),
            (Type::Optional(a), Type::Optional(b)) => self.fits(a, b),
            (Type::Type(_), Type::Type(_)) => true,
            (a, b) => a == b,
        }
    }

    /// Lets the variable stand for `ty` as well, if that is possible.
    fn bind(&mut self, ty: &Type, index: usize) -> bool {
        if *ty == Type::Param(index) {
            return true;
        }
        if let Some(bound) = self.find(index).cloned() {
            if bound == *ty {
                return true;
            }
            if !self.fits(ty, &bound) {
                return false;
            }
            let general = if less_specific(ty, &bound) { ty.clone() } else { bound };
            if !self.mentions(&general, index) {
                self.set(index, general);
            }
            return true;
        }
        if self.mentions(ty, index) {
            return false;
        }
        self.set(index, ty.clone());
        true
    }

    fn mentions(&self, ty: &Type, index: usize) -> bool {
        match ty {
            Type::Param(other) => *other == index || self.find(*other).is_some_and(|ty| self.mentions(ty, index)),
            Type::List(list) => self.mentions(&list.element, index),
            Type::Map(map) => self.mentions(&map.0, index) || self.mentions(&map.1, index),
            Type::Optional(inner) | Type::Type(inner) => self.mentions(inner, index),
            _ => false,
        }
    }

    /// The type with variables replaced; those that stand for nothing become `dyn` if `close`.
    pub(super) fn apply(&self, ty: &Type, close: bool) -> Type {
        match ty {
            Type::Param(index) => match self.find(*index) {
                Some(bound) => self.apply(bound, close),
                None if close => Type::Dyn,
                None => ty.clone(),
            },
            Type::List(list) => Type::List(Arc::new(ListType {
                element: self.apply(&list.element, close),
                semantics: list.semantics.clone(),
            })),
            Type::Map(map) => Type::map(self.apply(&map.0, close), self.apply(&map.1, close)),
            Type::Optional(inner) => Type::optional(self.apply(inner, close)),
            Type::Type(inner) => Type::Type(Arc::new(self.apply(inner, close))),
            other => other.clone(),
        }
    }

    /// The more general of two types, if one fits the other.
    pub(super) fn join(&mut self, a: &Type, b: &Type) -> Option<Type> {
        let fits = self.assignable(std::slice::from_ref(a), std::slice::from_ref(b));
        fits.then(|| if less_specific(a, b) { a.clone() } else { b.clone() })
    }
}

fn is_nullable(ty: &Type) -> bool {
    matches!(ty, Type::Null | Type::Optional(_) | Type::Opaque(_) | Type::Object(_) | Type::Duration | Type::Timestamp)
}

fn less_specific(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Param(_), _) => true,
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::List(a), Type::List(b)) => less_specific(&a.element, &b.element),
        (Type::Map(a), Type::Map(b)) => less_specific(&a.0, &b.0) && less_specific(&a.1, &b.1),
        (Type::Optional(a), Type::Optional(b)) => less_specific(a, b),
        (Type::Type(_), Type::Type(_)) => true,
        (a, b) => a == b,
    }
}
