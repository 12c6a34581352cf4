//! System call filters: the default profile, and the compiler from an OCI seccomp policy to the kernel's BPF.
//!
//! Everything here is pure. [`default_policy`] is what a container gets that asks for nothing else; [`compile`] turns
//! any policy (that one, or a node's own profile file) into the program that [`crate::kernel`] installs. A filter
//! covers the machine's own architecture; calls of any other are answered with the default action.

mod bpf;
mod profile;
mod syscalls;

pub(crate) use bpf::compile;
pub(crate) use profile::default_policy;

/// Why a policy has no program.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    #[error("seccomp action {0} is not supported")]
    Action(String),
    #[error("seccomp profile has too many conditions on system call {0}")]
    TooManyConditions(i64),
    #[error("seccomp profile compiles to {0} instructions; the kernel takes {max}", max = bpf::MAX_INSTRUCTIONS)]
    TooLong(usize),
    #[error("seccomp condition on argument {0}: a system call has six")]
    Argument(usize),
}
