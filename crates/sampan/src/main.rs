//! `sampan`: Kubernetes in one small binary. This crate is the program: its verbs, its configuration, and the ordered
//! table of components. Everything a cluster does lives in the other crates.
//!
//! Start at [`verbs`] (one file per verb) and [`components`] (what runs in a server, in which order).

mod components;
mod config;
mod daemon;
mod encryption;
mod kubeconfig;
mod kubelet_dir;
mod mounts;
mod pki;
mod preflight;
mod progress;
mod verbs;

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // The shim is started for every Pod and stays small: it meets neither the argument parser nor a runtime.
    let mut args = std::env::args_os();
    if args.nth(1).is_some_and(|verb| verb == "shim") {
        return u8::try_from(sampan_runtime::shim::main(args)).map_or(ExitCode::FAILURE, ExitCode::from);
    }
    verbs::run()
}
