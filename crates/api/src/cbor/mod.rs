//! CBOR, both ways: JSON values to `application/cbor` and back.
//!
//! The same model as JSON's: maps with texts as keys, no more kinds of values than JSON has. Texts are written as byte
//! strings, as upstream's types are, and read in either form; bytes marked as base64 become its text. What has no
//! place in that model is refused: other tags and simple values, indefinite lengths, numbers that are not finite, and
//! a key that comes twice. Start at [`decode`] and [`encode`].

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use self::read::{Error, decode};
pub use self::write::{encode, encode_as, event, list};

/// One object.
pub const MEDIA_TYPE: &str = "application/cbor";
/// One object after the other: the events of a watch.
pub const SEQUENCE_MEDIA_TYPE: &str = "application/cbor-seq";

/// Says that what follows is CBOR: tag 55799.
const MAGIC: &[u8] = &[0xd9, 0xd9, 0xf7];
/// Bytes that are shown as base64 where there are only texts.
const TAG_BASE64: u64 = 22;

/// The high bits of an item's first byte.
const UNSIGNED: u8 = 0 << 5;
const NEGATIVE: u8 = 1 << 5;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
const ARRAY: u8 = 4 << 5;
const MAP: u8 = 5 << 5;
const TAG: u8 = 6 << 5;
const SIMPLE: u8 = 7 << 5;

const FALSE: u8 = SIMPLE | 20;
const TRUE: u8 = SIMPLE | 21;
const NULL: u8 = SIMPLE | 22;
const FLOAT64: u8 = SIMPLE | 27;
