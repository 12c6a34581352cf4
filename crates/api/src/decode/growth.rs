//! What a binary body may grow to: an empty message is two bytes on the wire and much more in memory.

use serde_json::Value;

/// The most memory that the values of one body take, roughly.
const MAX_GROWN_BYTES: usize = 64 << 20;
/// What an object takes besides its content: it has room for several fields from the start.
const OBJECT_BYTES: usize = 11 * (size_of::<String>() + size_of::<Value>());

/// The body has become too large.
pub(crate) struct TooLarge;

/// How much further a body may grow.
pub(crate) struct Growth {
    left: usize,
}

impl Growth {
    /// A body that has not begun.
    pub(crate) fn new() -> Self {
        Self { left: MAX_GROWN_BYTES }
    }

    /// Takes what a value with this much text needs.
    pub(crate) fn value(&mut self, text_bytes: usize) -> Result<(), TooLarge> {
        self.left = self.left.checked_sub(size_of::<Value>() + text_bytes).ok_or(TooLarge)?;
        Ok(())
    }

    /// Takes what an object needs.
    pub(crate) fn object(&mut self) -> Result<(), TooLarge> {
        self.value(OBJECT_BYTES)
    }
}
