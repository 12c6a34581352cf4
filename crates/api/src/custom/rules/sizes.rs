//! How large what rules look at can be, for the estimate of what they cost.

use sampan_cel::{Sizes, Step, unescape};

use crate::structural::Extent;

impl Sizes for Extent {
    fn largest(&self, path: &[Step]) -> Option<u64> {
        let mut extent = self;
        for (index, step) in path.iter().enumerate() {
            extent = match step {
                Step::Field(name) => extent.field(&unescape(name)?)?,
                Step::Item | Step::Value => extent.items().or(extent.values())?,
                // Of keys nothing is said. They are texts.
                Step::Key if extent.values().is_some() && index + 1 == path.len() => return Some(0),
                Step::Key | Step::Index => return None,
            };
        }
        Some(extent.most)
    }
}
