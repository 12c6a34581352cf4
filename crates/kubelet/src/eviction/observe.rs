//! What is there of memory, disks and process ids: cheap to read.

use std::path::Path;

use super::decide::{Observation, Observations};
use super::threshold::Signal;
use crate::node::{meminfo_kib, process_ids};
use crate::usage::Space;

/// Reads it; `images` is where the runtime keeps images, if that is known.
pub(crate) fn observe(root_dir: &Path, images: Option<&Path>) -> Observations {
    let mut all = Observations::new();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |key| meminfo_kib(&meminfo, key).map(|kib| kib.saturating_mul(1024));
    if let (Some(available), Some(capacity)) = (bytes("MemAvailable"), bytes("MemTotal")) {
        all.insert(Signal::MemoryAvailable, Observation { available, capacity });
    }
    if let Ok(space) = Space::of(root_dir) {
        all.extend(of_space(&space, (Signal::NodefsAvailable, Signal::NodefsInodesFree)));
    }
    if let Some(Ok(space)) = images.map(Space::of) {
        all.extend(of_space(&space, (Signal::ImagefsAvailable, Signal::ImagefsInodesFree)));
    }
    if let Some((most, taken)) = process_ids() {
        all.insert(Signal::PidAvailable, Observation { available: most - taken, capacity: most });
    }
    all
}

/// Bytes and inodes; some file systems do not count inodes.
fn of_space(space: &Space, (bytes, inodes): (Signal, Signal)) -> impl Iterator<Item = (Signal, Observation)> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let of_bytes = Observation { available: number(space.available_bytes), capacity: number(space.capacity_bytes) };
    let of_inodes = Observation { available: number(space.inodes_free), capacity: number(space.inodes) };
    [(bytes, of_bytes), (inodes, of_inodes)].into_iter().filter(|(_, observation)| observation.capacity > 0)
}
