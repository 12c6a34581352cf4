//! Custom kinds: what a CustomResourceDefinition says, as a kind like any other.
//!
//! A [`Custom`] is one served version of such a kind. Start at [`Custom::new`].

mod names;

use crate::kind::{Kind, Rules};

pub use names::{Full, Names};

/// One served version of a custom kind.
pub struct Custom {
    names: &'static Kind,
}

impl Custom {
    /// The kind of these names.
    pub fn new(names: &Names<'_>) -> Result<Self, Full> {
        Ok(Self { names: names::intern(names)? })
    }

    /// Its names.
    pub fn names(&self) -> &'static Kind {
        self.names
    }
}

impl Rules for Custom {}
