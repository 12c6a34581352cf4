//! The scheduler: finds a node for every Pod, or says why there is none.
//!
//! It is a client of the API like kubectl. A decision is [`schedule`], a pure function of a Pod ([`PodInfo`]) and what is
//! known of the cluster ([`Cluster`]); the rules are plugins, one file each, in one ordered list (`plugins`). Around it
//! stand the queue of waiting Pods (`queue`), which retries a Pod when something happens that could help it, and the
//! loop that carries decisions out ([`start`]). Volumes have no say in it, nor have disruption budgets.

mod cache;
mod cluster;
mod component;
mod decide;
mod explain;
mod framework;
mod node;
mod plugins;
mod pod;
mod preemption;
mod queue;
mod resources;
mod state;
#[cfg(test)]
mod testing;
mod writes;

pub use cluster::Cluster;
pub use component::{Handle, Options, start};
pub use decide::{Placement, Turn, Verdicts, schedule};
pub use node::NodeInfo;
pub use pod::PodInfo;
