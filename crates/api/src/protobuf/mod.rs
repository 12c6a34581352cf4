//! The protobuf form of built-in types, both ways: JSON values to `application/vnd.kubernetes.protobuf` and back.
//!
//! Fields, their types and their numbers come from the [`schema`](crate::schema); nothing here is written per kind but
//! the few types that have a form of their own ([`own`]). What is written is what upstream's types write, byte for
//! byte: plain fields even when they are zero, pointers only when they are there, maps by key, fields by number.
//! Sizes that a message claims are never believed, depth and growth are bounded.
//!
//! Start at [`decode()`] and [`encode()`]; [`envelope`] is what stands around an object, a list, an event of a watch.

mod decode;
mod encode;
pub mod envelope;
mod own;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use self::decode::decode;
pub use self::encode::{encode, message, partial};

use crate::decode::growth::TooLarge;

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// No built-in type is nested deeper.
const MAX_DEPTH: usize = 60;

/// Why something is not read or not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes do not begin as every body does.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoPrefix,
    /// The bytes are no message of this type.
    #[error("proto: the message is broken or of another type")]
    Broken,
    /// The object would be too deep or too large.
    #[error("proto: the message exceeds the limits of depth or size")]
    TooLarge,
    /// The type has no protobuf form.
    #[error(
        "object {0} does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message"
    )]
    NoForm(&'static str),
    /// A value is not of its field's type.
    #[error("{0} cannot be written: its value does not fit the type")]
    Unfit(String),
}

impl From<TooLarge> for Error {
    fn from(_: TooLarge) -> Self {
        Self::TooLarge
    }
}
