//! CBOR to JSON values.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::{ARRAY, BYTES, FALSE, MAGIC, MAP, NEGATIVE, NULL, SIMPLE, TAG, TAG_BASE64, TEXT, TRUE, UNSIGNED};
use crate::decode::growth::{Growth, TooLarge};

/// How deep values may be; as deep as JSON's parser goes.
const MAX_DEPTH: usize = 128;

/// The low bits of a first byte that say: until a break.
const INDEFINITE: u8 = 31;
/// Ends an item of indefinite length.
const BREAK: u8 = 0xff;

/// Why bytes are not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// They end too early, or are no CBOR.
    #[error("cbor: the data is not well-formed")]
    Broken,
    /// Something follows the one item.
    #[error("cbor: {0} bytes of extraneous data starting at index {1}")]
    More(usize, usize),
    /// A value that the model does not have.
    #[error("cbor: {0} is not allowed")]
    Foreign(&'static str),
    /// A key comes twice.
    #[error("cbor: found duplicate map key {0:?} at map element index {1}")]
    Duplicate(String, usize),
    /// Too deep, or too large when written out.
    #[error("cbor: the data exceeds the limits of depth or size")]
    TooLarge,
}

impl From<TooLarge> for Error {
    fn from(_: TooLarge) -> Self {
        Self::TooLarge
    }
}

/// The one value in `body`.
pub fn decode(body: &[u8]) -> Result<Value, Error> {
    let rest = body.strip_prefix(MAGIC).unwrap_or(body);
    let mut reader = Reader { rest, growth: Growth::new() };
    let value = reader.value(0)?;
    match reader.rest {
        [] => Ok(value),
        more => Err(Error::More(more.len(), body.len() - more.len())),
    }
}

struct Reader<'b> {
    rest: &'b [u8],
    growth: Growth,
}

/// The start of an item: its type in the high bits, and what the low ones say.
struct Head {
    major: u8,
    /// `None` for indefinite length.
    argument: Option<u64>,
    first: u8,
}

