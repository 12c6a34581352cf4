//! The kubelet: runs the Pods that are bound to its node, and reports on them and on the node.
//!
//! ```text
//!   Pods of this node (watch) ─┐                     ┌─> volumes, hosts files, tokens
//!   container events (CRI) ────┼─> worker per Pod ───┼─> container runtime (CRI v1)
//!   probes, ConfigMaps, ... ───┘     │      ^        └─> status, events (API server)
//!                                    v      │
//!                             machine::plan (pure)
//! ```
//! It knows nothing of how containers are made: it reaches them through CRI alone, and any runtime that speaks it will
//! do. It decides nothing about where Pods run. Start at [`Kubelet::start`]; the decisions are in `machine`, what the
//! runtime is asked for in `config`, the doing in `worker`.

mod burstable;
mod cgroups;
mod checkpoint;
mod config;
mod configuration;
mod cpus;
mod cri;
pub mod device_plugin;
mod devices;
mod directory;
mod error;
mod events;
mod eviction;
mod hooks;
mod images;
mod kubelet;
mod log_links;
mod logs;
mod machine;
mod mirrors;
mod node;
mod options;
mod pod_certificates;
mod pods;
mod probes;
mod purge;
mod quantity;
mod regular_file;
mod seen;
pub mod server;
mod shutdown;
mod sources;
mod spec;
mod static_pods;
mod trust_bundles;
mod usage;
mod volumes;
mod worker;

#[cfg(test)]
mod tests;

pub use cpus::{CpuPolicy, CpuSet};
pub use error::Error;
pub use kubelet::{Handle, Kubelet};
pub use log_links::remove_logs;
pub use node::disk_is_scarce;
pub use options::{
    DEFAULT_IMAGE_GC_PERCENT, DEFAULT_MAX_PODS, DEFAULT_POD_PIDS, DEFAULT_RELIST, LogLimits, Options, SwapBehavior,
    Thresholds,
};
pub use purge::purge;
pub use quantity::sum_of_amounts;
pub use shutdown::{ShutdownPhase, forget_shutdown};
