//! Fuzz targets: whatever reads bytes that a stranger wrote, and what must hold of it.
//!
//! A [`Target`] is a function over bytes that panics when something does not hold: that nothing panics, hangs or grows
//! without bound is the least; where a decoder has an encoder, or an operation is to be the same when done twice, that
//! is held against it, too. One file a target, in [`targets`].
//!
//! `make fuzz` gives the targets to libFuzzer, which looks for inputs that reach new code. `corpus/<target>/` holds
//! inputs to begin with, and the reproduction of every fault that was found; an ordinary test runs them all.

pub mod input;
pub mod targets;

/// One thing to fuzz.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, which is that of its directory in the corpus.
    pub name: &'static str,
    /// Panics if the input breaks what must hold.
    pub run: fn(&[u8]),
}

impl Target {
    /// The target of this name.
    pub fn find(name: &str) -> Option<Self> {
        targets::ALL.iter().copied().find(|target| target.name == name)
    }
}
