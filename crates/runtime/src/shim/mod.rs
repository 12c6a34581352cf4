//! The shim: one small process per Pod that outlives the runtime.
//!
//! It lives in the Pod's network, IPC and UTS namespaces (and so holds them: there is no pause container), is the
//! parent of every process of the Pod, writes the logs, and records every exit on disk before it tells anybody. It
//! is single-threaded on purpose: only such a process may fork and go on running ordinary code in the child.
//!
//! ```text
//!   runtime ── unix socket, one JSON message a packet, descriptors beside it ──> shim (pod.rs, one poll loop)
//!                                                                                  │ clone3
//!                                                         launch.rs: groups, mounts, credentials, filter, exec
//! ```
//!
//! Start at [`main`], then `pod.rs`. What both sides say to each other is in `wire.rs`.

mod credentials;
mod holder;
mod images;
mod launch;
mod lives;
mod logs;
mod namespaces;
mod nodes;
mod options;
mod outputs;
mod pod;
mod process;
mod program;
mod rootfs;
mod users;
pub(crate) mod wire;

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// The shim's entry: `args` are the words after the hidden verb. Returns the exit status of the process.
///
/// The one argument is the directory in which the shim keeps nothing but its name for `ps`; its listening socket is
/// standard input, so that the runtime can connect before the shim has even started.
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    let Some(directory) = args.into_iter().next().map(PathBuf::from) else {
        eprintln!("the shim is started by sampan, not by hand");
        return 2;
    };
    let outcome = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| format!("taking over the socket: {error}"))
        .and_then(pod::run);
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("sampan shim in {}: {error}", directory.display());
            1
        }
    }
}
