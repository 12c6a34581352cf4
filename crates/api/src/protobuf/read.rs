//! Reading the wire format: numbered fields that are numbers or bytes.

use super::Error;

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'b> {
    /// Its number.
    pub(super) number: u32,
    /// Its content.
    pub(super) raw: Raw<'b>,
}

/// A field's content.
#[derive(Clone, Copy, Debug)]
pub(super) enum Raw<'b> {
    /// Varint, or fixed 32 or 64 bits.
    Number(u64),
    /// Length-delimited.
    Bytes(&'b [u8]),
}

impl<'b> Raw<'b> {
    /// The content as bytes.
    pub(super) fn bytes(self) -> Result<&'b [u8], Error> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Error::Broken) }
    }

    /// The content as text.
    pub(super) fn text(self) -> Result<&'b str, Error> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Error::Broken)
    }

    /// The content as a number.
    pub(super) fn number(self) -> Result<u64, Error> {
        if let Self::Number(number) = self { Ok(number) } else { Err(Error::Broken) }
    }

    /// The content as a 32-bit number, of which the wire may hold more bits.
    pub(super) fn int32(self) -> Result<i32, Error> {
        #[allow(clippy::cast_possible_truncation)]
        self.number().map(|number| number as i32)
    }
}

/// The fields of a message, in order; ends after the first that is broken.
pub(super) struct Fields<'b> {
    rest: &'b [u8],
}

impl<'b> Fields<'b> {
    /// The fields of the message `bytes`.
    pub(super) fn of(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The numbers that are packed into one field.
    pub(super) fn packed(bytes: &'b [u8]) -> impl Iterator<Item = Result<u64, Error>> {
        let mut fields = Self::of(bytes);
        std::iter::from_fn(move || {
            if fields.rest.is_empty() {
                return None;
            }
            let number = fields.varint();
            if number.is_err() {
                fields.rest = &[];
            }
            Some(number)
        })
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(Error::Broken)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::Broken)
    }

    fn take(&mut self, size: u64) -> Result<&'b [u8], Error> {
        let size = usize::try_from(size).map_err(|_| Error::Broken)?;
        let (taken, rest) = self.rest.split_at_checked(size).ok_or(Error::Broken)?;
        self.rest = rest;
        Ok(taken)
    }

    fn fixed(&mut self, size: u64) -> Result<u64, Error> {
        Ok(self.take(size)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn field(&mut self) -> Result<Field<'b>, Error> {
        let tag = self.varint()?;
        let raw = match tag & 7 {
            0 => Raw::Number(self.varint()?),
            1 => Raw::Number(self.fixed(8)?),
            2 => {
                let size = self.varint()?;
                Raw::Bytes(self.take(size)?)
            }
            5 => Raw::Number(self.fixed(4)?),
            _ => return Err(Error::Broken),
        };
        Ok(Field { number: u32::try_from(tag >> 3).map_err(|_| Error::Broken)?, raw })
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<Field<'b>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}
