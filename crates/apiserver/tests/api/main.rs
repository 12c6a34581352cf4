//! The API server as its clients see it: requests in, answers out, on a real store.
//!
//! New behaviour is a new line in one of `scripts/*.txt`; what a script cannot say (watches, races) is a test in Rust.

#![allow(clippy::unwrap_used, reason = "tests")]

mod aggregated;
mod attacks;
mod audit;
mod consistency;
mod conversions;
#[path = "../../../store/tests/support/etcd_server.rs"]
mod etcd_server;
mod flow_control;
mod health;
mod https;
mod proxies;
mod race;
mod remote;
mod script;
mod several;
mod shutdown;
mod support;
mod vouchers;
mod watch;
mod webhooks;