impl<'b> Reader<'b> {
    fn take(&mut self, size: u64) -> Result<&'b [u8], Error> {
        let size = usize::try_from(size).map_err(|_| Error::Broken)?;
        let (taken, rest) = self.rest.split_at_checked(size).ok_or(Error::Broken)?;
        self.rest = rest;
        Ok(taken)
    }

    fn head(&mut self) -> Result<Head, Error> {
        let first = self.take(1)?[0];
        let argument = match first & 0x1f {
            small @ 0..24 => Some(u64::from(small)),
            size @ 24..28 => Some(self.take(1 << (size - 24))?.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))),
            INDEFINITE => None,
            _ => return Err(Error::Broken),
        };
        Ok(Head { major: first & 0xe0, argument, first })
    }

    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        if depth == MAX_DEPTH {
            return Err(Error::TooLarge);
        }
        let head = self.head()?;
        self.item(&head, depth)
    }

    fn item(&mut self, head: &Head, depth: usize) -> Result<Value, Error> {
        self.growth.value(0)?;
        match (head.major, head.argument) {
            (UNSIGNED, Some(number)) => i64::try_from(number).map(Value::from).map_err(|_| too_large_number()),
            (NEGATIVE, Some(number)) => {
                i64::try_from(number).map(|n| Value::from(-1 - n)).map_err(|_| too_large_number())
            }
            (BYTES | TEXT, _) => Ok(self.text(head)?.into()),
            (ARRAY, size) => self.array(size, depth),
            (MAP, size) => self.map(size, depth),
            (TAG, Some(tag)) => self.tagged(tag, depth),
            (SIMPLE, Some(argument)) => simple(head.first, argument),
            _ => Err(Error::Broken),
        }
    }

    fn bytes(&mut self, head: &Head) -> Result<Vec<u8>, Error> {
        let Some(size) = head.argument else {
            let mut all = Vec::new();
            while !self.ended() {
                let part = self.head()?;
                if part.major != head.major || part.argument.is_none() {
                    return Err(Error::Broken);
                }
                all.extend(self.bytes(&part)?);
            }
            return Ok(all);
        };
        let bytes = self.take(size)?;
        self.growth.value(bytes.len())?;
        Ok(bytes.to_vec())
    }

    fn text(&mut self, head: &Head) -> Result<String, Error> {
        String::from_utf8(self.bytes(head)?).map_err(|_| Error::Foreign("a text that is not UTF-8"))
    }

    /// Whether a break comes next; it is taken.
    fn ended(&mut self) -> bool {
        let ended = self.rest.first() == Some(&BREAK);
        if ended {
            self.rest = &self.rest[1..];
        }
        ended
    }

    fn array(&mut self, size: Option<u64>, depth: usize) -> Result<Value, Error> {
        let mut list = Vec::new();
        while size.map_or_else(|| !self.ended(), |size| (list.len() as u64) < size) {
            list.push(self.value(depth + 1)?);
        }
        Ok(Value::Array(list))
    }

    fn map(&mut self, size: Option<u64>, depth: usize) -> Result<Value, Error> {
        self.growth.object()?;
        let mut map = Map::new();
        while size.map_or_else(|| !self.ended(), |size| (map.len() as u64) < size) {
            let head = self.head()?;
            if !matches!(head.major, BYTES | TEXT) {
                return Err(Error::Foreign("a key that is no text"));
            }
            let key = self.text(&head)?;
            if map.contains_key(&key) {
                return Err(Error::Duplicate(key, map.len()));
            }
            let value = self.value(depth + 1)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }

    /// What a tag says of the bytes or the time behind it; other tags say nothing.
    fn tagged(&mut self, tag: u64, depth: usize) -> Result<Value, Error> {
        match tag {
            1 => epoch(&self.value(depth + 1)?),
            2 | 3 => Err(Error::Foreign("a big number")),
            21..=23 => {
                let head = self.head()?;
                if head.major != BYTES {
                    return self.item(&head, depth + 1);
                }
                let bytes = self.bytes(&head)?;
                self.growth.value(bytes.len())?;
                Ok(match tag {
                    TAG_BASE64 => STANDARD.encode(bytes),
                    21 => URL_SAFE_NO_PAD.encode(bytes),
                    _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
                }
                .into())
            }
            _ => self.value(depth + 1),
        }
    }
}

/// Seconds since 1970 as a text.
fn epoch(value: &Value) -> Result<Value, Error> {
    let at = match (value.as_i64(), value.as_f64()) {
        (Some(seconds), _) => Timestamp::from_second(seconds).ok(),
        (None, Some(seconds)) => {
            jiff::SignedDuration::try_from_secs_f64(seconds).ok().and_then(|at| Timestamp::from_duration(at).ok())
        }
        (None, None) => None,
    };
    at.map(|at| at.to_string().into()).ok_or(Error::Foreign("this time"))
}

fn simple(first: u8, argument: u64) -> Result<Value, Error> {
    let number = match first {
        FALSE => return Ok(Value::Bool(false)),
        TRUE => return Ok(Value::Bool(true)),
        NULL => return Ok(Value::Null),
        _ => match first & 0x1f {
            25 => half(u16::try_from(argument).map_err(|_| Error::Broken)?),
            26 => f64::from(f32::from_bits(u32::try_from(argument).map_err(|_| Error::Broken)?)),
            27 => f64::from_bits(argument),
            _ => return Err(Error::Foreign("this simple value")),
        },
    };
    Number::from_f64(number).map(Value::Number).ok_or(Error::Foreign("a number that is not finite"))
}

/// A number of 16 bits: sign, 5 bits of exponent, 10 of fraction.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -size } else { size }
}

fn too_large_number() -> Error {
    Error::Foreign("a number of more than 64 bits")
}
