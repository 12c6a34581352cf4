//! How an input is cut into parts: lines of text between them, so that a corpus can be read and written by hand.

use sampan_api::kind::{Kind, KindRef};
use sampan_api::kinds;
use sampan_api::model::Model;
use sampan_api::schema::{self, Definition};

/// Between two parts stands this line.
const SEPARATOR: &[u8] = b"\n---\n";

/// A built-in kind with the type of its objects.
pub struct Typed {
    /// The kind.
    pub kind: KindRef,
    /// The type of its objects.
    pub definition: &'static Definition,
}

impl Typed {
    /// The form of the kind's objects, for patches.
    pub fn model(&self) -> Model<'static> {
        Model::BuiltIn(self.definition)
    }
}

/// The kind that the first line names (`apps/v1 Deployment`), and what follows. A line that names none stands for one,
/// too, so that no mutation of it is wasted.
pub fn typed(data: &[u8]) -> Option<(Typed, &[u8])> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = (&data[..end], &data[end + 1..]);
    let kind = named(line).or_else(|| {
        let sum = line.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        kinds::ALL.get(sum % kinds::ALL.len()).copied()
    })?;
    Some((Typed { kind: KindRef::from(kind), definition: schema::definition(kind.schema)? }, rest))
}

fn named(line: &[u8]) -> Option<&'static Kind> {
    let (api_version, kind) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    kinds::find(group, version, kind)
}

/// What stands before the first separator, and what after it.
pub fn two(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.windows(SEPARATOR.len()).position(|window| window == SEPARATOR)?;
    Some((&data[..at], &data[at + SEPARATOR.len()..]))
}

/// Three parts.
pub fn three(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (first, rest) = two(data)?;
    let (second, third) = two(rest)?;
    Some((first, second, third))
}

/// The input as text.
pub fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}
