//! From a Pod's specification to what the container runtime is asked for. All of it is pure: facts come in, CRI
//! messages go out.
//!
//! Start at [`sandbox::config`] and [`container::config`].

pub(crate) mod apparmor;
pub(crate) mod container;
pub(crate) mod dns;
pub(crate) mod env;
mod env_file;
pub(crate) mod expand;
pub(crate) mod fields;
pub(crate) mod hosts;
pub(crate) mod labels;
pub(crate) mod mounts;
pub(crate) mod paths;
mod quote;
pub(crate) mod resources;
pub(crate) mod sandbox;
pub(crate) mod security;
pub(crate) mod service_env;
mod swap;
pub(crate) mod sysctls;
pub(crate) mod totals;
pub(crate) mod users;
