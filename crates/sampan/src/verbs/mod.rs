//! The verbs of the command line, one file each.

mod down;
mod image;
mod server;
mod status;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Flags;

/// Kubernetes in one small binary.
#[derive(Debug, Parser)]
#[command(name = "sampan", version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a cluster on this machine, in the background, and wait until it is ready
    Up(up::Up),
    /// End the cluster on this machine: server, Pods and everything they hold in the kernel
    Down(down::Down),
    /// Tell whether a cluster runs here, and how to reach it
    Status(status::Status),
    /// Run a cluster's control plane and this node in the foreground
    Server(server::Server),
    /// Bring container images in and list them
    Image(image::Image),
}

/// Runs the verb that the command line names.
pub(crate) fn run() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Up(verb) => verb.run(),
        Verb::Down(verb) => verb.run(),
        Verb::Status(verb) => verb.run(),
        Verb::Server(verb) => verb.run(),
        Verb::Image(verb) => verb.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What every verb is given: which cluster is meant.
fn which(flags: &Flags) -> anyhow::Result<crate::config::Config> {
    crate::config::Config::resolve(flags)
}
