//! Writing the wire format: numbered fields that are numbers or bytes.

/// The most bytes a varint takes.
const MAX_VARINT_BYTES: usize = 10;

/// Wire types, as a field's tag ends in.
const NUMBER: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;

/// A message being written.
#[derive(Debug, Default)]
pub(super) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// A writer with room for `bytes`.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    /// What was written.
    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// A field that is a number.
    pub(super) fn number(&mut self, number: u32, value: u64) {
        self.tag(number, NUMBER);
        self.varint(value);
    }

    /// A field that is a 64-bit floating point number.
    pub(super) fn double(&mut self, number: u32, value: f64) {
        self.tag(number, FIXED64);
        self.out.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    /// A field that is bytes, a text or a finished message.
    pub(super) fn bytes(&mut self, number: u32, value: &[u8]) {
        self.head(number, value.len());
        self.out.extend_from_slice(value);
    }

    /// What stands before the bytes of a field of this size.
    pub(super) fn head(&mut self, number: u32, size: usize) {
        self.tag(number, BYTES);
        self.varint(size as u64);
    }

    /// Bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Begins a field that is a message. [`Self::end`] wants what this returns.
    pub(super) fn begin(&mut self, number: u32) -> usize {
        self.tag(number, BYTES);
        self.out.push(0);
        self.out.len()
    }

    /// Ends the message that began at `start`. Only now its size is known: it moves if that takes more than a byte.
    pub(super) fn end(&mut self, start: usize) {
        let end = self.out.len();
        let (size, used) = varint((end - start) as u64);
        self.out.resize(end + used - 1, 0);
        self.out.copy_within(start..end, start + used - 1);
        self.out[start - 1..start - 1 + used].copy_from_slice(&size[..used]);
    }

    fn tag(&mut self, number: u32, wire: u64) {
        self.varint(u64::from(number) << 3 | wire);
    }

    fn varint(&mut self, value: u64) {
        let (bytes, used) = varint(value);
        self.out.extend_from_slice(&bytes[..used]);
    }
}

/// How many bytes a field with one of the first 15 numbers takes that holds `size` bytes.
pub(super) fn field_bytes(size: usize) -> usize {
    1 + varint(size as u64).1 + size
}

/// A number, seven bits a byte, lowest first; and how many bytes it takes.
fn varint(mut value: u64) -> ([u8; MAX_VARINT_BYTES], usize) {
    let mut bytes = [0; MAX_VARINT_BYTES];
    let mut used = 0;
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        bytes[used] = if value == 0 { low } else { low | 0x80 };
        used += 1;
        if value == 0 {
            return (bytes, used);
        }
    }
}
