//! How large values are, as ranges, and costs that grow with them. Nothing overflows: what is too large is the largest.

use crate::syntax::ast::{Expr, Kind, Literal};
use crate::types::Type;

/// Between how many and how many characters, bytes, items or entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) least: u64,
    pub(super) most: u64,
}

/// How large what is in a list or map is.
#[derive(Clone, Debug)]
pub(super) struct Entries {
    pub(super) is_list: bool,
    pub(super) key: Size,
    pub(super) value: Size,
}

impl Size {
    /// Nothing is known.
    pub(super) const ANY: Self = Self { least: 0, most: u64::MAX };

    pub(super) const fn exactly(size: u64) -> Self {
        Self { least: size, most: size }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { least: self.least.saturating_add(other.least), most: self.most.saturating_add(other.most) }
    }

    pub(super) fn times(self, other: Self) -> Self {
        Self { least: self.least.saturating_mul(other.least), most: self.most.saturating_mul(other.most) }
    }

    /// What is either.
    pub(super) fn union(self, other: Self) -> Self {
        Self { least: self.least.min(other.least), most: self.most.max(other.most) }
    }
}

impl Entries {
    /// What is in either.
    pub(super) fn union(&self, other: &Self) -> Self {
        Self {
            is_list: self.is_list,
            key: Size::union(self.key, other.key),
            value: Size::union(self.value, other.value),
        }
    }
}

/// The size of what is written out.
pub(super) fn written(expr: &Expr) -> Option<Size> {
    let size = match &expr.kind {
        Kind::Literal(Literal::String(text)) => text.chars().count(),
        Kind::Literal(Literal::Bytes(bytes)) => bytes.len(),
        Kind::Literal(_) => 1,
        Kind::List(elements) => elements.len(),
        Kind::Map(entries) => entries.len(),
        _ => return None,
    };
    Some(Size::exactly(size as u64))
}

/// Whether all values of a type are of one size.
pub(super) fn is_scalar(ty: &Type) -> bool {
    match ty {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        Type::Optional(inner) => is_scalar(inner),
        _ => false,
    }
}
