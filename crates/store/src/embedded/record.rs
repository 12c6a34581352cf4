//! The bytes of the store's files, and nothing but the bytes: encoding and decoding, no files, no index.
//!
//! ```text
//! file    header record*
//! header  magic:8 revision:8 compacted:8 reserved:4 crc:4
//! record  len:4 crc:4 kind:1 revision:8 created:8 batch:8 key_len:4 key value      (len counts from kind on)
//! ```
//! Numbers are little-endian. A record's checksum covers its place in the file too, so that bytes which look like a
//! record, a value that holds a copy of this log for example, are not taken for one anywhere else.

use crate::{Error, Revision};

/// Length of a file's header.
pub(super) const HEADER_BYTES: u64 = 32;
/// Length of a record without key and value.
pub(super) const OVERHEAD_BYTES: usize = FRAME_BYTES + FIXED_BYTES;
/// Bound on key and value of one record.
pub(super) const MAX_PAYLOAD_BYTES: usize = 16 << 20;

const FRAME_BYTES: usize = 8;
const FIXED_BYTES: usize = 29;

/// What a file is, from its magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Writes in the order of their revisions.
    Log,
    /// What is left of all writes up to a revision, in the order of keys.
    Snapshot,
}

/// The start of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// What follows.
    pub(super) form: Form,
    /// Of a log: the first revision it may hold. Of a snapshot: the last it covers.
    pub(super) revision: Revision,
    /// Of a snapshot: history before this revision was forgotten. Of a log: 0.
    pub(super) compacted: Revision,
}

impl Form {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Form::Log => b"SAMPANL1",
            Form::Snapshot => b"SAMPANS1",
        }
    }
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(self.form.magic());
        bytes[8..16].copy_from_slice(&self.revision.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.compacted.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header in `bytes`, or `None` if they are not one.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES as usize]) -> Option<Self> {
        let form = [Form::Log, Form::Snapshot].into_iter().find(|form| bytes.starts_with(form.magic()))?;
        let header = Self { form, revision: u64_at(bytes, 8), compacted: u64_at(bytes, 16) };
        (header.encode() == *bytes).then_some(header)
    }
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The key has this value.
    Put = 1,
    /// The key has no value any more.
    Delete = 2,
    /// History before the record's revision is forgotten. Takes no revision of its own.
    Compact = 3,
    /// A snapshot is complete; `created` counts its records. Its absence is damage.
    End = 4,
    /// Revisions up to the record's may have been given out to renewals that are not here. The last one of a log counts.
    Reserve = 5,
    /// Revisions that were reserved, and may have been given out, are lost: history begins anew at the record's.
    Leap = 6,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        let all = [Kind::Put, Kind::Delete, Kind::Compact, Kind::End, Kind::Reserve, Kind::Leap];
        all.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One record, borrowed from the bytes it was decoded from or is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    pub(super) revision: Revision,
    /// Revision at which the key came to be; of a deletion, 0.
    pub(super) created: Revision,
    /// Offset up to which the file was durable when this record was written to it: that is how recovery tells a torn
    /// tail from damage.
    pub(super) batch: u64,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    /// The file ends within the record.
    #[error("the file ends within a record")]
    Short,
    /// No record has such a length.
    #[error("a record cannot have this length")]
    Length,
    /// The bytes are not those that were written.
    #[error("the checksum does not match")]
    Checksum,
    /// The checksum is right but this version does not know the content.
    #[error("the record is of an unknown kind")]
    Kind,
}

impl<'a> Record<'a> {
    /// Length in bytes once encoded.
    pub(super) fn len(&self) -> usize {
        OVERHEAD_BYTES + self.key.len() + self.value.len()
    }

