//! The texts that explain types and fields.

use std::io::Read;

use super::Definition;

static COMPRESSED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.z"));

/// All descriptions, unpacked: make one for the time it takes to write an OpenAPI document.
pub struct Descriptions {
    text: String,
    /// Where each description ends.
    ends: Vec<usize>,
}

impl Descriptions {
    /// Unpacks the texts.
    pub fn unpack() -> Self {
        let mut text = String::new();
        let unpacked = flate2::read::ZlibDecoder::new(COMPRESSED).read_to_string(&mut text);
        unpacked.expect("invariant: the build script wrote the descriptions");
        let ends = text.match_indices('\0').map(|(at, _)| at).chain([text.len()]).collect();
        Self { text, ends }
    }

    /// What the type is for.
    pub fn of(&self, definition: &Definition) -> &str {
        self.nth(definition.description)
    }

    /// What the definition's field at `index` is for.
    pub fn of_field(&self, definition: &Definition, index: usize) -> &str {
        self.nth(definition.description + 1 + index)
    }

    fn nth(&self, index: usize) -> &str {
        let begin = if index == 0 { 0 } else { self.ends[index - 1] + 1 };
        &self.text[begin..self.ends[index]]
    }
}
