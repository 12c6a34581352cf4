//! Real clusters in tests, and the text scripts that are run on them.
//!
//! A [`Cluster`] is the released program, started by its own `up` in a network namespace of its own, with directories,
//! cgroups and links of its own: several stand side by side, and beside the one of `make up`. Whatever a crashed run left
//! is swept away by the next. [`script`] runs text files of commands and what they must print; [`kernel`] tells what
//! the kernel holds of sampan's, to be compared before and after.

pub mod cluster;
pub mod containerd;
pub mod kernel;
pub mod program;
pub mod script;
mod wait;

pub use cluster::Cluster;
pub use containerd::Containerd;
pub use program::Helper;
pub use wait::{eventually, retry};
