//! The kubelet's own HTTPS API: logs, exec, attach, port-forward, the Pod list, health and metrics.
//!
//! It knows nothing of how Pods are run: whoever runs them implements [`Pods`], the one thing this module asks of them.
//! Streams are not interpreted here either: the container runtime answers exec, attach and port-forward with a URL,
//! and the client's upgraded connection is spliced to it.

mod pods;

pub use pods::{Container, Instance, PodEntry, Pods};
