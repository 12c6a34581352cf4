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
            eprintln!("error: {}", plain(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

/// The text without what a terminal would obey: a registry, an archive or an argument may have put it there.
fn plain(text: &str) -> String {
    let escape = |symbol: char| match symbol.is_control() && symbol != '\n' {
        true => symbol.escape_default().to_string(),
        false => symbol.to_string(),
    };
    text.chars().map(escape).collect()
}

/// What every verb is given: which cluster is meant.
fn which(flags: &Flags) -> anyhow::Result<crate::config::Config> {
    crate::config::Config::resolve(flags)
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn errors_move_no_cursor() {
        for (text, want) in [
            ("tag \u{1b}[31mred\u{9b}0m", "tag \\u{1b}[31mred\\u{9b}0m"),
            ("over\rwritten", "over\\rwritten"),
            ("two\nlines, übers Meer", "two\nlines, übers Meer"),
        ] {
            assert_eq!(plain(text), want);
        }
    }
}
