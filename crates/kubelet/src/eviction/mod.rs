//! Keeping the node alive when it runs out of memory, disk, inodes or process ids: Pods are ended, one at a time, until
//! enough is there again. And ending Pods that keep more on the node's disk than they may.
//!
//! ```text
//!   stall of memory (PSI), every few seconds while something is scarce
//!        -> observe -> decide (pure): pressures of the node, what to reclaim
//!             memory, process ids: -> rank (pure) -> the first Pod is ended -> wait until it is gone
//!             a disk: an order     -> dead containers, unused images -> measure -> the same
//! ```
//! Whoever keeps the disks ([`disk`]) takes as long as there are files, and nobody waits for it.
//! The node's conditions follow from the pressures, and with them its taints. Start at [`run`](run::run).

mod decide;
mod disk;
mod limits;
mod message;
mod observe;
mod rank;
mod refuse;
mod run;
mod stalls;
mod threshold;
mod victims;

pub(crate) use decide::{State, decide};
pub(crate) use observe::observe;
pub(crate) use refuse::refusal;
pub(crate) use run::run;
pub(crate) use threshold::Pressure;
pub use threshold::Thresholds;