    /// Appends the record to `out`, to be written at `offset` of its file.
    pub(super) fn encode(&self, offset: u64, out: &mut Vec<u8>) {
        let start = out.len();
        let len = (self.len() - FRAME_BYTES) as u32;
        out.reserve(self.len());
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.push(self.kind as u8);
        out.extend_from_slice(&self.revision.to_le_bytes());
        out.extend_from_slice(&self.created.to_le_bytes());
        out.extend_from_slice(&self.batch.to_le_bytes());
        out.extend_from_slice(&(self.key.len() as u32).to_le_bytes());
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.value);
        let crc = checksum(offset, len, &out[start + FRAME_BYTES..]);
        out[start + 4..start + FRAME_BYTES].copy_from_slice(&crc.to_le_bytes());
    }

    /// The length of the record that begins with `bytes`.
    pub(super) fn frame(bytes: &[u8]) -> Result<usize, Flaw> {
        let len = bytes.get(..4).map(|_| u32_at(bytes, 0) as usize).ok_or(Flaw::Short)?;
        let allowed = FIXED_BYTES..=FIXED_BYTES + MAX_PAYLOAD_BYTES;
        if allowed.contains(&len) { Ok(FRAME_BYTES + len) } else { Err(Flaw::Length) }
    }

    /// The record at the beginning of `bytes`, which stand at `offset` of their file.
    pub(super) fn decode(bytes: &'a [u8], offset: u64) -> Result<Self, Flaw> {
        let body = bytes.get(FRAME_BYTES..Self::frame(bytes)?).ok_or(Flaw::Short)?;
        if checksum(offset, body.len() as u32, body) != u32_at(bytes, 4) {
            return Err(Flaw::Checksum);
        }
        let (fixed, payload) = body.split_at(FIXED_BYTES);
        let (key, value) = payload.split_at_checked(u32_at(fixed, 25) as usize).ok_or(Flaw::Length)?;
        Ok(Self {
            kind: Kind::of(fixed[0]).ok_or(Flaw::Kind)?,
            revision: u64_at(fixed, 1),
            created: u64_at(fixed, 9),
            batch: u64_at(fixed, 17),
            key,
            value,
        })
    }
}

/// Refuses what [`Record::decode`] would not read back.
pub(super) fn check_size(key: &[u8], value: &[u8]) -> Result<(), Error> {
    let bytes = key.len() + value.len();
    if bytes > MAX_PAYLOAD_BYTES { Err(Error::TooLarge { bytes, limit: MAX_PAYLOAD_BYTES }) } else { Ok(()) }
}

/// Whether `bytes`, which stand at `offset`, hold anywhere a record of a batch that began after `offset`: before
/// which, that is, everything was durable once.
pub(super) fn later_batch(bytes: &[u8], offset: u64) -> bool {
    (1..bytes.len().saturating_sub(OVERHEAD_BYTES - 1)).any(|skip| {
        let (at, rest) = (offset + skip as u64, &bytes[skip..]);
        // The cheap test first: the checksum of every suffix would take quadratic time.
        let batch = u64_at(rest, FRAME_BYTES + 17);
        batch > offset && batch <= at && Record::decode(rest, at).is_ok()
    })
}

fn checksum(offset: u64, len: u32, body: &[u8]) -> u32 {
    let seed = crc32c::crc32c_append(crc32c::crc32c(&offset.to_le_bytes()), &len.to_le_bytes());
    crc32c::crc32c_append(seed, body)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record<'static> =
        Record { kind: Kind::Put, revision: 7, created: 3, batch: 100, key: b"key", value: b"value" };

    fn encoded(record: &Record<'_>, offset: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.encode(offset, &mut bytes);
        bytes
    }

    #[test]
    fn decodes_what_it_encodes() {
        let bytes = encoded(&RECORD, 100);
        assert_eq!(bytes.len(), RECORD.len());
        assert_eq!(Record::decode(&bytes, 100), Ok(RECORD));
    }

    #[test]
    fn a_record_belongs_to_its_place() {
        assert_eq!(Record::decode(&encoded(&RECORD, 100), 101), Err(Flaw::Checksum));
    }

    #[test]
    fn notices_every_flipped_bit_and_every_missing_byte() {
        let bytes = encoded(&RECORD, 100);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode(&flipped, 100).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..len], 100), Err(Flaw::Short), "{len} bytes");
        }
    }

    #[test]
    fn header_round_trips_and_notices_damage() {
        let header = Header { form: Form::Snapshot, revision: 9, compacted: 4 };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        for at in 0..bytes.len() {
            let mut damaged = bytes;
            damaged[at] ^= 0x10;
            assert_eq!(Header::decode(&damaged), None, "byte {at}");
        }
    }

    #[test]
    fn finds_a_later_batch_behind_damage_but_not_the_rest_of_the_same() {
        let mut bytes = encoded(&RECORD, 100);
        let next = 100 + bytes.len() as u64;
        let same = Record { revision: 8, ..RECORD };
        same.encode(next, &mut bytes);
        assert!(!later_batch(&bytes, 100));
        let after = 100 + bytes.len() as u64;
        Record { revision: 9, batch: after, ..RECORD }.encode(after, &mut bytes);
        assert!(later_batch(&bytes, 100));
    }
}
